package sim

import (
	"slices"
	"testing"

	"github.com/stavily/stavily/protocol"
)

// FuzzPeek: what peek reads of bytes that a whole decoder takes is what that one reads,
// and of any others it says that they are bad or reads something, without a panic.
func FuzzPeek(f *testing.F) {
	ack := protocol.LaneAck{
		Epoch: 3, Lane: protocol.LaneResult,
		Mark: protocol.Mark{Boot: 1 << 40, Sequence: 300},
	}
	f.Add(protocol.MustMarshal(ack))
	f.Add(protocol.EncodeLaneAcks(protocol.LaneAcks{ack, ack, ack}))
	f.Add(protocol.MustMarshal(protocol.Batch{Epoch: 1, Lane: 1, Records: make([]protocol.Record, 2)}))
	f.Add(protocol.MustMarshal(protocol.Result{Workflow: "w", TookUS: -5, Last: true}))
	f.Add([]byte{0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0xa1, 0x01, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var got protocol.LaneAcks
		readAcks(b, func(a *protocol.LaneAck) { got = append(got, *a) })
		want, err := protocol.DecodeLaneAcks(b)
		usual := err == nil && len(want) < int(protocol.LaneEnd) && string(protocol.EncodeLaneAcks(want)) == string(b)
		if usual && !slices.Equal(got, want) {
			t.Fatalf("%x: got %+v, want %+v", b, got, want)
		}
		for _, read := range []func(p *peek){
			func(p *peek) { _ = p.int() }, func(p *peek) { _ = p.truth() }, func(p *peek) { _ = p.bytes() },
			func(p *peek) { _ = p.mark() }, func(*peek) {},
		} {
			for p := newPeek(b); p.next(); {
				read(&p)
			}
		}
	})
}

// What the world reads of a record on a disk is what the agent wrote.
func TestFactsOfRecords(t *testing.T) {
	w := &World{words: map[string]string{}}
	result := protocol.Result{
		Run: protocol.RunID{1, 2, 3}, Workflow: "guard", Step: "cool", Type: protocol.Action,
		Status: protocol.StatusError, Error: &protocol.Error{Code: protocol.CodeDeadline, Text: "late"},
		TookUS: 1 << 33, Data: protocol.MustMarshal(map[string]any{"a": []any{1.5, "x"}}), Last: true,
	}
	record := protocol.Record{
		Mark: protocol.Mark{Boot: 7, Sequence: 1 << 20}, Time: protocol.Stamp{UnixMS: -1},
		Body: protocol.MustMarshal(result),
	}
	var got fact
	ok := w.recordFact(&written{
		lane: protocol.LaneResult, mark: record.Mark, value: protocol.MustMarshal(record),
	}, &got)
	want := fact{
		kind: factResult, lane: protocol.LaneResult, holds: protocol.LaneResult, mark: record.Mark, id: result.Run, step: "cool",
		workflow: "guard", status: protocol.StatusError, last: true, size: got.size,
	}
	if !ok || got != want || w.err != nil {
		t.Errorf("got %+v (%v), want %+v", got, w.err, want)
	}
	w.account(protocol.MustMarshal("no account"))
	if w.err == nil {
		t.Error("read an account that is none")
	}
}
