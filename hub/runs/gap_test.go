package runs

import (
	"slices"
	"testing"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

func gapOf(boot, from, to uint64, why protocol.GapWhy) protocol.Gap {
	return protocol.Gap{
		From: protocol.Mark{Boot: boot, Sequence: from}, To: protocol.Mark{Boot: boot, Sequence: to},
		Count: to - from + 1, Why: why,
	}
}

// Gaps move the mark in their turn among the records, and what came of them before is no gap.
func TestGaps(t *testing.T) {
	line := protocol.LogLine{Text: "x"}
	batch := func(gaps []protocol.Gap, records ...protocol.Record) protocol.Batch {
		b := batchOf(protocol.LaneLog, records...)
		b.Gaps = gaps
		return b
	}
	gaps := func(all ...protocol.Gap) []protocol.Gap { return all }
	s := openBooks(t)
	for _, c := range []struct {
		batch protocol.Batch
		mark  protocol.Mark
		fresh int
	}{
		{batch(nil, record(1, 1, line), record(1, 2, line)), protocol.Mark{Boot: 1, Sequence: 2}, 2},
		// 1 and 2 came; 3 to 5 did not
		{batch(gaps(gapOf(1, 1, 5, protocol.GapBytes)), record(1, 6, line)), protocol.Mark{Boot: 1, Sequence: 6}, 1},
		// the same again
		{batch(gaps(gapOf(1, 1, 5, protocol.GapBytes)), record(1, 6, line)), protocol.Mark{Boot: 1, Sequence: 6}, 0},
		// before, between and behind records
		{
			batch(gaps(gapOf(1, 7, 7, protocol.GapAge), gapOf(2, 1, 3, protocol.GapAge), gapOf(2, 5, 9, protocol.GapNewest)),
				record(1, 8, line), record(2, 4, line)),
			protocol.Mark{Boot: 2, Sequence: 9},
			2,
		},
		// alone
		{batch(gaps(gapOf(2, 10, 12, protocol.GapDisk))), protocol.Mark{Boot: 2, Sequence: 12}, 0},
		// a hole that nobody spoke of is only counted
		{batch(nil, record(2, 15, line)), protocol.Mark{Boot: 2, Sequence: 15}, 1},
	} {
		if mark, fresh := accept(t, s, c.batch); mark != c.mark || fresh != c.fresh {
			t.Fatalf("%+v: mark %v, %d new, want %v, %d", c.batch.Gaps, mark, fresh, c.mark, c.fresh)
		}
	}
	update(t, s, func(tx *store.Tx) error {
		all, err := Gaps(tx, gate.Agent, 100)
		var got []protocol.Gap
		for _, g := range slices.Backward(all) {
			got = append(got, g.Gap)
		}
		want := gaps(gapOf(1, 3, 5, protocol.GapBytes), gapOf(1, 7, 7, protocol.GapAge), gapOf(2, 1, 3, protocol.GapAge),
			gapOf(2, 5, 9, protocol.GapNewest), gapOf(2, 10, 12, protocol.GapDisk))
		if !slices.Equal(got, want) {
			t.Errorf("gaps %v, want %v", got, want)
		}
		lanes, _ := Lanes(tx, gate.Agent)
		if lanes[0].Missed != 3+1+3+5+3+2 || lanes[0].Stored != 6 {
			t.Errorf("%+v: want 17 missed, 6 stored", lanes[0])
		}
		return err
	})
}

// What is no gap is refused before anything is taken; the newest of many are kept.
func TestGapBounds(t *testing.T) {
	s := openBooks(t)
	many := slices.Repeat([]protocol.Gap{gapOf(1, 1, 1, protocol.GapAge)}, protocol.GapsMax+1)
	for _, bad := range [][]protocol.Gap{{gapOf(1, 5, 4, protocol.GapAge)}, {{To: protocol.Mark{Boot: 1}}}, many} {
		b := batchOf(protocol.LaneLog, record(1, 9, protocol.LogLine{}))
		b.Gaps = bad
		update(t, s, func(tx *store.Tx) error {
			if _, fresh, err := Accept(tx, gate, b, epochTime); err == nil || fresh != 0 {
				t.Errorf("%v: %d new, %v", bad[0], fresh, err)
			}
			return nil
		})
	}
	for n := uint64(0); n < GapsMax+protocol.GapsMax; n += protocol.GapsMax {
		b := batchOf(protocol.LaneLog)
		for i := n; i < n+protocol.GapsMax; i++ {
			b.Gaps = append(b.Gaps, gapOf(1, 2*i+1, 2*i+1, protocol.GapAge))
		}
		accept(t, s, b)
	}
	update(t, s, func(tx *store.Tx) error {
		all, err := Gaps(tx, gate.Agent, 10*GapsMax)
		if len(all) != GapsMax {
			t.Errorf("%d gaps kept, want %d", len(all), GapsMax)
		}
		return err
	})
}
