package edge_test

import (
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

// The whole way: hint, fetch, load, wake, run, deliver, records, acknowledgement.
func TestWholeWay(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	w.plugins.answers["w/when"] = fires(3)
	digest := w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
	w.boot()
	w.online()
	w.pass(time.Minute)

	r := w.hub.reported()
	if r.Revision != 1 || r.Digest != digest || len(r.Assignments) != 1 || r.Assignments[0].Phase != protocol.PhaseRunning {
		t.Fatalf("reported %+v", r)
	}
	if len(w.hub.events) != 3 {
		t.Fatalf("hub has %d events, want 3", len(w.hub.events))
	}
	want := "do ok, say ok., do ok, say ok., do ok, say ok."
	if got := w.hub.said(); got != want {
		t.Fatalf("results %q, want %q", got, want)
	}
	if s := w.agent.Status(); s.Pending != 0 || s.Dropped != 0 {
		t.Fatalf("pending %d, dropped %d after all was acknowledged", s.Pending, s.Dropped)
	}
}
