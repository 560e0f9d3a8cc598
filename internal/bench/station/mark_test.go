package station

import (
	"testing"

	"github.com/stavily/stavily/protocol"
)

func TestLastMark(t *testing.T) {
	var records []byte
	want := protocol.LaneAck{Epoch: 300, Lane: protocol.LaneResult}
	for n := range uint64(40) {
		want.Mark = protocol.Mark{Boot: 70_000, Sequence: 1 + n*n}
		rec, err := protocol.EncodeRecord(protocol.Record{Mark: want.Mark, Steady: n}, &protocol.Result{
			Workflow: "w", Step: "s", Data: protocol.MustMarshal(map[string]any{"a": []any{1.5, "x", nil}}),
		})
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, rec...)
	}
	b := protocol.EncodeBatch(protocol.Batch{Epoch: want.Epoch, Lane: want.Lane, Steady: 7}, 40, records)
	if got, err := lastMark(b); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if _, err := lastMark(b[:len(b)/2]); err == nil {
		t.Error("half a batch was taken")
	}
}
