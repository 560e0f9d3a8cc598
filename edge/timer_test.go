package edge_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/storetest"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// watched is what durable triggers look at: a value that is too high for a while, a log that
// grows, and pulses. It outlives the agent, as the world does.
type watched struct {
	begin time.Time
	now   func() time.Time
}

func (s *watched) since() time.Duration { return s.now().Sub(s.begin) }

func (s *watched) high() bool {
	at := s.since()
	return at > 70*time.Second && at < 6*time.Minute || at > 7*time.Minute && at < 8*time.Minute
}

// held fires when the value was high for two minutes without a break: for: 2m.
func (s *watched) held(c edge.Call) wasmhost.Answer {
	var state struct {
		Since int64
		Fired bool
	}
	read(c, &state)
	a := wasmhost.Answer{Next: wasmhost.Next{AfterMS: 20_000}}
	switch {
	case !s.high():
		state.Since, state.Fired = 0, false
	case state.Since == 0:
		state.Since = c.Request.SteadyMS
	case !state.Fired && c.Request.SteadyMS-state.Since >= 120_000:
		state.Fired = true
		a.Events = []protocol.Raw{protocol.MustMarshal("held")}
	}
	a.State = protocol.MustMarshal(state)
	return a
}

// window fires every 90 seconds with how many pulses came in that time.
func (s *watched) window(c edge.Call) wasmhost.Answer {
	const length = 90_000
	var state struct{ End, Window int64 }
	read(c, &state)
	now := c.Request.SteadyMS
	if state.End == 0 {
		state.End = now + length
	}
	var a wasmhost.Answer
	for ; state.End <= now; state.End += length {
		state.Window++
		pulses := state.Window*state.Window%7 + 1
		a.Events = append(a.Events, protocol.MustMarshal(fmt.Sprintf("window %d: %d", state.Window, pulses)))
	}
	a.State, a.Next.AfterMS = protocol.MustMarshal(state), state.End-now
	return a
}

// scheduled fires at each whole third minute of the clock.
func (s *watched) scheduled(c edge.Call) wasmhost.Answer {
	const every = 180_000
	var a wasmhost.Answer
	if c.Request.Why == wasmhost.WhyTimer {
		a.Events = []protocol.Raw{protocol.MustMarshal(fmt.Sprintf("at %d", c.Request.Now.UnixMS/every))}
	}
	a.Next.AtMS = (c.Request.Now.UnixMS/every + 1) * every
	return a
}

// periodic keeps nothing by itself: its period is the host's to keep.
func (s *watched) periodic(c edge.Call) wasmhost.Answer {
	a := wasmhost.Answer{Next: wasmhost.Next{AfterMS: 100_000}}
	if c.Request.Why == wasmhost.WhyTimer {
		a.Events = []protocol.Raw{protocol.MustMarshal("tick")}
	}
	return a
}

// cursor fires for each line of a log, which grows by one each 40 seconds.
func (s *watched) cursor(c edge.Call) wasmhost.Answer {
	var at int64
	read(c, &at)
	a := wasmhost.Answer{Next: wasmhost.Next{AfterMS: 65_000}}
	for ; at < int64(s.since()/(40*time.Second)); at++ {
		a.Events = append(a.Events, protocol.MustMarshal(fmt.Sprintf("line %d", at)))
	}
	a.State = protocol.MustMarshal(at)
	return a
}

func read(c edge.Call, into any) {
	if c.Request.State != nil {
		if err := protocol.Unmarshal(c.Request.State, into); err != nil {
			panic(err)
		}
	}
}

// durable is a world with one workflow for each kind of durable trigger.
func durable(t *testing.T, clockless bool) (*world, *watched) {
	w := newWorld(t)
	if clockless {
		w.wall = func(now time.Time) time.Time { return time.Unix(0, 0).Add(now.Sub(start)) }
		w.cfg.Build = start.Add(-24 * time.Hour)
	}
	s := &watched{begin: start, now: func() time.Time { return w.now }}
	w.hub.standard()
	var all []protocol.Assignment
	for _, of := range []struct {
		name string
		does func(edge.Call) wasmhost.Answer
	}{{"cursor", s.cursor}, {"held", s.held}, {"periodic", s.periodic}, {"scheduled", s.scheduled}, {"window", s.window}} {
		w.plugins.answers[of.name+"/when"] = of.does
		all = append(all, w.hub.workflow(of.name))
	}
	w.hub.deploy(w.hub.desired(1, all...))
	return w, s
}

