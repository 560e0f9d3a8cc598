package sim

import (
	"testing"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/storetest"
)

func TestDiskKeepsItsPromises(t *testing.T) {
	storetest.Run(t, func(*testing.T) func() edge.Store {
		k := &disk{blobs: newBlobs()}
		return func() edge.Store { return k }
	})
}

func TestDiskWithoutPower(t *testing.T) {
	for _, c := range []struct {
		name string
		cut  cut
		want string
	}{{"before", cutBefore, "old"}, {"after", cutAfter, "new"}} {
		t.Run(c.name, func(t *testing.T) {
			k := &disk{blobs: newBlobs()}
			if err := k.Apply([]edge.Change{{Key: "run/a", Value: []byte("old")}}); err != nil {
				t.Fatal(err)
			}
			k.cut = c.cut
			if err := k.Apply([]edge.Change{{Key: "run/a", Value: []byte("new")}}); err == nil {
				t.Fatal("the change was acknowledged without power")
			}
			if _, err := k.Get("run/a"); err == nil {
				t.Fatal("a disk without power was read")
			}
			k.dead = false
			if v, err := k.Get("run/a"); err != nil || string(v) != c.want {
				t.Fatalf("after the power cut: %q, %v, want %q", v, err, c.want)
			}
		})
	}
}
