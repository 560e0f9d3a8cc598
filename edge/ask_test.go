package edge_test

import (
	"testing"
	"time"
)

// A hint of what is held asks for a report: it comes at once, and no more than one in a while,
// however often it is asked for.
func TestHintOfWhatIsHeldAsksForAReport(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	w.cfg.Heartbeat = time.Hour
	w.boot()
	w.online()
	w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
	w.pass(time.Minute)
	before := w.hub.reported().Sequence
	w.pass(time.Minute)
	if got := w.hub.reported().Sequence; got != before {
		t.Fatalf("%d reports without a reason", got-before)
	}
	w.hub.sayHint()
	w.pass(2 * time.Second)
	if got := w.hub.reported(); got.Sequence != before+1 || got.Assignments[0].Trial.RunningS < 100 {
		t.Fatalf("asked for: %+v, want report %d", got, before+1)
	}
	for range 120 {
		w.hub.sayHint()
		w.pass(time.Second)
	}
	if n := w.hub.reported().Sequence - before - 1; n < 3 || n > 4 {
		t.Errorf("%d reports in two minutes of hints, want one in 30 s", n)
	}
}