// passUntil lets the time go on to end, or until the power is gone.
func (w *world) passUntil(end time.Time, dead func() bool) {
	w.t.Helper()
	for !dead() {
		if w.one() {
			continue
		}
		next := w.agent.Next()
		if next.IsZero() || next.After(end) {
			w.now = end
			return
		}
		if next.After(w.now) {
			w.now = next
		}
		w.agent.Tick(w.now)
	}
}

// fired returns what came out, by workflow.
func (w *world) fired() string {
	of := map[protocol.WorkflowName][]string{}
	for _, ev := range w.hub.order {
		var said string
		if err := protocol.Unmarshal(ev.Data, &said); err != nil {
			w.t.Fatal(err)
		}
		of[ev.Workflow] = append(of[ev.Workflow], said)
	}
	var b strings.Builder
	for _, name := range []protocol.WorkflowName{"cursor", "held", "periodic", "scheduled", "window"} {
		fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(of[name], ", "))
	}
	return b.String()
}

// C-4, D-20: a kill at each write to the disk, before and after it is there, with triggers
// under way that wait for a duration, count a window, follow a clock, keep a period and read
// on from a cursor; what comes out is what comes out without a kill. A device without a clock,
// which is 1970 to itself after each start, loses the time since its last write: the same comes
// out, some of it later.
func TestTriggersSurviveAKillAtEachWrite(t *testing.T) {
	const lasts = 9*time.Minute + 30*time.Second
	for _, clockless := range []bool{false, true} {
		lost := time.Duration(0)
		if clockless {
			lost = 70 * time.Second
		}
		want, more := whole(t, clockless, lasts), whole(t, clockless, lasts+2*lost)
		for k, step := 1, 1; ; k += step {
			if testing.Short() || clockless {
				step = 11
			}
			cuts := 0
			for _, applied := range []bool{false, true} {
				w, dead := killed(t, clockless, k, applied)
				w.passUntil(start.Add(lasts), dead)
				if dead() {
					cuts++
					w.disk.Faults = nil
					w.hub.out = nil
					w.now = w.now.Add(time.Second)
					w.boot()
					w.online()
					w.passUntil(start.Add(lasts+lost), func() bool { return false })
				}
				if got := w.fired(); !grows(want, got) || !grows(got, more) {
					t.Fatalf("clockless %v: killed at write %d, applied %v: came out\n%swithout a kill\n%s",
						clockless, k, applied, got, want)
				}
			}
			if cuts == 0 {
				t.Logf("clockless %v: killed at writes up to %d; each time came out\n%s", clockless, k, want)
				break
			}
		}
	}
}

// whole is what comes out without a kill.
func whole(t *testing.T, clockless bool, lasts time.Duration) string {
	w, _ := durable(t, clockless)
	w.boot()
	w.online()
	w.passUntil(start.Add(lasts), func() bool { return false })
	return w.fired()
}

// grows reports whether each line of now goes on from that of before, or is the same.
func grows(before, now string) bool {
	was, is := strings.Split(before, "\n"), strings.Split(now, "\n")
	for i := range was {
		if !strings.HasPrefix(is[i], was[i]) {
			return false
		}
	}
	return len(was) == len(is)
}

// killed is a world whose power goes at the k-th write, which is then on the disk or not.
func killed(t *testing.T, clockless bool, k int, applied bool) (w *world, dead func() bool) {
	w, _ = durable(t, clockless)
	n, gone := 0, false
	w.disk.Faults = func(storetest.Op) storetest.Fault {
		if n++; !gone && n < k {
			return storetest.Fault{}
		}
		first := !gone
		gone = true
		return storetest.Fault{Err: errors.New("power cut"), Applied: applied && first}
	}
	if err := w.tryBoot(); err != nil && !gone {
		t.Fatal(err)
	}
	if !gone {
		w.online()
	}
	return w, func() bool { return gone }
}

