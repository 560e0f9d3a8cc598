package protocol

import (
	"bytes"
	"math"
	"slices"
	"testing"
)

// FuzzEncodeRecord: what is written without reflection is what Marshal writes, and is refused
// exactly when that is.
func FuzzEncodeRecord(f *testing.F) {
	f.Add([]byte{0x01}, "flow", uint64(7), int64(1_790_000_000_000), uint8(0xff))
	f.Add([]byte{}, "", uint64(0), int64(-1), uint8(0))
	f.Add([]byte{0x00, 0x81}, "a-name-of-more-than-twenty-three-bytes", uint64(math.MaxUint64), int64(math.MinInt64), uint8(5))
	f.Add([]byte{0xa1, 0x01}, "x", uint64(24), int64(255), uint8(1))
	f.Add([]byte{0xf6}, "x", uint64(256), int64(65536), uint8(2))
	for _, depth := range []int{11, 12, 13, 14} {
		f.Add(append(bytes.Repeat([]byte{0x81}, depth), 0x01), "deep", uint64(1), int64(1), uint8(8))
	}
	f.Fuzz(func(t *testing.T, data []byte, name string, n uint64, i int64, with uint8) {
		mark, at := Mark{Boot: n, Sequence: n >> 7}, Stamp{UnixMS: i, Quality: Quality(with)}
		e := Event{Workflow: WorkflowName(name), Revision: n, Time: at, Data: data}
		r := Result{
			Workflow: e.Workflow, Step: StepName(name), Type: PluginType(name), Status: Status(with), Time: at,
			TookUS: i, Tries: uint32(n), Data: data, Last: with&1 > 0,
		}
		for b := range e.Run {
			e.Run[b], r.Run[b] = byte(b), byte(b)
		}
		if with&2 > 0 {
			r.Error = &Error{Code: Code(with), Text: name}
		}
		if with&4 > 0 {
			r.By = Address{Site: Site(name), Agent: "agent-0"}
		}
		if with&8 > 0 {
			e.Data, r.Data = nil, nil
		}
		head := Record{Mark: mark, Time: at, Steady: n >> 3}
		sameRecord(t, head, &e)
		sameRecord(t, head, &r)
	})
}

func sameRecord(t *testing.T, head Record, body any) {
	t.Helper()
	got, err := EncodeRecord(head, body)
	want, bad := encodeAny(head, body)
	if (err == nil) != (bad == nil) || CodeOf(err) != CodeOf(bad) {
		t.Fatalf("%T: got %v, Marshal says %v", body, err, bad)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%T: got %x, want %x", body, got, want)
	}
	if err != nil {
		return
	}
	var records []byte
	var rec Record
	if err := Unmarshal(got, &rec); err != nil {
		return // Marshal takes text that no receiver does
	}
	whole := Batch{Epoch: head.Mark.Boot, Lane: LaneResult, Steady: head.Steady >> 1}
	for range 30 {
		records, whole.Records = append(records, got...), append(whole.Records, rec)
		if one := EncodeBatch(whole, len(whole.Records), records); !bytes.Equal(one, MustMarshal(whole)) {
			t.Fatalf("batch of %d: got %x, want %x", len(whole.Records), one, MustMarshal(whole))
		}
	}
}

// A body that is too long is refused by its own name.
func TestEncodeRecordTooLong(t *testing.T) {
	long := MustMarshal(string(bytes.Repeat([]byte{'x'}, RecordMax)))
	for _, body := range []any{&Event{Data: long}, &Result{Data: long}, LogLine{Text: string(long[3:])}} {
		if _, err := EncodeRecord(Record{}, body); CodeOf(err) != CodeLimit {
			t.Errorf("%T: got %v, want %s", body, err, CodeLimit)
		}
	}
}

func BenchmarkEncodeRecord(b *testing.B) {
	e := Event{
		Workflow: "bench", Revision: 1, Time: sampleTime, Data: MustMarshal(map[string]any{"value": 81.5}),
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := EncodeRecord(Record{Mark: Mark{Boot: 1, Sequence: 2}, Time: sampleTime, Steady: 900}, &e); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAppendLaneAck: an acknowledgement by hand is what Marshal makes of it.
func TestAppendLaneAck(t *testing.T) {
	for _, n := range []uint64{0, 23, 24, 255, 256, math.MaxUint32, math.MaxUint64} {
		ack := LaneAck{Epoch: n, Lane: LaneLog, Mark: Mark{Boot: n >> 1, Sequence: n}}
		if got, want := ack.AppendCBOR(nil), MustMarshal(ack); !bytes.Equal(got, want) {
			t.Errorf("%+v: %x, want %x", ack, got, want)
		}
	}
}

// Acknowledgements of several lanes are what Marshal makes of them, and one is itself.
func TestEncodeLaneAcks(t *testing.T) {
	one := LaneAck{Epoch: 1, Lane: LaneEvent, Mark: Mark{Boot: 1, Sequence: 300}}
	two := LaneAcks{one, {Epoch: 1, Lane: LaneResult, Mark: Mark{Boot: 1, Sequence: 1}, WaitMS: 9}}
	for _, c := range []struct {
		all  LaneAcks
		want any
	}{{LaneAcks{one}, one}, {two, two}} {
		got := EncodeLaneAcks(c.all)
		if want := MustMarshal(c.want); !bytes.Equal(got, want) {
			t.Errorf("%+v: %x, want %x", c.all, got, want)
		}
		if again, err := DecodeLaneAcks(got); err != nil || !slices.Equal(again, c.all) {
			t.Errorf("%x: read %+v, %v; want %+v", got, again, err, c.all)
		}
	}
}
