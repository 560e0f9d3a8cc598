package protocol

import "math/bits"

// Bitmap says which chunks of a file are here, a bit for each, the lowest bit of the first
// byte for chunk 0. nil is none.
type Bitmap []byte

// Has reports whether chunk i is here.
func (b Bitmap) Has(i uint32) bool { return int64(i/8) < int64(len(b)) && b[i/8]>>(i%8)&1 != 0 }

// Set returns b with chunk i; it may be another slice.
func (b Bitmap) Set(i uint32) Bitmap {
	for int64(len(b)) <= int64(i/8) {
		b = append(b, 0)
	}
	b[i/8] |= 1 << (i % 8)
	return b
}

// Clear takes chunk i out.
func (b Bitmap) Clear(i uint32) {
	if b.Has(i) {
		b[i/8] &^= 1 << (i % 8)
	}
}

// Count returns how many chunks are here.
func (b Bitmap) Count() (n uint32) {
	for _, v := range b {
		n += uint32(bits.OnesCount8(v))
	}
	return n
}

// Missing returns the first chunk from i on that is not here.
func (b Bitmap) Missing(i uint32) uint32 {
	for b.Has(i) {
		i++
	}
	return i
}
