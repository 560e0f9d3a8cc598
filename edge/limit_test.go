package edge_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// stormy is an agent on which w fires n times, a second apart, with n as the event's number
// and n/3 as what it means; and then never again.
func stormy(t *testing.T, n int, limit *protocol.RunLimit, once *protocol.Once) *world {
	w := newWorld(t)
	w.hub.standard()
	of := w.hub.workflow("w")
	of.Limit, of.Once = limit, once
	w.plugins.answers["w/when"] = func(c edge.Call) wasmhost.Answer {
		a := fires(n)(c)
		if len(a.Events) > 0 {
			var at int
			_ = protocol.Unmarshal(a.State, &at)
			at--
			a.Events[0] = protocol.MustMarshal(map[string]any{"n": at, "of": map[string]int{"sensor": at / 3}})
		}
		return a
	}
	w.hub.deploy(w.hub.desired(1, of))
	w.boot()
	w.online()
	return w
}

// numbers returns which of a stormy's events became runs, and how they ended.
func (w *world) numbers() string {
	out := ""
	for _, ev := range w.hub.order {
		var data struct {
			N int `cbor:"n"`
		}
		if err := protocol.Unmarshal(ev.Data, &data); err != nil {
			w.t.Fatal(err)
		}
		out += fmt.Sprintf("%d ", data.N)
	}
	return out
}

func (w *world) suppressed() (limited, repeated uint64) {
	s := w.agent.Status().Assignments[0]
	return s.Limited, s.Repeated
}

// T-04, T-05
func TestLimitsHold(t *testing.T) {
	for _, c := range []struct {
		name     string
		limit    *protocol.RunLimit
		once     *protocol.Once
		runs     string
		limited  uint64
		repeated uint64
	}{
		{"none", nil, nil, "0 1 2 3 4 5 6 7 8 9 10 11 ", 0, 0},
		{"drop", &protocol.RunLimit{Runs: 1, PerMS: 4000, Burst: 1}, nil, "0 4 8 ", 9, 0},
		{"burst", &protocol.RunLimit{Runs: 1, PerMS: 4000, Burst: 3}, nil, "0 1 2 4 8 ", 7, 0},
		{"latest", &protocol.RunLimit{Runs: 1, PerMS: 4000, Burst: 1, Over: protocol.OverLatest}, nil, "0 3 7 11 ", 8, 0},
		{"queue", &protocol.RunLimit{Runs: 1, PerMS: 4000, Burst: 1, Over: protocol.OverQueue}, nil, "0 1 2 3 4 5 6 7 8 9 10 11 ", 0, 0},
		{"once", nil, &protocol.Once{Fields: []string{"of.sensor"}, WithinMS: 60_000}, "0 3 6 9 ", 0, 8},
		{"once for a short while", nil, &protocol.Once{Fields: []string{"of.sensor"}, WithinMS: 2000}, "0 2 3 5 6 8 9 11 ", 0, 4},
		{"all the same", nil, &protocol.Once{WithinMS: 5000}, "0 5 10 ", 0, 9},
		{"both", &protocol.RunLimit{Runs: 1, PerMS: 4000, Burst: 1}, &protocol.Once{Fields: []string{"of.sensor"}, WithinMS: 60_000}, "0 4 8 ", 6, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := stormy(t, 12, c.limit, c.once)
			w.pass(2 * time.Minute)
			limited, repeated := w.suppressed()
			if got := w.numbers(); got != c.runs || limited != c.limited || repeated != c.repeated {
				t.Errorf("runs %q, limited %d, repeated %d; want %q, %d, %d", got, limited, repeated, c.runs, c.limited, c.repeated)
			}
			if len(w.hub.order)+int(limited)+int(repeated) != 12 {
				t.Error("an event is neither a run nor counted")
			}
		})
	}
}

func TestQueueKeepsItsPace(t *testing.T) {
	w := stormy(t, 3, &protocol.RunLimit{Runs: 1, PerMS: 60_000, Burst: 1, Over: protocol.OverQueue}, nil)
	for i, want := range []int{1, 2, 3} {
		w.pass(10 * time.Second)
		if got := len(w.plugins.keys) / 2; got != want {
			t.Errorf("after %d minutes %d runs, want %d", i, got, want)
		}
		if i == 0 { // what waits keeps its place over a power cut
			w.boot()
			w.online()
		}
		w.pass(50 * time.Second)
	}
	if len(w.hub.order) != 3 {
		t.Errorf("%d events", len(w.hub.order))
	}
}

