package runs

import (
	"testing"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// The lanes for alarms and control hold events and results, which make the same runs as in lanes of
// their own; each lane has its mark.
func TestAlarmAndControl(t *testing.T) {
	s := openBooks(t)
	accept(t, s, batchOf(protocol.LaneControl, record(1, 1, resultOf(1, "tell", protocol.StatusDropped, true))))
	accept(t, s, batchOf(protocol.LaneAlarm,
		record(1, 1, eventOf(1)), record(1, 2, resultOf(1, "act", protocol.StatusOK, false)),
		record(1, 3, eventOf(2)), record(1, 4, resultOf(2, "act", protocol.StatusOK, true)),
	))
	accept(t, s, batchOf(protocol.LaneAlarm, record(1, 4, resultOf(2, "act", protocol.StatusError, true)))) // seen before
	update(t, s, func(tx *store.Tx) error {
		all, err := List(tx, Filter{})
		if err != nil {
			return err
		}
		got := map[Status]int{}
		for _, r := range all {
			got[r.Status]++
		}
		if len(all) != 2 || got[Dropped] != 1 || got[OK] != 1 {
			t.Errorf("runs %v, want one dropped and one ok", got)
		}
		dead, err := DeadLetters(tx, Filter{})
		if len(dead) != 1 || dead[0].Step != "tell" {
			t.Errorf("dead letters %+v, want that of the step that never ran", dead)
		}
		return err
	})
	if mark, fresh := accept(t, s, batchOf(protocol.LaneAlarm, record(1, 5, map[int]any{3: "no result"}))); fresh != 1 || mark.Sequence != 5 {
		t.Errorf("what is neither: %d new, mark %v", fresh, mark)
	}
	update(t, s, func(tx *store.Tx) error {
		refused, err := Quarantine(tx, gate.Agent, 10)
		if len(refused) != 1 || refused[0].Lane != "alarm" {
			t.Errorf("refused %+v, want the one that is neither", refused)
		}
		return err
	})
}

// Of two results of one step that came in different lanes the later one holds, whatever their marks
// are and in whatever order they come.
func TestLaterResultOfAnotherLane(t *testing.T) {
	at := func(sequence, steady uint64, status protocol.Status) protocol.Record {
		r := record(3, sequence, resultOf(1, "act", status, true))
		r.Steady = steady
		return r
	}
	dropped := batchOf(protocol.LaneControl, at(900, 5000, protocol.StatusDropped))
	again := batchOf(protocol.LaneResult, at(7, 5001, protocol.StatusOK))
	for name, order := range map[string][]protocol.Batch{"in order": {dropped, again}, "other way": {again, dropped}} {
		t.Run(name, func(t *testing.T) {
			s := openBooks(t)
			for _, b := range order {
				accept(t, s, b)
			}
			update(t, s, func(tx *store.Tx) error {
				all, err := List(tx, Filter{})
				if len(all) != 1 || all[0].Status != OK {
					t.Errorf("got %+v, want one run that is ok", all)
				}
				return err
			})
		})
	}
}
