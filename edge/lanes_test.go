package edge_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// After an outage what is urgent arrives whole before anything else of the backlog leaves, however
// much there is of either; and a hub that takes no such records holds nothing up.
func TestUrgentFirst(t *testing.T) {
	for _, c := range []struct {
		name string
		deaf protocol.Lane
	}{{name: "answered"}, {name: "not answered", deaf: protocol.LaneAlarm}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.hub.standard()
			w.plugins.answers["w/when"], w.plugins.answers["u/when"] = fires(600), fires(600)
			urgent := w.hub.workflow("u")
			urgent.Urgent = true
			w.hub.deploy(w.hub.desired(1, w.hub.workflow("w"), urgent))
			w.boot()
			w.online()
			w.pass(time.Millisecond)
			w.offline()
			w.pass(time.Hour)
			w.hub.batches, w.hub.deafTo = nil, c.deaf
			w.online()
			w.pass(time.Hour)
			if c.deaf != 0 {
				if len(w.hub.events) != 600 || len(w.hub.results) != 1200 {
					t.Errorf("%d events and %d results beside a lane that the hub does not know", len(w.hub.events), len(w.hub.results))
				}
				return
			}
			if len(w.hub.events) != 1200 || len(w.hub.results) != 2400 {
				t.Fatalf("%d events, %d results", len(w.hub.events), len(w.hub.results))
			}
			others := slices.IndexFunc(w.hub.batches, func(b protocol.Batch) bool { return b.Lane != protocol.LaneAlarm })
			urgents := 0
			for _, b := range w.hub.batches[:others] {
				urgents += len(b.Records)
			}
			if urgents != 1800 {
				t.Errorf("%d urgent records came before the others, want all 1800", urgents)
			}
		})
	}
}

// What the hub acts on leaves in a lane of its own: a step that never ran, of whatever workflow.
func TestControlLane(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	w.plugins.answers["u/when"] = fires(1)
	w.plugins.answers["u/do"] = refuses(protocol.CodeUnavailable, "starting")
	urgent := w.hub.workflow("u")
	urgent.Urgent = true
	w.hub.deploy(w.hub.desired(1, urgent))
	w.boot()
	w.online()
	w.pass(time.Minute)
	w.hub.deploy(w.hub.desired(2))
	w.pass(time.Minute)
	got := map[protocol.Lane]int{}
	for _, b := range w.hub.batches {
		got[b.Lane] += len(b.Records)
	}
	if got[protocol.LaneAlarm] != 1 || got[protocol.LaneControl] != 2 || got[protocol.LaneEvent]+got[protocol.LaneResult] != 0 {
		t.Errorf("records by lane: %v, want an alarm and two of control", got)
	}
	if want := "do dropped, say dropped."; w.hub.said() != want {
		t.Errorf("results %q, want %q", w.hub.said(), want)
	}
}

// shedWatch is a disk with little room. No record of a lane may go from it, unheard of, as long as
// there is one of a less important lane.
type shedWatch struct {
	*quota
	t    *testing.T
	on   bool // the line is gone: nothing goes but by shedding
	shed map[protocol.Lane]int
}

func (s *shedWatch) Apply(changes []edge.Change) error {
	gone := map[string]bool{}
	for _, c := range changes {
		if c.Value == nil {
			gone[c.Key] = true
		}
	}
	before := map[protocol.Lane]int{}
	_ = s.Scan("out/", "", func(key string, _ []byte) bool {
		if of, _, _ := edge.RecordOf(key); !gone[key] {
			before[of]++
		}
		return true
	})
	if err := s.quota.Apply(changes); err != nil {
		return err
	}
	order := protocol.Lanes()
	for key := range gone {
		of, _, isRecord := edge.RecordOf(key)
		if !isRecord || !s.on {
			continue
		}
		s.shed[of]++
		for _, less := range order[slices.Index(order[:], of)+1:] {
			if before[less] > 0 {
				s.t.Fatalf("a record of lane %s went, and %d of lane %s stayed", of, before[less], less)
			}
		}
	}
	return nil
}

