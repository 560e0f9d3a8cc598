package sim

import (
	"bytes"
	"math"
	"testing"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// TestModelEvent: what a model fires is what the codec makes of it.
func TestModelEvent(t *testing.T) {
	for _, n := range []int64{0, 1, 24, 1 << 40} {
		var m modelWorker
		var ans wasmhost.Answer
		m.fire(&ans, n, 0.1+float64(n))
		want := protocol.MustMarshal(map[string]any{"n": n, "value": 0.1 + float64(n)})
		if !bytes.Equal(ans.Events[0], want) {
			t.Errorf("event %d: %x, want %x", n, ans.Events[0], want)
		}
	}
}

// TestReadReported: the beginning of a report is read as the codec reads it, and what is no
// report is none.
func TestReadReported(t *testing.T) {
	r := protocol.Reported{Epoch: 1, Revision: 300, Digest: protocol.Digest{7}, Boot: 2, Sequence: 1 << 33}
	payload := protocol.MustMarshal(r)
	got, ok := readReported(payload)
	if want := (reportedPart{1, 300, protocol.Digest{7}, 2, 1 << 33}); !ok || got != want {
		t.Errorf("got %+v, %v, want %+v", got, ok, want)
	}
	for _, bad := range [][]byte{nil, {0x01}, payload[:20], {0xa1, 0x03, 0x41, 0x00}} {
		if _, ok := readReported(bad); ok {
			t.Errorf("%x is read as a report", bad)
		}
	}
}

// A value is written as Marshal writes it, the short way or not.
func TestAppendFloat(t *testing.T) {
	for _, f := range []float64{0, 1, 2, 3, 1000, 1023, 1024, 1025, 2047, 2048, 2049, 65535, 65536, 1e9, -1, 0.5, 1.1, math.Inf(1)} {
		if got, want := appendFloat(nil, f), protocol.MustMarshal(f); !bytes.Equal(got, want) {
			t.Errorf("%v: got %x, want %x", f, got, want)
		}
	}
}
