package edge_test

import (
	"math"
	"testing"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// Keys of records are read as they are written, stand in the order of their records, and no
// other key is taken for one.
func TestRecordKey(t *testing.T) {
	last := ""
	for of := protocol.LaneEvent; of < protocol.LaneEnd; of++ {
		for _, m := range []protocol.Mark{
			{}, {Sequence: 1}, {Boot: 1, Sequence: 10}, {Boot: 16}, {Boot: math.MaxUint64, Sequence: math.MaxUint64},
		} {
			key := edge.RecordKey(of, m)
			lane, mark, ok := edge.RecordOf(key)
			if !ok || lane != of || mark != m || len(key) != edge.RecordKeySize || key <= last {
				t.Errorf("%s after %s: lane %v, mark %v, %v", key, last, lane, mark, ok)
			}
			last = key
		}
	}
	good := edge.RecordKey(protocol.LaneLog, protocol.Mark{Boot: 1, Sequence: 2})
	for _, key := range []string{
		"", "out/", good + "0", good[1:], "in//" + good[4:], "out/0" + good[5:], "out/9" + good[5:],
		good[:5] + "x" + good[6:], good[:10] + "G" + good[11:], good[:30] + "A" + good[31:], good[:22] + "0" + good[23:],
	} {
		if _, _, ok := edge.RecordOf(key); ok {
			t.Errorf("%q is taken for a record's", key)
		}
	}
}
