package edge_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/storetest"
	"github.com/stavily/stavily/protocol"
)

// lines is a world whose agent records log lines, and how many it did in each boot.
type lines struct {
	*world
	random *rand.Rand
	made   map[uint64]uint64
}

func (w *lines) tell() {
	n := 1 + w.random.IntN(12)
	var told edge.Told
	for range n {
		text := strings.Repeat("x", 1+w.random.IntN(protocol.TextMax-1))
		told.Lines = append(told.Lines, protocol.LogLine{Text: text})
	}
	w.agent.Told(w.now, told)
	w.made[w.agent.Status().Boot] += uint64(n)
}

// step does one thing at random.
func (w *lines) step() {
	switch w.random.IntN(12) {
	case 0, 1, 2, 3, 4:
		w.tell()
	case 5:
		w.pass(time.Duration(w.random.IntN(600)) * time.Second)
	case 6:
		w.offline()
	case 7:
		w.online()
	case 8:
		w.hub.deaf = !w.hub.deaf
	case 9:
		w.hub.mute = !w.hub.mute
	case 10:
		w.pass(time.Second)
	default:
		w.pass(time.Second) // what was told is on the disk
		w.boot()
	}
}

// held is the same of all sequences of all boots: the hub has each, or it lies in one gap.
func (w *lines) held(t *testing.T) (reached, gone uint64) {
	t.Helper()
	seen := map[protocol.Mark]int{}
	newest := protocol.Mark{}
	for _, m := range w.hub.marks[protocol.LaneLog] {
		if seen[m]++; !m.After(newest) {
			t.Fatalf("%v after %v", m, newest)
		}
		newest = m
	}
	for _, g := range w.hub.gaps[protocol.LaneLog] {
		n := uint64(0)
		for boot := g.From.Boot; boot <= g.To.Boot; boot++ {
			first, last := uint64(1), w.made[boot]
			if boot == g.From.Boot {
				first = g.From.Sequence
			}
			if boot == g.To.Boot {
				last = g.To.Sequence
			}
			for s := first; s <= last; s++ {
				seen[protocol.Mark{Boot: boot, Sequence: s}]++
				n++
			}
		}
		if n != g.Count {
			t.Fatalf("gap %+v says %d records, there were %d", g, g.Count, n)
		}
		gone += n
	}
	for boot, made := range w.made {
		for s := uint64(1); s <= made; s++ {
			if n := seen[protocol.Mark{Boot: boot, Sequence: s}]; n != 1 {
				t.Fatalf("record %d/%d is %d times at the hub or in gaps", boot, s, n)
			}
			reached++
		}
	}
	return reached - gone, gone
}

// Whatever is put, dropped, acknowledged, lost on the line or cut off: every record reaches the
// hub or lies in exactly one gap.
func TestRecordReachesHubOrGap(t *testing.T) {
	worlds := 60
	if testing.Short() {
		worlds = 15
	}
	var reached, gone uint64
	why := map[protocol.GapWhy]int{}
	for seed := range worlds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := &lines{newWorld(t), rand.New(rand.NewPCG(uint64(seed), 6)), map[uint64]uint64{}}
			if seed%5 == 0 {
				w.store = storetest.Lanes{Memory: w.disk}
			}
			w.cfg.LaneBytes[protocol.LaneLog] = 2 * protocol.RecordMax
			w.cfg.LaneAge[protocol.LaneLog] = []time.Duration{0, 30 * time.Minute}[seed%2]
			w.cfg.LaneDrop[protocol.LaneLog] = []edge.Drop{edge.DropOldest, edge.DropNewest, edge.DropThin}[seed/2%3]
			w.boot()
			for range 150 {
				w.step()
			}
			w.hub.deaf, w.hub.mute = false, false
			w.offline()
			w.online()
			w.pass(time.Hour)
			r, g := w.held(t)
			reached, gone = reached+r, gone+g
			for _, g := range w.hub.gaps[protocol.LaneLog] {
				why[g.Why]++
			}
			if s := w.agent.Status(); s.Pending != 0 || s.Dropped < g {
				t.Fatalf("%d pending, %d dropped, %d in gaps", s.Pending, s.Dropped, g)
			}
		})
	}
	all := why[protocol.GapAge] > 0 && why[protocol.GapNewest] > 0 && why[protocol.GapThinned] > 0
	if reached == 0 || why[protocol.GapBytes] == 0 || !all {
		t.Fatalf("%d reached, %d gone: %v: not all was tried", reached, gone, why)
	}
}

