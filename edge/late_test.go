package edge_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// waiting is one case of a timer that waits at a boot without a clock, which is set a while later.
type waiting struct {
	clock   bool // the trigger goes by times of the clock, else by a period
	catchUp protocol.CatchUp
	off     time.Duration // how long the agent is off
	dark    time.Duration // from then on without a clock
	change  bool          // the workflow changes meanwhile
	slow    bool          // the plugins are not loaded before the clock is there
	cut     bool          // ten minutes off once more, a minute after the clock is there; if slow, before the plugins are
}

const (
	period  = 3 * time.Hour // of the triggers; longer than any dark
	lightly = time.Minute   // a firing so late is on time after a restart
)

// after returns when the timer of c goes off that was due then, as an agent knows it that boots at
// boot and knows the time at known: firings at once, and when the next is due.
func (c *waiting) after(due, boot, known time.Time) (now []time.Time, next time.Time) {
	fresh := boot.Add(period)
	if c.clock {
		fresh = known.Truncate(period).Add(period)
	}
	switch late := known.Sub(due); {
	case late < 0 && (c.clock || due.Before(fresh)):
		return nil, due
	case late < 0:
		return nil, fresh
	case c.catchUp == protocol.CatchUpAll:
		for ; !due.After(known); due = due.Add(period) {
			now = append(now, known)
		}
		return now, due
	case c.catchUp == protocol.CatchUpNone && late > lightly:
		return nil, fresh
	case c.clock:
		return []time.Time{known}, fresh
	default:
		return []time.Time{known}, known.Add(period)
	}
}

// want returns when c fires until end, in true time.
func (c *waiting) want(cut, end time.Time) (fires []time.Time) {
	boot := cut.Add(c.off)
	known := boot.Add(c.dark)
	if c.slow && c.cut {
		boot = known.Add(10 * time.Minute)
		known = boot
	}
	fires, due := c.after(start.Add(period), boot, known)
	if c.cut && !c.slow {
		again := known.Add(11 * time.Minute)
		for ; !due.After(known.Add(time.Minute)); due = due.Add(period) {
			fires = append(fires, due)
		}
		var now []time.Time
		now, due = c.after(due, again, again)
		fires = append(fires, now...)
	}
	for ; !due.After(end); due = due.Add(period) {
		fires = append(fires, due)
	}
	return fires
}

// got lets an agent live through c and returns when its trigger fired, in true time.
func (c *waiting) got(t *testing.T, cut, end time.Time) (fires []time.Time) {
	w := newWorld(t)
	w.cfg.Build = start.Add(-24 * time.Hour)
	dark := false
	w.wall = func(now time.Time) time.Time {
		if dark {
			return time.Unix(0, 0).Add(now.Sub(start))
		}
		return now
	}
	w.plugins.answers["w/when"] = func(call edge.Call) wasmhost.Answer {
		if call.Request.Why == wasmhost.WhyTimer {
			fires = append(fires, w.now)
		}
		if c.clock {
			at := time.UnixMilli(call.Request.Now.UnixMS).Truncate(period).Add(period)
			return wasmhost.Answer{Next: wasmhost.Next{AtMS: at.UnixMilli()}}
		}
		return wasmhost.Answer{Next: wasmhost.Next{AfterMS: period.Milliseconds()}}
	}
	on := func() bool { return false }
	w.hub.standard()
	of := w.hub.workflow("w")
	of.CatchUp = c.catchUp
	w.hub.deploy(w.hub.desired(1, of))
	w.boot()
	w.online()
	w.passUntil(cut, on)

	w.now, dark, w.hub.out = cut.Add(c.off), true, nil
	w.boot()
	known := w.now.Add(c.dark)
	if c.change {
		w.passUntil(w.now.Add(c.dark/2), on)
		of.Outputs = of.Outputs[:0]
		w.hub.deploy(w.hub.desired(2, of))
		w.online()
	}
	if !c.slow {
		w.passUntil(known, on)
	}
	w.now, dark = known, false
	w.agent.Tick(w.now)
	if c.slow && c.cut { // something else has the time of now written
		w.agent.Told(w.now, edge.Told{Lines: []protocol.LogLine{{Text: "x"}}})
	} else {
		w.passUntil(known.Add(time.Minute), on)
	}
	if c.cut {
		w.now, w.hub.out = w.now.Add(10*time.Minute), nil
		w.boot()
	}
	w.passUntil(end, on)
	return fires
}

// C-3, C-4: a timer that waits at a boot without a clock goes off when it was due as soon as the
// clock is there, or at once when that is over, as if the clock had been there at the boot; and
// what is kept of it over one more power cut is that.
func TestTimersWhenTheClockComesLate(t *testing.T) {
	cut, cases, step := start.Add(40*time.Minute), 0, 97*time.Minute
	if testing.Short() {
		step = 4 * time.Hour
	}
	for off := 20*time.Minute + 7*time.Second; off < 10*time.Hour; off += step {
		for n := range 2 * 3 * 3 * 8 {
			c := waiting{
				clock: n%2 == 0, catchUp: protocol.CatchUp(n / 2 % 3), off: off,
				dark:   []time.Duration{time.Second, 50 * time.Minute, 100 * time.Minute}[n/6%3],
				change: n/18%2 == 1, slow: n/36%2 == 1, cut: n/72 == 1,
			}
			if c.change && c.slow || c.slow && c.dark > time.Second {
				continue
			}
			cases++
			end := cut.Add(off + c.dark + 2*period)
			want, got := c.want(cut, end), c.got(t, cut, end)
			if !slices.EqualFunc(want, got, func(a, b time.Time) bool { return a.Sub(b).Abs() <= 2*time.Second }) {
				t.Fatalf("%+v: fired %s after the start, want %s", c, sinceStart(got), sinceStart(want))
			}
		}
	}
	t.Logf("%d cases", cases)
}

func sinceStart(all []time.Time) (out []string) {
	for _, at := range all {
		out = append(out, fmt.Sprint(at.Sub(start)))
	}
	return out
}