func TestLimitsOutliveAPowerCut(t *testing.T) {
	limit := &protocol.RunLimit{Runs: 1, PerMS: 60_000, Burst: 1, Over: protocol.OverLatest}
	w := stormy(t, 4, limit, &protocol.Once{Fields: []string{"n"}, WithinMS: 3_600_000})
	w.pass(10 * time.Second)
	w.boot()
	w.online()
	w.pass(20 * time.Second)
	if got := w.numbers(); got != "0 " {
		t.Errorf("before its time: %s", got)
	}
	w.pass(time.Minute)
	if got := w.numbers(); got != "0 3 " {
		t.Errorf("the event that waited: %s", got)
	}
	if limited, _ := w.suppressed(); limited != 2 {
		t.Errorf("%d limited, want 2", limited)
	}
	var keys int
	_ = w.disk.Scan("once/", "", func(string, []byte) bool { keys++; return true })
	if keys != 2 {
		t.Errorf("%d meanings on the disk, want 2", keys)
	}
	w.hub.deploy(w.hub.desired(2))
	w.pass(time.Second)
	for _, prefix := range []string{"once/", "storm/"} {
		_ = w.disk.Scan(prefix, "", func(key string, _ []byte) bool {
			t.Errorf("%s outlives its workflow", key)
			return true
		})
	}
}

func TestEventWithoutItsKeyIsAnError(t *testing.T) {
	w := stormy(t, 2, nil, &protocol.Once{Fields: []string{"of.pump"}, WithinMS: 60_000})
	w.pass(time.Minute)
	if got := w.hub.said(); got != "do error, say ok., do error, say ok." {
		t.Errorf("said %s", got)
	}
	if text := w.hub.results[0].Error.Text; text != `once: the event has no field "of.pump"` {
		t.Errorf("error %q", text)
	}
}

// T-04: several agents see the same thing, one of them acts.
func TestSeveralSeeTheSameAndOneActs(t *testing.T) {
	for _, pick := range []protocol.Pick{protocol.PickRendezvous, protocol.PickAll} {
		m := newMesh(t, 4, pick, 3)
		once := &protocol.Once{Fields: []string{"n"}, WithinMS: 60_000}
		place := &protocol.Place{Pick: pick, WithinMS: m.within.Milliseconds(), Members: []protocol.Address{addressOf(3)}}
		for i := range 3 {
			w := m.all[i]
			w.seed = byte(16 * (i + 1)) // runs of their own
			w.boot()
			w.online()
			w.plugins.answers["w/when"] = fires(2)
			of := w.hub.workflow("w")
			of.Actions[0] = protocol.Step{Name: "do", Timeout: 10_000, Place: place}
			of.Once = once
			w.hub.deploy(w.hub.desired(2, of))
		}
		d := m.all[3].hub.desired(2)
		d.Hosts = []protocol.Host{{
			Workflow: "w", Type: protocol.Action, Once: once, Open: true,
			Step: protocol.Step{Name: "do", Release: m.all[3].hub.release["work"].Digest, Timeout: 10_000},
		}}
		m.all[3].hub.deploy(d)
		m.pass(10 * time.Second)
		if len(m.asked) != 2 {
			t.Errorf("pick %d: %d runs acted, want one for each of 2 events: %v", pick, len(m.asked), m.asked)
		}
		acted, told := 0, 0
		for i := range 3 {
			w := m.all[i]
			if len(w.hub.results) != 4 {
				t.Errorf("pick %d: agent %d: %s", pick, i, w.hub.said())
			}
			for _, r := range w.hub.results {
				switch {
				case r.Status == protocol.StatusOK && r.Step == "do":
					acted++
				case r.Status == protocol.StatusSkipped && r.Step == "do" && r.Error != nil && r.Error.Code == protocol.CodeExists:
					told++
				}
			}
		}
		if acted != 2 || told != 4 {
			t.Errorf("pick %d: %d acted, %d were told that another did; want 2 and 4", pick, acted, told)
		}
	}
}
