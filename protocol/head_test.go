package protocol

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
)

// TestHeads: what AppendHead writes is what the codec writes, and ReadHead reads it.
func TestHeads(t *testing.T) {
	for _, n := range []uint64{0, 23, 24, 255, 256, 65535, 65536, 1<<32 - 1, 1 << 32, math.MaxUint64} {
		got := AppendHead(nil, MajorUint, n)
		if want := MustMarshal(n); !bytes.Equal(got, want) {
			t.Errorf("%d: got % x, want % x", n, got, want)
		}
		for _, major := range []byte{MajorUint, MajorNint, MajorBytes, MajorText, MajorArray, MajorMap, MajorTag, MajorOther} {
			b := AppendHead(nil, major, n)
			m, arg, rest, ok := ReadHead(append(b, 7))
			if !ok || m != major || arg != n || !bytes.Equal(rest, []byte{7}) {
				t.Errorf("% x: got %#x, %d, % x, %t", b, m, arg, rest, ok)
			}
			for cut := range b {
				if _, _, _, ok := ReadHead(b[:cut]); ok {
					t.Errorf("% x cut to %d bytes is a head", b, cut)
				}
			}
		}
	}
	for info := byte(28); info < 32; info++ {
		if _, _, _, ok := ReadHead(append([]byte{MajorArray | info}, make([]byte, 32)...)); ok {
			t.Errorf("%#x is a head", MajorArray|info)
		}
	}
	if m, n, _, ok := ReadHead([]byte{MajorUint | 25, 0, 7}); !ok || m != MajorUint || n != 7 {
		t.Errorf("a long head of 7: got %#x, %d, %t", m, n, ok)
	}
}

// TestFloat16: every half is what the codec makes of it.
func TestFloat16(t *testing.T) {
	for h := range 1 << 16 {
		b := binary.BigEndian.AppendUint16([]byte{Float16}, uint16(h))
		got := OfFloat16(uint16(h))
		var want float64
		if err := inBodyMode.Unmarshal(b, &want); err != nil {
			if !math.IsNaN(got) && !math.IsInf(got, 0) {
				t.Errorf("%#x: got %v, want %v", h, got, err)
			}
			continue
		}
		if math.Float64bits(got) != math.Float64bits(want) && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("%#x: got %v, want %v", h, got, want)
		}
	}
}
