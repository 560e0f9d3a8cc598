package edge_test

import (
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

// budgeted has a world run version 1 of a plugin under a budget of bytes a day.
func budgeted(t *testing.T, limit uint64) (w *world, second []byte) {
	t.Helper()
	w, _, second = versions(t)
	w.hub.offer = nil
	w.desire = func(d *protocol.Desired) { d.Settings.DataBytesPerDay = limit }
	d := w.hub.desired(2, w.hub.workflow("w"))
	w.desire(&d)
	w.hub.deploy(d)
	w.pass(time.Minute)
	if s := w.agent.Status(); s.Revision != 2 || s.Data == nil || s.Data.Limit != limit {
		t.Fatalf("revision %d, data %+v", s.Revision, s.Data)
	}
	return w, second
}

// updateTo deploys version 2 of the plugin as the third revision.
func (w *world) updateTo(second []byte) {
	w.hub.publish("tick", protocol.Trigger, "1.1.0", second)
	d := w.hub.desired(3, w.hub.workflow("w"))
	w.desire(&d)
	w.hub.deploy(d)
}

// An artifact waits for the next day when the budget is used up; reports go on, and say so.
func TestDataBudget(t *testing.T) {
	unbounded, _ := budgeted(t, 1<<40)
	limit := unbounded.agent.Status().Data.Bytes + 300_000 // the artifact has 393 kB, and all it needs is over 80 in a hundred
	w, second := budgeted(t, limit)
	before := len(w.hub.reports)
	w.updateTo(second)
	w.pass(6 * time.Hour)
	s := w.agent.Status()
	if n := len(w.hub.reports) - before; n < 5 || n > 12 {
		t.Errorf("%d reports in 6 hours with the budget used up, want about one an hour", n)
	}
	if s.Revision != 2 || !s.Data.Waiting {
		t.Fatalf("revision %d, data %+v", s.Revision, s.Data)
	}
	if s.Data.Bytes > limit {
		t.Fatalf("%d bytes of %d", s.Data.Bytes, limit)
	}
	reports := len(w.hub.reports)
	last := w.hub.reports[reports-1]
	if last.Data == nil || !last.Data.Waiting {
		t.Fatalf("reported %+v", last.Data)
	}
	w.boot() // a restart does not begin a new day
	w.online()
	w.pass(time.Hour)
	if s := w.agent.Status(); s.Revision != 2 || s.Data.Bytes < last.Data.Bytes {
		t.Fatalf("after a restart: revision %d, data %+v, before %+v", s.Revision, s.Data, last.Data)
	}
	if len(w.hub.reports) == reports {
		t.Fatal("no reports while artifacts wait")
	}
	for days := 0; w.agent.Status().Revision != 3; days++ {
		if days == 4 {
			t.Fatalf("after %d days: %+v", days, w.agent.Status().Data)
		}
		w.pass(24 * time.Hour)
		if s := w.agent.Status(); s.Data.Bytes > limit {
			t.Fatalf("%d bytes of %d in a day", s.Data.Bytes, limit)
		}
	}
}

// A budget that is taken away lets everything go at once.
func TestDataBudgetRaised(t *testing.T) {
	w, second := budgeted(t, 100_000)
	w.updateTo(second)
	w.pass(time.Hour)
	if s := w.agent.Status(); s.Revision != 2 {
		t.Fatalf("revision %d within %+v", s.Revision, s.Data)
	}
	w.desire = func(d *protocol.Desired) { d.Settings.DataBytesPerDay = 0 }
	d := w.hub.desired(4)
	w.hub.deploy(d)
	w.pass(time.Hour)
	if s := w.agent.Status(); s.Revision != 4 || s.Data != nil || s.Pending > 0 {
		t.Fatalf("revision %d, data %+v, %d pending", s.Revision, s.Data, s.Pending)
	}
}
