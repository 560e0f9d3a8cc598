package edge_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/storetest"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// beat is how often the triggers of a timed world fire; window is what its limits and its once
// are over.
const beat, window = 250 * time.Second, 30 * time.Minute

// timed is a world whose clock begins in 1970 with each boot, with one workflow for each way to
// hold events back. It counts the time that the agent is on.
type timed struct {
	*world
	off    time.Duration
	writes int
	power  func(write int) (on, applied bool) // nil: it stays on
	dead   bool
	began  map[string][]time.Duration // each run's first action, by workflow, in time that the agent was on
}

func newTimed(t *testing.T) *timed {
	w := &timed{world: newWorld(t), began: map[string][]time.Duration{}}
	w.wall = func(now time.Time) time.Time { return time.Unix(0, 0).Add(now.Sub(start)) }
	w.cfg.Build = start.Add(-24 * time.Hour)
	w.hub.standard()
	asked := map[string]bool{}
	limit := func(o protocol.Over) *protocol.RunLimit {
		return &protocol.RunLimit{Runs: 1, PerMS: window.Milliseconds(), Burst: 1, Over: o}
	}
	var all []protocol.Assignment
	for name, hold := range map[string]func(*protocol.Assignment){
		"drop":   func(a *protocol.Assignment) { a.Limit = limit(protocol.OverDrop) },
		"latest": func(a *protocol.Assignment) { a.Limit = limit(protocol.OverLatest) },
		"once":   func(a *protocol.Assignment) { a.Once = &protocol.Once{WithinMS: window.Milliseconds()} },
	} {
		of := w.hub.workflow(name)
		hold(&of)
		all = append(all, of)
		w.plugins.answers[name+"/when"] = func(edge.Call) wasmhost.Answer {
			return wasmhost.Answer{
				Events: []protocol.Raw{protocol.MustMarshal("e")}, Next: wasmhost.Next{AfterMS: beat.Milliseconds()},
			}
		}
		w.plugins.answers[name+"/do"] = func(c edge.Call) wasmhost.Answer {
			if !asked[c.Request.Key] {
				w.began[name] = append(w.began[name], w.on())
			}
			asked[c.Request.Key] = true
			return wasmhost.Answer{}
		}
	}
	slices.SortFunc(all, func(a, b protocol.Assignment) int { return strings.Compare(string(a.Workflow), string(b.Workflow)) })
	w.hub.deploy(w.hub.desired(1, all...))
	w.disk.Faults = func(storetest.Op) storetest.Fault {
		if w.writes++; w.dead {
			return storetest.Fault{Err: errors.New("power cut")}
		}
		if w.power == nil {
			return storetest.Fault{}
		}
		if on, applied := w.power(w.writes); !on {
			w.dead = true
			return storetest.Fault{Err: errors.New("power cut"), Applied: applied}
		}
		return storetest.Fault{}
	}
	return w
}

func (w *timed) on() time.Duration { return w.now.Sub(start) - w.off }

// live boots the agent and lets it live until it was on for so long in all, or is dead.
func (w *timed) live(until time.Duration) {
	w.writes, w.dead, w.hub.out = 0, false, nil
	if err := w.tryBoot(); err != nil {
		if !w.dead {
			w.t.Fatal(err)
		}
		return
	}
	if !w.dead {
		w.online()
	}
	w.passUntil(start.Add(until+w.off), func() bool { return w.dead })
}

// rest lets the agent be off.
func (w *timed) rest(d time.Duration) {
	w.now = w.now.Add(d)
	w.off += d
}

// check holds what ran to the limits: never sooner than they say, by the time that the agent was
// on, and at each cut later by a bounded time at most.
func (w *timed) check(cuts int, what string) {
	w.t.Helper()
	late := beat + time.Duration(cuts)*(window/8+2*time.Minute)
	for _, name := range slices.Sorted(maps.Keys(w.began)) {
		began := w.began[name]
		for i := 1; i < len(began); i++ {
			if d := began[i] - began[i-1]; d < window-time.Millisecond || d > window+late {
				w.t.Errorf("%s: %s ran after %s, want %s to %s: %v", what, name, d, window, window+late, began)
			}
		}
		if len(began) == 0 || w.on()-began[len(began)-1] > window+late {
			w.t.Errorf("%s: %s does not go on: %v in %s", what, name, began, w.on())
		}
	}
}

// C-3, C-4: the power is cut at each write, three times in a row, before and after it is on the
// disk, on a device without a clock that is then off for longer than any limit. The time off
// counts for nothing, that before it is lost by a bounded piece.
func TestLimitsWithoutClockOverCuts(t *testing.T) {
	const lasts = 100 * time.Minute
	step := 3
	if testing.Short() {
		step = 17
	}
	for k := 1; ; k += step {
		cut := false
		for _, applied := range []bool{false, true} {
			w := newTimed(t)
			w.power = func(write int) (bool, bool) { return write < k, applied }
			for range 3 {
				w.live(lasts)
				cut = cut || w.dead
				w.rest(2 * time.Hour)
			}
			w.power = nil
			w.live(w.on() + 2*window)
			w.check(3, fmt.Sprintf("cut at write %d", k))
		}
		if t.Failed() {
			return
		}
		if !cut {
			t.Logf("cut at each %d. write of %d", step, k)
			return
		}
	}
}