// What a firing means that the clock passed over, with the agent off or while the clock was
// set: nothing, one, or each with its time. Nothing fires twice for one time of the clock.
func TestScheduleAndClock(t *testing.T) {
	const years10 = 10 * 365 * 24 * time.Hour
	for _, c := range []struct {
		name    string
		catchUp protocol.CatchUp
		off     time.Duration // how long the agent is off after its first ten minutes
		set     time.Duration // by how much the clock is set then
		want    string        // firings in the hour after, by the minute that they are told, from the start
	}{
		{"nothing happens", protocol.CatchUpNone, 0, 0, "30 60"},
		{"off, none", protocol.CatchUpNone, 65 * time.Minute, 0, "90 120"},
		{"off, latest", protocol.CatchUpLatest, 65 * time.Minute, 0, "75 90 120"},
		{"off, all", protocol.CatchUpAll, 65 * time.Minute, 0, "30 60 90 120"},
		{"off for a moment", protocol.CatchUpNone, 20*time.Minute + 30*time.Second, 0, "30 60 90"},
		{"set forward, none", protocol.CatchUpNone, 0, years10, "5256030 5256060"},
		{"set forward, latest", protocol.CatchUpLatest, 0, years10, "5256011 5256030 5256060"},
		{"set forward, all", protocol.CatchUpAll, 0, years10, "5256011 5256030 5256060"},
		{"set back", protocol.CatchUpAll, 0, -years10, "30 60"},                   // not believed: it is no earlier than before
		{"set back a little", protocol.CatchUpLatest, 0, -20 * time.Minute, "30"}, // believed again after 20 minutes: it is 12:50 when the hour ends
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			var set time.Duration
			w.wall = func(now time.Time) time.Time { return now.Add(set) }
			var told []string
			w.plugins.answers["w/when"] = func(call edge.Call) wasmhost.Answer { // each half hour
				now := time.UnixMilli(call.Request.Now.UnixMS)
				if call.Request.Why == wasmhost.WhyTimer {
					told = append(told, fmt.Sprint(int(now.Sub(start).Minutes())))
				}
				return wasmhost.Answer{Next: wasmhost.Next{AtMS: now.Truncate(30 * time.Minute).Add(30 * time.Minute).UnixMilli()}}
			}
			w.hub.standard()
			of := w.hub.workflow("w")
			of.CatchUp = c.catchUp
			w.hub.deploy(w.hub.desired(1, of))
			w.boot()
			w.online()
			w.pass(10 * time.Minute)
			if w.now, set = w.now.Add(c.off), c.set; c.off > 0 {
				w.boot()
				w.online()
			}
			w.pass(time.Hour)
			if got := strings.Join(told, " "); got != c.want {
				t.Errorf("fired at minutes %s, want %s", got, c.want)
			}
		})
	}
}

// A trigger that was off for a year brings back so many firings and no more; the rest are counted,
// and it goes on in its turn. A power cut amid them begins no new count.
func TestCatchUpAllIsBounded(t *testing.T) {
	const most = 50
	for _, clock := range []bool{false, true} { // by a period, by times of the clock
		w := newWorld(t)
		w.cfg.MissedMax = most
		w.hub.standard()
		fired := 0
		w.plugins.answers["w/when"] = func(c edge.Call) wasmhost.Answer {
			a := wasmhost.Answer{Next: wasmhost.Next{AfterMS: 60_000}}
			if clock {
				a.Next = wasmhost.Next{AtMS: (c.Request.Now.UnixMS/60_000 + 1) * 60_000}
			}
			if c.Request.Why == wasmhost.WhyTimer {
				a.Events = []protocol.Raw{protocol.MustMarshal("tick")}
				fired++
			}
			return a
		}
		of := w.hub.workflow("w")
		of.CatchUp = protocol.CatchUpAll
		w.hub.deploy(w.hub.desired(1, of))
		w.boot()
		w.online()
		w.pass(5*time.Minute + time.Second)
		w.now = w.now.Add(365 * 24 * time.Hour)
		fired = 0
		w.boot()
		for fired < most/2 && w.one() {
			w.agent.Tick(w.now)
		}
		w.boot()
		w.pass(10 * time.Second)
		limited, _ := w.suppressed()
		if want := 365*24*60 - most; fired < most || fired > most+1 || limited < uint64(want-2) || limited > uint64(want+2) {
			t.Errorf("by the clock %v: fired %d times, want %d, and %d passed over, want %d", clock, fired, most, limited, want)
		}
		fired = 0
		if w.pass(10 * time.Minute); fired < 10 || fired > 11 {
			t.Errorf("by the clock %v: fired %d times in the 10 minutes after", clock, fired)
		}
	}
}
