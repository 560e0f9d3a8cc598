package protocol

import (
	"bytes"
	"testing"
)

// FuzzRecordEncode: a record is taken exactly when a batch with it can be decoded, and it
// stands in the batch as it was encoded.
func FuzzRecordEncode(f *testing.F) {
	f.Add([]byte{0x01})
	f.Add([]byte{})
	f.Add([]byte{0xa1, 0x01})
	f.Add([]byte{0x9f, 0xff})
	f.Add([]byte{0xc1, 0x01})
	for _, depth := range []int{12, 13, 14, 15} {
		f.Add(append(bytes.Repeat([]byte{0x81}, depth), 0x01))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		rec := Record{Mark: Mark{Boot: 1, Sequence: 2}, Time: sampleTime, Body: body}
		one, err := rec.Encode()
		batch, bad := Marshal(Batch{Epoch: 1, Lane: LaneEvent, Records: []Record{rec}})
		if bad == nil && len(body) <= RecordMax {
			bad = Unmarshal(batch, &Batch{})
		}
		if (err == nil) != (bad == nil && len(body) <= RecordMax) {
			t.Fatalf("body %x: alone %v, in a batch %v", body, err, bad)
		}
		if err == nil && !bytes.HasSuffix(batch, one) {
			t.Errorf("body %x: the record stands in the batch as something else", body)
		}
	})
}

func BenchmarkRecordEncode(b *testing.B) {
	rec := Record{Mark: Mark{Boot: 1, Sequence: 2}, Time: sampleTime, Body: MustMarshal(Event{
		Workflow: "bench", Revision: 1, Time: sampleTime, Data: MustMarshal(map[string]any{"value": 81.5}),
	})}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := rec.Encode(); err != nil {
			b.Fatal(err)
		}
	}
}
