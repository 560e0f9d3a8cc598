package disk

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// A disk without room refuses events first. The agent's own state, the audit and what lets
// go of records have headroom; what is let go of makes room again, also when other lanes
// hold on to theirs (D-4).
func TestFullDisk(t *testing.T) {
	fs := newCutFS(rand.New(rand.NewPCG(1, 1)))
	fs.room = 256 << 10
	j, err := openJournal(fs, "j", quiet, 16<<10)
	if err != nil {
		t.Fatal(err)
	}
	put := func(lane protocol.Lane, n uint64, size int) error {
		key := edge.RecordKey(lane, protocol.Mark{Boot: 1, Sequence: n})
		return j.apply([]edge.Change{{Key: key, Value: bytes.Repeat([]byte{byte(n)}, size)}}, true)
	}
	n, metrics := uint64(0), uint64(0)
	for err = nil; err == nil; n++ { // three metrics to an event
		if err = put(protocol.LaneEvent, n+1, 100); err != nil {
			break
		}
		for range 3 {
			if err = put(protocol.LaneMetric, metrics+1, 300); err != nil {
				break
			}
			metrics++
		}
	}
	if !errors.Is(err, edge.ErrFull) || n < 100 {
		t.Fatalf("event %d: %v", n+1, err)
	}
	for range 50 {
		if err := j.apply([]edge.Change{{Key: "desired", Value: make([]byte, 300)}}, true); err != nil {
			t.Fatalf("the agent's own state was refused: %v", err)
		}
	}
	if err := put(protocol.LaneAudit, 1, 300); err != nil {
		t.Fatalf("the audit was refused: %v", err)
	}
	for m := uint64(1); m <= metrics*3/4; m++ {
		change := edge.Change{Key: edge.RecordKey(protocol.LaneMetric, protocol.Mark{Boot: 1, Sequence: m})}
		if err := j.apply([]edge.Change{change}, true); err != nil {
			t.Fatalf("letting go of metric %d: %v", m, err)
		}
	}
	more := n
	for ; more < 2*n; more++ {
		if err := put(protocol.LaneEvent, more+1, 100); err != nil {
			t.Fatalf("event %d, after %d metrics went: %v", more+1, metrics*3/4, err)
		}
	}
	if j, err = openJournal(fs.survive(leavesNone), "j", quiet, 16<<10); err != nil {
		t.Fatal(err)
	}
	got := uint64(0)
	j.scan("out/1/", "", func(_ string, value []byte) bool {
		got++
		return len(value) == 100 && value[0] == byte(got)
	})
	if got < n || got > more+1 || !j.headroom {
		t.Fatalf("%d events of %d, headroom %v", got, more, j.headroom)
	}
}
