package edge

import (
	"slices"

	"github.com/stavily/stavily/protocol"
)

// A lane that is thinned out lets go of every second record of its older half, a part each time
// that room is wanted, from the oldest on and then from the oldest on again: the older, the fewer.
// The gaps that this makes are as many as the records that stay, so they are in no list: the holes
// in what stays say where they are, and each is told with the record before it.

const (
	// thinPart is how many records are looked at when room is wanted. Half of them go, so that the
	// next as many records find room: four are read for each that is made.
	thinPart = 256
	// holesMax bounds the holes of one batch but one.
	holesMax = protocol.GapsMax - gapsMax - 1
)

// sweep is how far a lane is thinned out.
type sweep struct {
	from string // the key to go on with, "" for the beginning
	left int64  // bytes until it begins again
}

// thin lets go of every second one of the next records of a lane, and returns their bytes. Those of
// a batch under way stay, with the one behind them; and the first and the last of each boot, so that
// a hole lies between two records of one boot.
func (a *Agent) thin(of protocol.Lane) (won int64) {
	l := &a.out.lanes[of]
	if l.sweep.left <= 0 || l.sweep.from < l.head {
		l.sweep = sweep{from: l.head, left: l.Bytes / 2}
	}
	var before, middle entry // the last one that stays, and the one that may go
	n, at := 0, l.sweep.from
	err := a.store.Scan(lanePrefix(of), at, func(key string, value []byte) bool {
		m, err := markOf(of, key)
		if err != nil || slices.Contains(l.thinned, m) {
			return true
		}
		e := entry{key, m, sizeOf(value)}
		if !m.After(l.sent) {
			return true
		}
		n++
		l.sweep.left -= e.size
		switch {
		case middle.size == 0 && before.size == 0:
			before = e
		case middle.size == 0:
			middle = e
		case l.mayGo(before.mark, middle.mark, m):
			a.thinOut(of, middle)
			won += middle.size
			before, middle = e, entry{}
		default:
			before, middle = middle, e
		}
		return n < thinPart && l.sweep.left > 0
	})
	if l.sweep.from = before.key; err != nil || n < thinPart || before.key == at {
		l.sweep = sweep{}
	}
	return won
}

// mayGo reports whether the record between two others can go: all are of one boot, and no other gap
// is between them, to which its own would be added.
func (l *lane) mayGo(before, m, behind protocol.Mark) bool {
	return before.Boot == m.Boot && m.Boot == behind.Boot && !l.gapIn(before, behind)
}

// gapIn reports whether a gap of the list lies between two records.
func (l *lane) gapIn(before, behind protocol.Mark) bool {
	return slices.ContainsFunc(l.Gaps, func(g protocol.Gap) bool {
		return g.To.After(before) && behind.After(g.From)
	})
}

// thinOut lets go of a record in the midst of a lane.
func (a *Agent) thinOut(of protocol.Lane, e entry) {
	l := &a.out.lanes[of]
	a.pen.add(LaneChange{Lane: of, Mark: e.mark, Size: e.size - int64(RecordKeySize)})
	l.thinned, l.loose = append(l.thinned, e.mark), true
	if e.mark.After(l.Thin) {
		l.Thin = e.mark
	}
	l.Dropped++
	l.less(e.mark, e.size)
	l.older = true // less has forgotten those before it too
	a.report.touch(a.now)
}

// hole reports whether what lay between two records that follow each other was thinned out.
func (l *lane) hole(before, behind protocol.Mark) bool {
	return before != (protocol.Mark{}) && before.Boot == behind.Boot && behind.Sequence > before.Sequence+1 &&
		l.Thin.After(before) && !l.gapIn(before, behind)
}

// between returns the hole between two records of one boot.
func between(before, behind protocol.Mark) protocol.Gap {
	return protocol.Gap{
		From:  protocol.Mark{Boot: before.Boot, Sequence: before.Sequence + 1},
		To:    protocol.Mark{Boot: before.Boot, Sequence: behind.Sequence - 1},
		Count: behind.Sequence - before.Sequence - 1, Why: protocol.GapThinned,
	}
}

// widen has the gap before the oldest record of a lane reach up to it, when what lay between was
// thinned out.
func (l *lane) widen(oldest protocol.Mark) {
	n := 0
	for n < len(l.Gaps) && oldest.After(l.Gaps[n].From) {
		n++
	}
	if n == 0 || !l.hole(l.Gaps[n-1].To, oldest) {
		return
	}
	h := between(l.Gaps[n-1].To, oldest)
	l.Gaps[n-1].To = h.To
	l.Gaps[n-1].Count += h.Count
}
