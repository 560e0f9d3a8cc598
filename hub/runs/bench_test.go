package runs

import (
	"context"
	"testing"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// BenchmarkAccept is the hub's whole cost of one record on disk: a run is one event and
// two results, in batches of 256, one commit each.
func BenchmarkAccept(b *testing.B) {
	s, in := openBooks(b), NewIntake()
	b.ReportAllocs()
	var run, result uint64
	n := 0
	for b.Loop() {
		var events, results []protocol.Record
		b.StopTimer()
		for len(results)+2 <= protocol.BatchMax {
			run++
			events = append(events, record(1, run, eventOf(run)))
			for _, step := range []protocol.StepName{"cool", "tell"} {
				result++
				results = append(results, record(1, result, resultOf(run, step, protocol.StatusOK, step == "tell")))
			}
		}
		b.StartTimer()
		err := s.Update(context.Background(), func(tx *store.Tx) error {
			for _, batch := range []protocol.Batch{
				batchOf(protocol.LaneEvent, events...),
				batchOf(protocol.LaneResult, results...),
			} {
				_, fresh, err := in.Accept(func() (*store.Tx, error) { return tx, nil }, gate, batch, epochTime)
				if err != nil {
					return err
				}
				n += fresh
			}
			return in.Write(tx)
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/record")
}

func BenchmarkAcceptMetrics(b *testing.B) {
	s := openBooks(b)
	body := map[int]int{}
	for i := range 25 {
		body[i] = i * 1000
	}
	var sequence uint64
	n := 0
	for b.Loop() {
		b.StopTimer()
		var records []protocol.Record
		for range protocol.BatchMax {
			sequence++
			records = append(records, record(1, sequence, body))
		}
		b.StartTimer()
		update(b, s, func(tx *store.Tx) error {
			_, fresh, err := Accept(tx, gate, batchOf(protocol.LaneMetric, records...), epochTime)
			n += fresh
			return err
		})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/record")
}