// A device that is on for a few minutes at a time comes to the end of each window, however long it
// was off between.
func TestWindowsEndOnADeviceThatRestartsAllDay(t *testing.T) {
	w := newTimed(t)
	cuts := 0
	for ; w.on() < 6*time.Hour; cuts++ {
		w.live(w.on() + time.Duration(5+cuts%7)*time.Minute)
		w.rest(time.Hour)
	}
	for _, name := range slices.Sorted(maps.Keys(w.began)) {
		// A cut costs an eighth of the window at most, each minute at least is kept.
		if n := len(w.began[name]); n < 6 || n > 12 {
			t.Errorf("%s ran %d times in %s on, with %d cuts: %v", name, n, w.on(), cuts, w.began[name])
		}
		for i, at := range w.began[name][1:] {
			if at-w.began[name][i] < window-time.Millisecond {
				t.Errorf("%s ran too soon: %v", name, w.began[name])
			}
		}
	}
}

// Nothing but the window is under way: what has passed of it is written now and then, the oftener
// the less is left, and never more than once a minute; and not at all when it is over.
func TestQuietWindowIsKept(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		on   time.Duration // how long the device is on at a time
		to   time.Duration // when the second run comes at the latest, by the time that it was on
		most int           // writes until then, less one for each boot
	}{
		{3 * day, day, 200},
		{25 * time.Minute, 40 * time.Hour, 500},
		{3 * time.Minute, 2 * day, 1600},
	} {
		w := newTimed(t)
		of := w.hub.workflow("w")
		of.Limit = &protocol.RunLimit{Runs: 1, PerMS: day.Milliseconds(), Burst: 1, Over: protocol.OverLatest}
		w.hub.deploy(w.hub.desired(2, of))
		w.plugins.answers["w/when"] = func(c edge.Call) wasmhost.Answer {
			if c.Request.State != nil {
				return wasmhost.Answer{State: c.Request.State}
			}
			e := protocol.MustMarshal("e")
			return wasmhost.Answer{Events: []protocol.Raw{e, e}, State: e}
		}
		w.plugins.answers["w/do"] = func(edge.Call) wasmhost.Answer {
			w.began["w"] = append(w.began["w"], w.on())
			return wasmhost.Answer{}
		}
		all, boots, wrote := 0, 0, 0
		w.power = func(int) (bool, bool) {
			if all++; len(w.began["w"]) < 2 {
				wrote = all - boots
			}
			return true, false
		}
		for ; len(w.began["w"]) < 2 && w.on() < 2*day; boots++ {
			w.live(w.on() + c.on)
			w.rest(time.Hour)
		}
		began := append(w.began["w"], w.on())
		if began[1] < day || began[1] > c.to {
			t.Errorf("on for %s: the second run came after %s, want %s to %s", c.on, began[1], day, c.to)
		}
		if t.Logf("on for %s: second run after %s, %d writes", c.on, began[1], wrote); wrote > c.most {
			t.Errorf("on for %s: %d writes, want %d at most", c.on, wrote, c.most)
		}
	}
}

// A clock that shows the time only after the boot says then how long the agent was off: from there
// on what runs is what an agent that was on all the time, and knew the time, would have run.
func TestClockThatComesLate(t *testing.T) {
	for _, burst := range []uint32{1, 2, 3} {
		dark := time.Duration(burst) * 11 * time.Minute // without a clock
		for off := 5 * time.Minute; off < 100*time.Minute; off += 7 * time.Minute {
			w := newTimed(t)
			clock := true
			cold := w.wall
			w.wall = func(now time.Time) time.Time {
				if clock {
					return now
				}
				return cold(now)
			}
			of := w.hub.workflow("w")
			every := window / 2
			of.Limit = &protocol.RunLimit{Runs: 1, PerMS: every.Milliseconds(), Burst: burst}
			once := w.hub.workflow("once")
			once.Once = &protocol.Once{WithinMS: window.Milliseconds()}
			w.hub.deploy(w.hub.desired(2, once, of))
			w.plugins.answers["w/when"] = w.plugins.answers["once/when"]
			ran := map[string][]time.Time{}
			for _, name := range []string{"w", "once"} {
				w.plugins.answers[name+"/do"] = func(edge.Call) wasmhost.Answer {
					ran[name] = append(ran[name], w.now)
					return wasmhost.Answer{}
				}
			}
			w.live(40 * time.Minute)
			w.rest(off)
			clock = false
			w.live(40*time.Minute + dark)
			clock = true
			known := w.now
			w.passUntil(w.now.Add(2*time.Hour), func() bool { return false })
			for _, c := range []struct {
				name         string
				every, slack time.Duration
			}{{"w", every, every * time.Duration(burst-1)}, {"once", window, 0}} {
				waits, even := known, time.Time{} // the account, by the true time
				for at := start; at.Before(w.now); at = at.Add(time.Second) {
					may, did := !at.Before(even.Add(-c.slack)), slices.Contains(ran[c.name], at)
					if did && !may || may && at.Sub(waits) > beat {
						t.Fatalf("%s, burst %d, off for %s: %s after the start ran %v, allowed %v: %v",
							c.name, burst, off, at.Sub(start), did, may, ran[c.name])
					}
					if did {
						even = at.Add(max(even.Sub(at), 0) + c.every)
					}
					if did || !may || at.Before(known) {
						waits = at
					}
				}
			}
		}
	}
}
