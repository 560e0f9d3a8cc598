package wasmhost

import (
	"bytes"
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/stavily/stavily/protocol"
)

// canonicalEnd returns where the item that begins at b[at] ends, when it is in the data
// model and in deterministic encoding as it stands; 0 when it is not, or not known to be.
// What it takes, writer.rewrite writes as the same bytes.
func canonicalEnd(b []byte, at, depth int) int {
	major, n, next := shortHead(b, at)
	if next == 0 {
		return 0
	}
	switch major {
	case majorUint:
		return next
	case majorNint:
		if n > math.MaxInt64 {
			return 0
		}
		return next
	case majorText:
		end := next + int(n)
		if n > uint64(len(b)-next) || !utf8.Valid(b[next:end]) {
			return 0
		}
		return end
	case majorArray:
		if depth == 0 || n > protocol.ArrayMax {
			return 0
		}
		for ; n > 0 && next > 0; n-- {
			next = canonicalEnd(b, next, depth-1)
		}
		return next
	case majorMap:
		if depth == 0 || n > protocol.MapMax {
			return 0
		}
		return canonicalPairs(b, next, int(n), depth)
	case majorOther:
		if !shortSimple(b[at], n) {
			return 0
		}
		return next
	}
	return 0
}

// canonicalPairs is canonicalEnd for the n pairs of a map, which begin at at.
func canonicalPairs(b []byte, at, n, depth int) int {
	var before []byte
	for range n {
		if at >= len(b) || b[at]&protocol.MajorMask != majorText {
			return 0
		}
		end := canonicalEnd(b, at, 0)
		if end == 0 || bytes.Compare(before, b[at:end]) >= 0 {
			return 0
		}
		before = b[at:end]
		if at = canonicalEnd(b, end, depth-1); at == 0 {
			return 0
		}
	}
	return at
}

// shortHead reads the head at b[at] and returns what follows it; 0 for a head that is not there,
// or longer than it need be. Of a float it is no matter how long.
func shortHead(b []byte, at int) (major byte, n uint64, next int) {
	if at >= len(b) {
		return 0, 0, 0
	}
	major = b[at] & protocol.MajorMask
	info := b[at] &^ protocol.MajorMask
	at++
	if info < 24 {
		return major, uint64(info), at
	}
	if info > 27 || len(b)-at < 1<<(info-24) {
		return 0, 0, 0
	}
	least := uint64(24)
	switch rest := b[at:]; info {
	case 24:
		n = uint64(rest[0])
	case 25:
		n, least = uint64(binary.BigEndian.Uint16(rest)), 1<<8
	case 26:
		n, least = uint64(binary.BigEndian.Uint32(rest)), 1<<16
	default:
		n, least = binary.BigEndian.Uint64(rest), 1<<32
	}
	if n < least && major != majorOther {
		return 0, 0, 0
	}
	return major, n, at + 1<<(info-24)
}

// shortSimple reports whether a simple value or float is in the data model and no longer
// than it need be. n is what follows its first byte.
func shortSimple(first byte, n uint64) bool {
	switch first {
	case cborFalse, cborTrue, cborNull:
		return true
	case cborF16:
		return n&0x7c00 != 0x7c00
	case cborF32:
		bits := uint32(n)
		_, half := halfOf(bits)
		return bits&0x7f800000 != 0x7f800000 && !half
	case cborF64:
		f := math.Float64frombits(n)
		return !math.IsNaN(f) && !math.IsInf(f, 0) && float64(float32(f)) != f
	}
	return false
}
