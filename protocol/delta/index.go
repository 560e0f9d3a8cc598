package delta

import (
	"encoding/binary"
	"math/bits"
)

const (
	seedBytes = 8  // equal bytes that make a place worth a look
	chainMax  = 48 // places that are looked at for one seed

	// The hash of a seed has about as many values as the base has places.
	hashBitsMin = 12
	hashBitsMax = 21
)

// index finds the places of the base that begin with the same bytes.
type index struct {
	base []byte
	bits int     // of a hash
	head []int32 // by hash: the last place, and 1
	prev []int32 // by place: the one before, and 1
}

func newIndex(base []byte) index {
	n := min(max(bits.Len(uint(len(base)))-1, hashBitsMin), hashBitsMax)
	x := index{base: base, bits: n, head: make([]int32, 1<<n), prev: make([]int32, len(base))}
	for i := 0; i+seedBytes <= len(base); i++ {
		h := x.hash(base[i:])
		x.prev[i] = x.head[h]
		x.head[h] = int32(i) + 1
	}
	return x
}

func (x *index) hash(b []byte) uint64 {
	return binary.LittleEndian.Uint64(b) * 0x9e3779b97f4a7c15 >> (64 - x.bits)
}

// longest returns the place of the base that has most in common with the beginning of b; a
// size of 0 for none.
func (x *index) longest(b []byte) (place, size int) {
	if len(b) < seedBytes {
		return 0, 0
	}
	at := x.head[x.hash(b)]
	for n := 0; at > 0 && n < chainMax; n++ {
		p := int(at) - 1
		most := min(len(b), len(x.base)-p)
		if size == 0 || size < most && x.base[p+size] == b[size] {
			if got := common(b[:most], x.base[p:]); got > size {
				place, size = p, got
			}
		}
		at = x.prev[p]
	}
	if size < seedBytes {
		return 0, 0
	}
	return place, size
}

// common counts the equal bytes at the beginning of a, which is not longer than b.
func common(a, b []byte) (n int) {
	for n < len(a) && a[n] == b[n] {
		n++
	}
	return n
}
