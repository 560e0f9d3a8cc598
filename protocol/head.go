package protocol

import (
	"encoding/binary"
	"math"
)

// The major types of CBOR (RFC 8949, section 3.1), as they stand in the first byte of an
// item, and the bits of that byte that say them. Who writes or reads items without the codec
// does it by these and the functions below.
const (
	MajorUint  = 0 << 5
	MajorNint  = 1 << 5 // of -1-n
	MajorBytes = 2 << 5
	MajorText  = 3 << 5
	MajorArray = 4 << 5
	MajorMap   = 5 << 5
	MajorTag   = 6 << 5
	MajorOther = 7 << 5 // simple values and floats

	MajorMask = 7 << 5
)

// The items of MajorOther that the project's data model has, as first bytes. Behind the last
// three stand 2, 4 and 8 bytes.
const (
	SimpleFalse = 0xf4
	SimpleTrue  = 0xf5
	SimpleNull  = 0xf6
	Float16     = 0xf9
	Float32     = 0xfa
	Float64     = 0xfb
)

// AppendHead appends the shortest head of an item: its major type and its argument.
func AppendHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n < 1<<8:
		return append(b, major|24, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

// ReadHead takes the head of an item off b: its major type and its argument, which need not
// be in the shortest form. It is not ok where b ends within the head, and where that is
// reserved or of no definite length.
func ReadHead(b []byte) (major byte, n uint64, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, 0, nil, false
	}
	major, info := b[0]&MajorMask, b[0]&^MajorMask
	b = b[1:]
	if info < 24 {
		return major, uint64(info), b, true
	}
	size := 1 << (info - 24)
	if info > 27 || len(b) < size {
		return 0, 0, nil, false
	}
	for _, c := range b[:size] {
		n = n<<8 | uint64(c)
	}
	return major, n, b[size:], true
}

// OfFloat16 returns the number that the 16 bits behind a Float16 are (RFC 8949, appendix D).
func OfFloat16(h uint16) float64 {
	exp, frac := int(h>>10&0x1f), float64(h&0x3ff)
	var f float64
	switch {
	case exp == 0:
		f = math.Ldexp(frac, -24)
	case exp < 0x1f:
		f = math.Ldexp(frac+1024, exp-25)
	case frac == 0:
		f = math.Inf(1)
	default:
		f = math.NaN()
	}
	return math.Copysign(f, float64(1-int(h>>15)*2))
}