// On a full disk lanes give way from the least important one on, whatever they hold.
func TestShedOrder(t *testing.T) {
	shed := map[protocol.Lane]int{}
	for seed := range 12 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(uint64(seed), 7))
			w := newWorld(t)
			w.machine = map[string]float64{"cpu.percent": 12.5}
			w.cfg.Metrics = time.Minute
			disk := &shedWatch{&quota{Store: w.disk, left: 1 << 20, sizes: map[string]int{}}, t, false, shed}
			w.store = disk
			w.hub.standard()
			w.plugins.answers["w/when"], w.plugins.answers["u/when"] = fires(120), fires(60)
			urgent := w.hub.workflow("u")
			urgent.Urgent = true
			ends := w.hub.workflow("ends")
			w.plugins.answers["ends/when"], w.plugins.answers["ends/do"] = fires(20), refuses(protocol.CodeUnavailable, "starting")
			w.hub.deploy(w.hub.desired(1, w.hub.workflow("w"), urgent, ends))
			w.boot()
			w.online()
			w.pass(time.Millisecond)
			w.hub.deploy(w.hub.desired(2, w.hub.workflow("w"), urgent)) // what waits of the third is dropped
			w.pass(time.Millisecond)
			w.offline()
			disk.on = true
			for range 150 {
				text := strings.Repeat("x", 1+random.IntN(300))
				w.agent.Told(w.now, edge.Told{
					Lines: []protocol.LogLine{{Text: text}}, Audits: []protocol.Audit{{Capability: "kv", Subject: text[:1]}},
				})
				w.pass(time.Duration(random.IntN(60)) * time.Second)
				if disk.left > 0 && random.IntN(3) == 0 {
					disk.left = max(0, disk.left-random.IntN(40_000))
				}
			}
			for range 40 { // nothing is added that fits: lane after lane goes
				disk.left -= 4000
				w.pass(10 * time.Minute)
				w.agent.Told(w.now, edge.Told{Audits: []protocol.Audit{{Capability: "kv"}}})
			}
		})
	}
	for _, of := range protocol.Lanes() {
		if of != protocol.LaneControl && shed[of] == 0 {
			t.Errorf("lane %s: nothing of it was ever let go: %v", of, shed)
		}
	}
}

// A lane of figures that is thinned out says less often what it says, over a longer time.
func TestThin(t *testing.T) {
	span := func(drop edge.Drop) (oldest time.Duration, newest, came int) {
		w := newWorld(t)
		w.machine = map[string]float64{"cpu.percent": 12.5, "agent.memory": 9 << 20}
		w.cfg.Metrics = 5 * time.Minute
		w.cfg.LaneBytes[protocol.LaneMetric] = 2 * protocol.RecordMax
		w.cfg.LaneAge[protocol.LaneMetric] = 0
		w.cfg.LaneDrop[protocol.LaneMetric] = drop
		w.boot()
		w.pass(60 * 24 * time.Hour)
		s := w.agent.Status()
		carried := uint64(0)
		for from, more := "", true; more; more = from != "" {
			records, gaps, next, err := edge.Unacknowledged(w.store, protocol.LaneMetric, from)
			if err != nil || len(gaps) > protocol.GapsMax {
				t.Fatalf("%d gaps: %v", len(gaps), err)
			}
			carried, from = carried+uint64(len(records)), next
			for _, g := range gaps {
				carried += g.Count
			}
		}
		if carried != s.Pending+s.Dropped {
			t.Errorf("%s: %d records are carried by hand or lie in gaps, of %d", drop, carried, s.Pending+s.Dropped)
		}
		w.online()
		w.pass(time.Hour)
		made, gone := 0, 0
		for _, b := range w.hub.batches {
			if b.Lane != protocol.LaneMetric {
				continue
			}
			for _, g := range b.Gaps {
				gone += int(g.Count)
			}
			for i, r := range b.Records {
				age := time.Duration(b.Steady-r.Steady) * time.Second / 10
				oldest, came = max(oldest, age), came+1
				if i > 0 && age < 24*time.Hour && age > time.Hour && r.Mark.Sequence == b.Records[i-1].Mark.Sequence+1 {
					newest++
				}
				made = int(r.Mark.Sequence)
			}
		}
		if gone != int(s.Dropped) || came+gone != made {
			t.Errorf("%s: %d came and %d are in gaps, of %d; %d dropped", drop, came, gone, made, s.Dropped)
		}
		return oldest, newest, came
	}
	full, _, n := span(edge.DropOldest)
	thin, newest, m := span(edge.DropThin)
	if thin < 3*full || m < n/2 {
		t.Errorf("thinned out %d figures reach %s back, otherwise %d reach %s", m, thin, n, full)
	}
	if newest < 200 {
		t.Errorf("of the newest day %d figures follow each other, want nearly all 276", newest)
	}
}
