package runs

import (
	"context"
	"encoding/binary"
	"path/filepath"
	"testing"
	"time"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

var (
	epochTime = time.UnixMilli(1_800_000_000_000).UTC()
	gate      = protocol.Address{Site: "plant", Agent: "gate-1"}
)

func openBooks(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Open(context.Background(), filepath.Join(t.TempDir(), "hub.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// update runs f in a transaction of its own.
func update(t testing.TB, s *store.Store, f func(tx *store.Tx) error) {
	t.Helper()
	if err := s.Update(context.Background(), f); err != nil {
		t.Fatal(err)
	}
}

// accept sends one batch and returns the acknowledged mark and how many were new.
func accept(t testing.TB, s *store.Store, b protocol.Batch) (mark protocol.Mark, fresh int) {
	t.Helper()
	update(t, s, func(tx *store.Tx) error {
		ack, n, err := Accept(tx, gate, b, epochTime)
		if ack.Epoch != b.Epoch || ack.Lane != b.Lane {
			t.Errorf("acknowledged epoch %d lane %s, want %d %s", ack.Epoch, ack.Lane, b.Epoch, b.Lane)
		}
		mark, fresh = ack.Mark, n
		return err
	})
	return mark, fresh
}

func runID(n uint64) protocol.RunID {
	var id protocol.RunID
	binary.BigEndian.PutUint64(id[:], n*0x9e3779b97f4a7c15) // spread, as random ids are
	binary.BigEndian.PutUint64(id[8:], n+1)
	return id
}

func stamp(n uint64) protocol.Stamp {
	return protocol.Stamp{UnixMS: epochTime.UnixMilli() + int64(n), Quality: protocol.QualityClock}
}

func record(boot, sequence uint64, body any) protocol.Record {
	return protocol.Record{
		Mark: protocol.Mark{Boot: boot, Sequence: sequence}, Time: stamp(sequence),
		Body: protocol.MustMarshal(body),
	}
}

func eventOf(run uint64) protocol.Event {
	return protocol.Event{
		Run: runID(run), Workflow: "guard", Revision: 3, Time: stamp(run),
		Data: protocol.MustMarshal(map[string]any{"celsius": 81, "fan": "east"}),
	}
}

func resultOf(run uint64, step protocol.StepName, status protocol.Status, last bool) protocol.Result {
	r := protocol.Result{
		Run: runID(run), Workflow: "guard", Step: step, Type: protocol.Action, Status: status,
		Time: stamp(run), TookUS: 42,
		Tries: 1, Last: last, Data: protocol.MustMarshal(map[string]any{"done": true}),
	}
	if status == protocol.StatusError {
		r.Error = &protocol.Error{Code: protocol.CodeDeadline, Text: "too slow"}
	}
	return r
}

func batchOf(lane protocol.Lane, records ...protocol.Record) protocol.Batch {
	return protocol.Batch{Epoch: 1, Lane: lane, Records: records}
}

func getRun(t testing.TB, s *store.Store, id string) Run {
	t.Helper()
	var r Run
	err := s.View(context.Background(), func(tx *store.Tx) (err error) {
		r, err = Get(tx, id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}
