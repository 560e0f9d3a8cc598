package disk

import (
	"bytes"
	"testing"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// A lane that loses every second of its records gives their space back, and forgets which they were:
// its disk and its memory do not grow with what ever went.
func TestThinnedLaneGivesSpaceBack(t *testing.T) {
	const size, kept, segment = 400, 500, 16 << 10
	dir := t.TempDir()
	j, err := openJournal(osFS{}, dir, quiet, segment)
	if err != nil {
		t.Fatal(err)
	}
	value := bytes.Repeat([]byte("x"), size)
	mark := func(n uint64) protocol.Mark { return protocol.Mark{Boot: 1, Sequence: n} }
	change := func(n uint64, v []byte) {
		c := edge.LaneChange{Change: edge.Change{Value: v}, Lane: protocol.LaneMetric, Mark: mark(n)}
		if v == nil {
			c.Size = size
		}
		if err := j.applyLanes([]edge.LaneChange{c}, false); err != nil {
			t.Fatal(err)
		}
	}
	there := map[uint64]bool{}
	var all []uint64 // ascending
	next := uint64(0)
	for range 3000 {
		next++
		change(next, value)
		there[next], all = true, append(all, next)
		if len(all) < kept {
			continue
		}
		left := all[:0:0]
		for i, n := range all {
			if i%2 == 0 || i > kept/2 {
				left = append(left, n)
				continue
			}
			change(n, nil)
			delete(there, n)
		}
		all = left
	}
	check := func(j *journal) {
		t.Helper()
		used := int64(0)
		for _, s := range j.segments {
			used += s.size
		}
		holes := len(j.lanes[protocol.LaneMetric].holes)
		if most := int64(3*kept*size + 2*garbageMax*segment); used > most || holes > int(most/size) {
			t.Errorf("%d records of %d bytes: %d bytes are used, %d holes are known", len(there), size, used, holes)
		}
		n := 0
		j.scan(lanePrefix(protocol.LaneMetric), "", func(key string, v []byte) bool {
			_, m, _ := edge.RecordOf(key)
			if n++; !there[m.Sequence] || !bytes.Equal(v, value) {
				t.Errorf("record %d of %d bytes is there", m.Sequence, len(v))
			}
			return true
		})
		if n != len(there) {
			t.Errorf("%d records, want %d", n, len(there))
		}
	}
	if err := j.sync(); err != nil {
		t.Fatal(err)
	}
	check(j)
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	if j, err = openJournal(osFS{}, dir, quiet, segment); err != nil {
		t.Fatal(err)
	}
	check(j)
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
}
