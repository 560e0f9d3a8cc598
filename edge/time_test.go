package edge_test

import (
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

// A device without a clock says so, and its records stay in order (C-3).
func TestNoClock(t *testing.T) {
	w := newWorld(t)
	w.now = time.Unix(100, 0)
	w.cfg.Build = start.Add(-24 * time.Hour)
	w.hub.standard()
	w.plugins.answers["w/when"] = fires(3)
	w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
	w.boot()
	w.online()
	w.pass(time.Minute)
	if len(w.hub.order) != 3 {
		t.Fatalf("%d events", len(w.hub.order))
	}
	for i, ev := range w.hub.order {
		// The floor, and what has passed since it was proven.
		if want := start.UnixMilli() + int64(i)*1000; ev.Time.Quality != protocol.QualityFloor || ev.Time.UnixMS != want {
			t.Errorf("event %d: time %+v, want %d as floor", i, ev.Time, want)
		}
	}
	w.boot()
	if got := w.agent.Floor(); got.Before(start) {
		t.Fatalf("floor after a boot: %s", got)
	}
	// The document is from years ahead of this clock: nothing is removed or refused for that.
	w.now = time.Unix(7, 0)
	w.plugins.stopped = nil
	w.boot()
	w.pass(time.Minute)
	s := w.agent.Status()
	if s.Revision != 1 || len(s.Assignments) != 1 || s.Assignments[0].Phase != protocol.PhaseRunning || s.Refused != nil {
		t.Errorf("after a boot in 1970: %+v", s)
	}
	if len(w.plugins.stopped) != 0 {
		t.Errorf("a boot in 1970 stopped %q", w.plugins.stopped)
	}
}

// The time of a hint is nobody's word: only the sealed moment in it raises the floor, and a
// hint without one counts all the same (C-3).
func TestHintProvesNoTime(t *testing.T) {
	later := start.Add(48 * time.Hour)
	seal := func(role protocol.Role, at time.Time) func(w *world) []byte {
		return func(w *world) []byte {
			context := protocol.ContextMoment
			if role == protocol.RoleRelease {
				context = protocol.ContextRelease
			}
			sealed, err := protocol.Seal(context, w.hub.keys[role], protocol.MustMarshal(protocol.Moment{Time: at.UnixMilli()}))
			if err != nil {
				t.Fatal(err)
			}
			return sealed
		}
	}
	for _, c := range []struct {
		name  string
		time  time.Time
		proof func(w *world) []byte
		want  time.Time
	}{
		{"the far future, unsealed", start.AddDate(200, 0, 0), func(*world) []byte { return nil }, start},
		{"the far future, noise", start.AddDate(200, 0, 0), func(*world) []byte { return []byte{0xd2, 0x84} }, start},
		{"sealed by another role", later, seal(protocol.RoleRelease, later), start},
		{"sealed", later, seal(protocol.RoleDesired, later), later},
		{"sealed, and another time told", start.AddDate(200, 0, 0), seal(protocol.RoleDesired, later), later},
		{"sealed long ago", later, seal(protocol.RoleDesired, start.AddDate(-1, 0, 0)), start},
	} {
		w := newWorld(t)
		w.now = time.Unix(100, 0)
		w.cfg.Build = start.Add(-24 * time.Hour)
		w.hub.standard()
		w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
		w.boot()
		w.online()
		w.pass(time.Minute)
		w.hub.deploy(w.hub.desired(2, w.hub.workflow("v")))
		w.hub.hint.Time, w.hub.hint.Proof = c.time.UnixMilli(), c.proof(w)
		w.hub.out = w.hub.out[:len(w.hub.out)-1]
		w.hub.sayHint()
		w.pass(time.Minute)
		if got := w.agent.Floor(); !got.Equal(c.want) {
			t.Errorf("%s: floor %s, want %s", c.name, got, c.want)
		}
		if got := w.agent.Status().Revision; got != 2 {
			t.Errorf("%s: holds revision %d, want 2", c.name, got)
		}
	}
}

// A clock that was ten years ahead poisons the floor only until it has been set right and the
// hub's sealed moment says the same; neither alone moves the floor back (C-3).
func TestFloorGoesBack(t *testing.T) {
	ahead := 10 * 365 * 24 * time.Hour
	for _, c := range []struct {
		name  string
		clock time.Duration // what it is set to in the end, from the true time
		proof time.Duration // of the sealed moment, from the true time
		known bool          // the agent got a sealed moment of the true time before, and was restarted
		back  bool
	}{
		{"both agree", 0, 0, false, true},
		{"the clock is still wrong", ahead, 0, false, false},
		{"an old moment", 0, -48 * time.Hour, false, false},
		{"an old moment and a clock as old", -48 * time.Hour, -48 * time.Hour, false, true},
		{"the same, but a newer one was seen", -48 * time.Hour, -48 * time.Hour, true, false},
	} {
		w := newWorld(t)
		wrong := ahead
		w.wall = func(now time.Time) time.Time { return now.Add(wrong) }
		w.cfg.Build = start.Add(-30 * 24 * time.Hour)
		w.hub.standard()
		w.plugins.answers["w/when"] = fires(3)
		w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
		w.boot()
		w.online()
		w.pass(time.Minute)
		if got := w.agent.Floor(); got.Before(start.Add(ahead)) {
			t.Fatalf("%s: floor %s, want it ten years ahead", c.name, got)
		}
		prove := func(at time.Time) {
			moment := protocol.Moment{Time: at.UnixMilli()}
			sealed, err := protocol.Seal(protocol.ContextMoment, w.hub.keys[protocol.RoleDesired], protocol.MustMarshal(moment))
			if err != nil {
				t.Fatal(err)
			}
			w.hub.hint.Time, w.hub.hint.Proof = moment.Time, sealed
			w.hub.sayHint()
			w.drain()
		}
		if c.known {
			prove(w.now)
			w.boot()
			w.online()
		}
		wrong = c.clock
		prove(w.now.Add(c.proof))
		if got := w.agent.Floor().Before(start.Add(time.Hour)); got != c.back {
			t.Errorf("%s: floor %s", c.name, w.agent.Floor())
		}
	}
}