// A gap that the disk refuses is not told: after a power cut its records are there again, and a
// hub that knew of the gap would not take them.
func TestGapWaitsForTheDisk(t *testing.T) {
	w := newWorld(t)
	w.cfg.LaneBytes[protocol.LaneLog] = 2 * protocol.RecordMax
	small := &quota{Store: w.disk, left: 1 << 20, sizes: map[string]int{}}
	w.store = small
	w.boot()
	tell := func(n int) {
		line := protocol.LogLine{Text: strings.Repeat("x", protocol.TextMax-1)}
		for range n {
			w.agent.Told(w.now, edge.Told{Lines: slices.Repeat([]protocol.LogLine{line}, 12)})
			w.pass(time.Second)
		}
	}
	tell(30)
	kept := w.agent.Status()
	if kept.Dropped == 0 || kept.Pending == 0 {
		t.Fatalf("%d dropped, %d pending", kept.Dropped, kept.Pending)
	}
	small.left = -1 << 20
	tell(3)
	w.online()
	w.pass(time.Minute)
	if s := w.agent.Status(); !s.DiskRefuses || s.Dropped == kept.Dropped {
		t.Fatalf("the disk refuses %v, %d dropped", s.DiskRefuses, s.Dropped)
	}
	w.store = w.disk
	w.boot()
	w.online()
	w.pass(time.Hour)
	told := uint64(0)
	for _, g := range w.hub.gaps[protocol.LaneLog] {
		told += g.Count
	}
	if s := w.agent.Status(); s.Pending != 0 || told != s.Dropped {
		t.Errorf("%d pending, %d dropped, and the hub knows of %d", s.Pending, s.Dropped, told)
	}
}

// A record goes when it is older than its lane keeps any, and not before; the others stay.
func TestAge(t *testing.T) {
	w := newWorld(t)
	w.cfg.LaneAge[protocol.LaneLog] = time.Hour
	w.boot()
	told := func(text string) { w.agent.Told(w.now, edge.Told{Lines: []protocol.LogLine{{Text: text}}}) }
	told("old")
	w.agent.Told(w.now, edge.Told{Audits: []protocol.Audit{{Capability: "kv"}}})
	w.pass(40 * time.Minute)
	w.boot()
	told("new")
	if w.pass(19 * time.Minute); w.agent.Status().Dropped != 0 {
		t.Fatal("dropped after 59 minutes")
	}
	w.pass(2 * time.Minute)
	if s := w.agent.Status(); s.Dropped != 1 || s.Pending != 2 {
		t.Fatalf("after 61 minutes %d dropped, %d pending, want 1 and 2", s.Dropped, s.Pending)
	}
	w.online()
	w.pass(time.Minute)
	mark := protocol.Mark{Boot: 1, Sequence: 1}
	want := protocol.Gap{From: mark, To: mark, Count: 1, Why: protocol.GapAge}
	if got := w.hub.gaps[protocol.LaneLog]; len(got) != 1 || got[0] != want {
		t.Errorf("gaps %+v, want %+v", got, want)
	}
}

// Without a clock only the time that the agent was on counts.
func TestAgeWithoutClock(t *testing.T) {
	for _, c := range []struct {
		name    string
		clock   bool
		dropped uint64
	}{{"clock", true, 1}, {"no clock", false, 0}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.cfg.LaneAge[protocol.LaneLog] = time.Hour
			w.cfg.Build = start.Add(-time.Hour)
			if !c.clock {
				w.wall = func(time.Time) time.Time { return time.Unix(0, 0) }
			}
			w.boot()
			w.agent.Told(w.now, edge.Told{Lines: []protocol.LogLine{{Text: "x"}}})
			w.pass(time.Minute)
			w.now = w.now.Add(3 * time.Hour) // off
			w.boot()
			w.pass(10 * time.Minute)
			if got := w.agent.Status().Dropped; got != c.dropped {
				t.Errorf("%d dropped, want %d", got, c.dropped)
			}
		})
	}
}

// A lane that drops nothing holds its triggers back, and lets them go when there is room.
func TestFullLaneHoldsTriggersBack(t *testing.T) {
	w := newWorld(t)
	w.cfg.LaneBytes[protocol.LaneEvent] = 2 * protocol.RecordMax
	w.cfg.LaneDrop[protocol.LaneEvent] = edge.DropNone
	w.hub.standard()
	w.plugins.answers["w/when"] = fires(2000)
	w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
	w.boot()
	w.online()
	w.pass(time.Second)
	w.offline()
	w.pass(time.Hour)
	s := w.agent.Status()
	if n := s.Assignments[0].Fired; s.Dropped != 0 || n < 100 || n >= 2000 {
		t.Fatalf("without a line %d fired, %d dropped", n, s.Dropped)
	}
	w.online()
	w.pass(time.Hour)
	if s = w.agent.Status(); s.Assignments[0].Fired != 2000 || s.Dropped != 0 || len(w.hub.events) != 2000 {
		t.Errorf("with the line %d fired, %d dropped, %d at the hub", s.Assignments[0].Fired, s.Dropped, len(w.hub.events))
	}
}
