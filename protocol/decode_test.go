package protocol

import (
	"bytes"
	"reflect"
	"testing"
)

// sameDecoded holds the decoders by hand to Unmarshal: the same value, or the same error.
func sameDecoded(t *testing.T, b []byte) {
	t.Helper()
	alike(t, b, DecodeBatch)
	alike(t, b, DecodeLaneAck)
	if len(b) > 0 && b[0]&MajorMask == MajorArray {
		alike(t, b, DecodeLaneAcks)
	}
	alike(t, b, DecodeEvent)
	alike(t, b, DecodeResult)
}

func alike[T any](t *testing.T, b []byte, decode func([]byte) (T, error)) {
	t.Helper()
	var want T
	bad := Unmarshal(b, &want)
	got, err := decode(bytes.Clone(b))
	if (err == nil) != (bad == nil) || CodeOf(err) != CodeOf(bad) {
		t.Fatalf("%T of %x: got %v, Unmarshal says %v", want, b, err, bad)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%T of %x: got %+v, Unmarshal says %+v", want, b, got, want)
	}
}

// FuzzDecode: what is read without reflection is what Unmarshal reads, and is refused exactly
// when that refuses it.
func FuzzDecode(f *testing.F) {
	for _, b := range decoded() {
		f.Add(b)
	}
	f.Fuzz(sameDecoded)
}

// TestDecodeOfDamaged changes each byte of each message in every way that a bit can.
func TestDecodeOfDamaged(t *testing.T) {
	for _, b := range decoded() {
		if len(b) > 400 {
			sameDecoded(t, b)
			continue
		}
		for i := range b {
			sameDecoded(t, b[:i])
			for bit := range 8 {
				b[i] ^= 1 << bit
				sameDecoded(t, b)
				b[i] ^= 1 << bit
			}
		}
	}
}

// decoded are messages that the decoders read, and some at their bounds.
func decoded() [][]byte {
	var all [][]byte
	for _, s := range samples() {
		switch s.value.(type) {
		case *Batch, *LaneAck, *Event, *Result, Batch, LaneAck, Event, Result:
			all = append(all, MustMarshal(s.value))
		}
	}
	for depth := DepthMax - 4; depth <= DepthMax; depth++ {
		deep := Raw(append(bytes.Repeat([]byte{0x81}, depth), 0x01))
		all = append(all, MustMarshal(Event{Data: deep}), MustMarshal(Batch{Records: []Record{{Body: deep}}}))
	}
	for _, item := range []string{
		"\x00", "\x18\x17", "\x3b\xff\xff\xff\xff\xff\xff\xff\xff", "\xf4", "\xf6", "\xf7", "\xe0", "\xf8\x20", "\xf9\x3c\x00",
		"\xfa\x00\x00\x00\x00", "\xfb\x7f\xf8\x00\x00\x00\x00\x00\x00", "\x9f\xff", "\xa1\x01", "\xa2\x01\x01\x01\x01",
		"\xc1\x00", "\x61\xff", "\x41\x00", "\x62\xc3\xa9", "\xa1\x61\x61\x82\x01\xf5", "\x9a\x00\x00\x10\x01",
	} {
		head := MustMarshal(Event{Workflow: "flow", Revision: 1})
		head[0]++ // one pair more
		all = append(all, append(append(head, 5), item...))
		all = append(all, EncodeBatch(Batch{Epoch: 1, Lane: LaneEvent}, 1, append([]byte{0xa1, 3}, item...)))
	}
	return all
}

func BenchmarkDecodeBatch(b *testing.B) {
	event := MustMarshal(Event{Run: RunID{1}, Workflow: "beat", Revision: 3, Time: Stamp{1_790_000_000_000, 2}, Data: Raw{0x01}})
	batch := MustMarshal(Batch{Epoch: 1, Lane: LaneEvent, Records: []Record{{Mark: Mark{1, 2}, Body: event}}})
	b.Run("hand", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			v, _ := DecodeBatch(batch)
			_, _ = DecodeEvent(v.Records[0].Body)
		}
	})
	b.Run("reflection", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var v Batch
			_ = Unmarshal(batch, &v)
			var e Event
			_ = Unmarshal(v.Records[0].Body, &e)
		}
	})
}
