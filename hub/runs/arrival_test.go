package runs

import (
	"testing"
	"time"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// C-3, D-19: whatever an agent's clock showed, the hub says by its own when something happened,
// beside what the agent said, and whether it was told late.
func TestHappened(t *testing.T) {
	unix := func(at time.Time, q protocol.Quality) protocol.Stamp {
		return protocol.Stamp{UnixMS: at.UnixMilli(), Quality: q}
	}
	day := 24 * time.Hour
	for _, c := range []struct {
		name         string
		at           protocol.Stamp
		steady, when uint64        // of the record, and of the batch
		ago          time.Duration // that it happened before it came; below 0: not known
		late         bool
	}{
		{"at once", unix(epochTime, protocol.QualityClock), 1000, 1001, 100 * time.Millisecond, false},
		{"in 1970", unix(time.Unix(7, 0), protocol.QualityFloor), 5, 5 + 36000, time.Hour, true},
		{"ten years ahead", unix(epochTime.Add(3650*day), protocol.QualityClock), 5, 5 + 36000, time.Hour, true},
		{"behind", unix(epochTime.Add(-3*day), protocol.QualityFloor), 5, 5 + 36000, time.Hour, true},
		{"400 days ago", unix(epochTime.Add(-400*day), protocol.QualityClock), 5, 5 + 400*864000, 400 * day, true},
		{"an older agent", unix(epochTime, protocol.QualityClock), 0, 36000, -1, false},
		{"carried by hand", unix(epochTime, protocol.QualityClock), 7, 0, -1, false},
		{"nonsense", unix(epochTime, protocol.QualityClock), 8, 7, -1, false},
		{"more nonsense", unix(epochTime, protocol.QualityClock), 1, 1 << 63, 100 * 365 * day, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openBooks(t)
			for lane, body := range map[protocol.Lane]any{
				protocol.LaneEvent:  protocol.Event{Run: runID(1), Workflow: "w", Time: c.at},
				protocol.LaneMetric: 1, protocol.LaneAudit: protocol.Audit{Plugin: "p"}, protocol.LaneLog: protocol.LogLine{Text: "x"},
			} {
				rec := protocol.Record{Mark: protocol.Mark{Boot: 1, Sequence: 1}, Time: c.at, Steady: c.steady, Body: protocol.MustMarshal(body)}
				accept(t, s, protocol.Batch{Epoch: 1, Lane: lane, Steady: c.when, Records: []protocol.Record{rec}})
			}
			want := int64(0)
			if c.ago >= 0 {
				want = epochTime.Add(-c.ago).UnixMilli()
			}
			update(t, s, func(tx *store.Tx) error {
				all, err := List(tx, Filter{})
				if err != nil || len(all) != 1 {
					t.Fatalf("%d runs, %v", len(all), err)
				}
				r := all[0]
				if r.Started != c.at || r.Late != c.late || r.Happened.IsZero() != (want == 0) || want != 0 && r.Happened.UnixMilli() != want {
					t.Errorf("run %+v, want happened %s before it came, late %v", r, c.ago, c.late)
				}
				metrics, err1 := MetricsOf(tx, gate.Agent, 1)
				audits, err2 := Audits(tx, gate.Agent, 1)
				lines, err3 := LogLines(tx, gate.Agent, -100, 1)
				if err1 != nil || err2 != nil || err3 != nil {
					t.Fatal(err1, err2, err3)
				}
				if metrics[0].Happened != want || audits[0].Happened != want || lines[0].Happened != want {
					t.Errorf("metric, audit, line: %d, %d, %d, want %d", metrics[0].Happened, audits[0].Happened, lines[0].Happened, want)
				}
				return nil
			})
		})
	}
}

// D-19: copies of what happens now are taken before their turn, past a backlog; the lane's mark
// stays, and in its turn each is taken once. How a run went wrong is said in its turn only.
func TestAhead(t *testing.T) {
	s := openBooks(t)
	event := func(n uint64) protocol.Record {
		return protocol.Record{Mark: protocol.Mark{Boot: 1, Sequence: n}, Body: protocol.MustMarshal(protocol.Event{Run: runID(n), Workflow: "w"})}
	}
	result := func(n uint64, status protocol.Status) protocol.Record {
		return protocol.Record{Mark: protocol.Mark{Boot: 1, Sequence: n}, Body: protocol.MustMarshal(protocol.Result{
			Run: runID(n), Workflow: "w", Step: "do", Type: protocol.Action, Status: status, Last: true,
		})}
	}
	ahead := func(of protocol.Lane, all ...protocol.Record) {
		update(t, s, func(tx *store.Tx) error {
			_, _, err := Accept(tx, gate, protocol.Batch{Epoch: 1, Lane: protocol.LaneAhead + of, Records: all}, epochTime)
			return err
		})
	}
	statuses := func() (all []Status) {
		update(t, s, func(tx *store.Tx) error {
			listed, err := List(tx, Filter{})
			for _, r := range listed {
				all = append(all, r.Status)
			}
			return err
		})
		return all
	}
	ahead(protocol.LaneEvent, event(8), event(9))
	ahead(protocol.LaneResult, result(8, protocol.StatusOK), result(9, protocol.StatusError))
	if got := statuses(); len(got) != 2 || got[0] != Running || got[1] != OK {
		t.Fatalf("ahead: %v, want one running and one ok", got)
	}
	for n := uint64(1); n <= 9; n++ {
		if mark, fresh := accept(t, s, protocol.Batch{Epoch: 1, Lane: protocol.LaneEvent, Records: []protocol.Record{event(n)}}); fresh != 1 || mark.Sequence != n {
			t.Fatalf("event %d in its turn: %d new, mark %v", n, fresh, mark)
		}
		accept(t, s, protocol.Batch{Epoch: 1, Lane: protocol.LaneResult, Records: []protocol.Record{result(n, protocol.StatusError)}})
	}
	ahead(protocol.LaneEvent, event(3)) // a copy that was long on its way
	if got := statuses(); len(got) != 9 {
		t.Errorf("in their turn: %v, want 9 runs", got)
	}
	update(t, s, func(tx *store.Tx) error {
		lanes, err := Lanes(tx, gate.Agent)
		for _, l := range lanes {
			if l.Stored != 9 || l.Missed != 0 || l.Refused != 0 {
				t.Errorf("lane %s: %+v, want 9 stored", l.Name, l)
			}
		}
		return err
	})
}
