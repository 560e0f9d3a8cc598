package edge_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

// A gateway hears who is gone with the document that says so, and at each boot without a line
// again, until a newer one says otherwise; a list that is out of order is refused.
func TestGone(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	var told [][]protocol.Gone
	w.gone = func(all []protocol.Gone) { told = append(told, all) }
	wants := func(what string, want ...protocol.Gone) {
		t.Helper()
		if len(told) == 0 || !slices.Equal(told[len(told)-1], want) {
			t.Errorf("%s: told %v, want %v", what, told, want)
		}
		told = nil
	}
	w.boot()
	wants("first boot")
	one := protocol.Gone{Agent: "a", Key: protocol.DigestOf([]byte("a"))}
	two := protocol.Gone{Agent: "b", Key: protocol.DigestOf([]byte("b"))}
	deploy := func(revision uint64, all ...protocol.Gone) {
		d := w.hub.desired(revision)
		d.Gone = all
		w.hub.deploy(d)
		w.pass(10 * time.Second)
	}
	w.online()
	deploy(2, one, two)
	wants("taken", one, two)
	w.offline()
	w.boot()
	wants("booted without a line", one, two)
	w.online()
	deploy(3, two, one)
	if r := w.hub.reported(); r.Refused == nil || r.Refused.Revision != 3 || len(told) > 0 {
		t.Errorf("out of order: reported %+v, told %v", r.Refused, told)
	}
	deploy(4, two)
	wants("newer", two)
	deploy(5)
	w.boot()
	wants("none")
}
