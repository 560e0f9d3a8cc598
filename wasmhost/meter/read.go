package meter

import (
	"fmt"
	"unicode/utf8"
)

// reader walks over bytes and keeps the first error; after one every read gives zero and stands at the end.
type reader struct {
	b    []byte
	p    int
	base int // where b begins in the module, for errors
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("offset %d: "+format, append([]any{r.base + r.p}, args...)...)
	}
	r.p = len(r.b)
}

func (r *reader) done() bool { return r.p >= len(r.b) }

func (r *reader) byte() byte {
	if r.p >= len(r.b) {
		r.fail("ends too early")
		return 0
	}
	c := r.b[r.p]
	r.p++
	return c
}

// u32 reads an unsigned LEB128 of at most five bytes.
func (r *reader) u32() uint32 {
	if r.p < len(r.b) && r.b[r.p] < 0x80 {
		r.p++
		return uint32(r.b[r.p-1])
	}
	var v uint32
	for shift := 0; ; shift += 7 {
		c := r.byte()
		if shift == 28 && c > 0x0f {
			r.fail("integer exceeds 32 bits")
			return 0
		}
		v |= uint32(c&0x7f) << shift
		if c < 0x80 {
			return v
		}
	}
}

// signed reads a signed LEB128 of the given width: 32, 33 or 64 bits.
func (r *reader) signed(bits int) int64 {
	var v int64
	for shift := 0; ; {
		c := r.byte()
		if last := bits - shift; last < 7 && !fits(c, last) {
			r.fail("integer exceeds %d bits", bits)
			return 0
		}
		v |= int64(c&0x7f) << shift
		shift += 7
		if c >= 0x80 {
			continue
		}
		if shift < 64 && c&0x40 != 0 {
			v |= -1 << shift
		}
		return v
	}
}

// fits tells whether the last byte of a signed LEB128 holds n bits and beyond them only their sign.
func fits(c byte, n int) bool {
	rest := int8(c<<1) >> n // the sign bit of the value and all above it, as a sign-extended number
	return c < 0x80 && (rest == 0 || rest == -1)
}

// bytes gives the next n bytes without a copy.
func (r *reader) bytes(n uint32) []byte {
	if uint64(n) > uint64(len(r.b)-r.p) {
		r.fail("%d bytes announced, %d left", n, len(r.b)-r.p)
		return nil
	}
	out := r.b[r.p : r.p+int(n)]
	r.p += int(n)
	return out
}

// count reads the length of a vector of things that are kept.
func (r *reader) count() int {
	n := r.length()
	if n > itemsMax {
		r.fail("%d elements, at most %d", n, itemsMax)
		return 0
	}
	return n
}

// length reads the length of a vector and refuses one whose elements, of at least one byte, cannot be there.
func (r *reader) length() int {
	n := r.u32()
	if uint64(n) > uint64(len(r.b)-r.p) {
		r.fail("%d elements announced, %d bytes left", n, len(r.b)-r.p)
		return 0
	}
	return int(n)
}

func (r *reader) name() string {
	b := r.bytes(r.u32())
	if !utf8.Valid(b) {
		r.fail("name is not UTF-8")
		return ""
	}
	return string(b)
}

// index reads an index and refuses one that is not below n.
func (r *reader) index(what string, n int) uint32 {
	i := r.u32()
	if r.err == nil && uint64(i) >= uint64(n) {
		r.fail("%s %d out of range, have %d", what, i, n)
		return 0
	}
	return i
}

func (r *reader) valType() byte {
	t := r.byte()
	if r.err == nil && !isValType(t) {
		r.fail("value type 0x%02x unknown or not supported", t)
	}
	return t
}

func (r *reader) refType() {
	t := r.byte()
	if r.err == nil && t != typeFuncref && t != typeExternref {
		r.fail("reference type 0x%02x unknown or not supported", t)
	}
}

// limits of a table or memory; high is below zero when no maximum is declared.
func (r *reader) limits() (low, high int64) {
	flag := r.byte()
	if r.err == nil && flag > 1 {
		r.fail("limits flag 0x%02x: shared memory (threads) and memory64 are not supported", flag)
	}
	low, high = int64(r.u32()), -1
	if flag == 1 {
		high = int64(r.u32())
	}
	return low, high
}
