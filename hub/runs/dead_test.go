package runs

import (
	"context"
	"testing"
	"time"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

func deadOf(t *testing.T, s *store.Store) (out []Dead) {
	t.Helper()
	err := s.View(context.Background(), func(tx *store.Tx) (err error) {
		out, err = DeadLetters(tx, Filter{Limit: ListMax})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A run of which a step did not end well is listed, whatever comes first, until it ends well.
func TestDeadLetters(t *testing.T) {
	s := openBooks(t)
	accept(t, s, batchOf(protocol.LaneEvent, record(1, 1, eventOf(1)), record(1, 2, eventOf(2)), record(1, 3, eventOf(3))))
	accept(t, s, batchOf(protocol.LaneResult,
		record(1, 1, resultOf(1, "act", protocol.StatusOK, false)), record(1, 2, resultOf(1, "tell", protocol.StatusError, true)),
		record(1, 3, resultOf(2, "act", protocol.StatusOK, true)), record(1, 4, resultOf(3, "act", protocol.StatusDropped, true)),
		record(1, 5, resultOf(4, "act", protocol.StatusError, true))))
	accept(t, s, batchOf(protocol.LaneEvent, record(1, 4, eventOf(4))))
	all := deadOf(t, s)
	if len(all) != 3 {
		t.Fatalf("%d listed: %+v", len(all), all)
	}
	var d Dead
	var o protocol.ReplayOrder
	update(t, s, func(tx *store.Tx) (err error) {
		if d, err = GetDead(tx, runID(1).String()[:8]); err == nil {
			o, err = d.Replay(tx)
		}
		return err
	})
	if d.Agent != gate.Agent || d.Step != "tell" || d.Error.Code != protocol.CodeDeadline || d.State != DeadWaiting {
		t.Errorf("%+v", d)
	}
	if o.Event.Run != runID(1) || len(o.Event.Data) == 0 || len(o.Steps) != 2 || len(o.Done) != 1 || o.Done[0] != "act" ||
		len(o.Results) != 1 || len(o.Results[0].Data) == 0 {
		t.Errorf("order %+v", o)
	}
	d.State, d.Order, d.Expires = DeadOrdered, 9, epochTime.Add(time.Hour)
	update(t, s, func(tx *store.Tx) error {
		if err := SetDead(tx, &d); err != nil {
			return err
		}
		ordered, err := Ordered(tx, gate.Agent)
		if len(ordered) != 1 || ordered[0].Order != 9 || !ordered[0].Expires.Equal(d.Expires) {
			t.Errorf("ordered %+v", ordered)
		}
		return err
	})
	// Old runs go, but not those on the list.
	update(t, s, func(tx *store.Tx) error {
		_, err := Prune(tx, epochTime.Add(time.Hour))
		return err
	})
	if got := deadOf(t, s); len(got) != 3 {
		t.Errorf("after pruning %+v", got)
	}
	// It fails again, and then ends well.
	accept(t, s, batchOf(protocol.LaneResult, record(2, 1, resultOf(1, "tell", protocol.StatusError, true))))
	update(t, s, func(tx *store.Tx) (err error) { d, err = GetDead(tx, d.Run); return err })
	if d.State != DeadWaiting || d.Order != 0 {
		t.Errorf("failed again: %+v", d)
	}
	accept(t, s, batchOf(protocol.LaneResult, record(2, 2, resultOf(1, "tell", protocol.StatusOK, true))))
	if got := deadOf(t, s); len(got) != 2 || getRun(t, s, runID(1).String()).Status != OK {
		t.Errorf("after it ended well: %+v", got)
	}
}

func TestDeadLettersAreBounded(t *testing.T) {
	s := openBooks(t)
	fill := func(from, n, bytes int) {
		update(t, s, func(tx *store.Tx) error {
			for i := range n {
				id := runID(uint64(from + i))
				_, err := tx.Exec("INSERT INTO dead_letter VALUES (?, 'act', 3, '', ?, ?, 0, 0, 0, '')", id[:], from+i, bytes)
				if err != nil {
					return err
				}
			}
			return boundDead(tx)
		})
	}
	state := func() (n int64, lost DeadLost) {
		update(t, s, func(tx *store.Tx) error {
			lost = DeadGone(tx)
			return tx.QueryRow("SELECT count(*) FROM dead_letter").Scan(&n)
		})
		return n, lost
	}
	fill(0, DeadMax+100, 10)
	if n, lost := state(); n != DeadMax || lost != (DeadLost{Runs: 100, Bytes: 1000}) {
		t.Errorf("%d kept, lost %+v", n, lost)
	}
	fill(DeadMax+100, 1, DeadBytesMax)
	if n, lost := state(); n != 1 || lost.Runs != 100+DeadMax {
		t.Errorf("%d kept, lost %+v", n, lost)
	}
}
