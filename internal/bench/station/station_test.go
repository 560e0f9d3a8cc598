package station

import (
	"bytes"
	"testing"

	"github.com/stavily/stavily/protocol"
)

// TestRing: the ring of a station is that of the keys its hub seals with.
func TestRing(t *testing.T) {
	got, err := ring()
	if err != nil || len(got.Keys) != 2 {
		t.Fatalf("got %v, %v; want two keys", got.Keys, err)
	}
	for i, role := range []protocol.Role{protocol.RoleRelease, protocol.RoleDesired} {
		if want := Key(role).Public(); got.Keys[i].Role != want.Role || !bytes.Equal(got.Keys[i].Key, want.Key) {
			t.Errorf("key %d is %x, want %x", i, got.Keys[i], want)
		}
	}
}
