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
