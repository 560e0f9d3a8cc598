package wasmhost

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stavily/stavily/protocol"
)

// What a plugin and its host say to each other is JSON's data model in either
// encoding: null, booleans, integers of 64 bits, finite doubles, text, arrays, and
// maps with text keys. Within the host a value is always one CBOR item in core
// deterministic encoding (protocol.Raw), whatever the guest wrote.

// dataDepthMax bounds the nesting of a value, so that the batch, the record, the event
// and the message around it fit protocol.DepthMax.
const dataDepthMax = 10

// messageDepthMax bounds the nesting of a message: its envelope and a value.
const messageDepthMax = dataDepthMax + 4

// The heads of CBOR, by the names that they have here.
const (
	majorUint  = protocol.MajorUint
	majorNint  = protocol.MajorNint
	majorText  = protocol.MajorText
	majorArray = protocol.MajorArray
	majorMap   = protocol.MajorMap
	majorOther = protocol.MajorOther

	cborFalse = protocol.SimpleFalse
	cborTrue  = protocol.SimpleTrue
	cborNull  = protocol.SimpleNull
	cborF16   = protocol.Float16
	cborF32   = protocol.Float32
	cborF64   = protocol.Float64
)

// writer appends CBOR in core deterministic encoding. The zero value is ready; reset
// keeps its memory.
type writer struct {
	b       []byte
	pairs   []pair // of the maps that are open, the innermost last
	scratch []byte
	err     error // the first value of raw that was none
}

// pair is where a key and its value stand in writer.b.
type pair struct{ key, value, end int }

func (w *writer) reset() { w.b, w.pairs, w.err = w.b[:0], w.pairs[:0], nil }

func (w *writer) head(major byte, n uint64) { w.b = protocol.AppendHead(w.b, major, n) }

func (w *writer) null()         { w.b = append(w.b, cborNull) }
func (w *writer) uint(n uint64) { w.head(majorUint, n) }
func (w *writer) array(n int)   { w.head(majorArray, uint64(n)) }
func (w *writer) mapOf(n int)   { w.head(majorMap, uint64(n)) }

func (w *writer) int(n int64) {
	if n < 0 {
		w.head(majorNint, uint64(-1-n))
		return
	}
	w.uint(uint64(n))
}

func (w *writer) bool(v bool) {
	b := byte(cborFalse)
	if v {
		b = cborTrue
	}
	w.b = append(w.b, b)
}

func (w *writer) text(s string) {
	w.head(majorText, uint64(len(s)))
	w.b = append(w.b, s...)
}

// raw appends a value that came from outside, checked; nil is null. What is no value
// is written as null and kept as w.err.
func (w *writer) raw(what string, v protocol.Raw) {
	if len(v) == 0 {
		w.null()
		return
	}
	at, open := len(w.b), len(w.pairs)
	if err := w.canonical(v, dataDepthMax); err != nil {
		w.b, w.pairs = append(w.b[:at], cborNull), w.pairs[:open]
		if w.err == nil {
			w.err = protocol.Errorf(protocol.CodeBadInput, "%s: %w", what, err)
		}
	}
}

// float appends f in the shortest form that keeps its value. f must be finite.
func (w *writer) float(f float64) {
	f32 := float32(f)
	if float64(f32) != f {
		w.b = binary.BigEndian.AppendUint64(append(w.b, cborF64), math.Float64bits(f))
		return
	}
	if half, ok := halfOf(math.Float32bits(f32)); ok {
		w.b = binary.BigEndian.AppendUint16(append(w.b, cborF16), half)
		return
	}
	w.b = binary.BigEndian.AppendUint32(append(w.b, cborF32), math.Float32bits(f32))
}

// halfOf returns the half-precision float that equals the single-precision one, if
// there is one.
func halfOf(bits uint32) (uint16, bool) {
	sign := uint16(bits >> 16 & 0x8000)
	exp := int(bits>>23&0xff) - 127
	frac := bits & 0x7fffff
	switch {
	case bits&0x7fffffff == 0:
		return sign, true
	case exp >= -14 && exp <= 15 && frac&0x1fff == 0:
		return sign | uint16(exp+15)<<10 | uint16(frac>>13), true
	case exp >= -24 && exp < -14:
		shift := uint(-exp - 1) // 14 for the largest subnormal, 23 for the smallest
		whole := frac | 0x800000
		if whole&(1<<shift-1) == 0 {
			return sign | uint16(whole>>shift), true
		}
	}
	return 0, false
}

// beginMap opens a map of yet unknown length and returns its mark for endMap.
func (w *writer) beginMap() (mark mapMark) {
	mark = mapMark{at: len(w.b), pairs: len(w.pairs)}
	w.b = append(w.b, majorMap)
	return mark
}

type mapMark struct{ at, pairs int }

// pair tells the writer that a key began at key, its value at value, and that the
// value is complete.
func (w *writer) pair(key, value int) {
	w.pairs = append(w.pairs, pair{key: key, value: value, end: len(w.b)})
}

// endMap closes the map: it sorts the pairs and writes their number. It returns the
// key that stands twice, or nil.
func (w *writer) endMap(m mapMark) (twice []byte) {
	pairs := w.pairs[m.pairs:]
	w.pairs = w.pairs[:m.pairs]
	if !slices.IsSortedFunc(pairs, w.compare) {
		w.sort(pairs)
	}
	for i := 1; i < len(pairs); i++ {
		if w.compare(pairs[i-1], pairs[i]) == 0 {
			return w.b[pairs[i].key:pairs[i].value]
		}
	}
	n := len(pairs)
	if n < 24 {
		w.b[m.at] = majorMap | byte(n)
		return nil
	}
	w.scratch = append(w.scratch[:0], w.b[m.at+1:]...)
	w.b = w.b[:m.at]
	w.mapOf(n)
	w.b = append(w.b, w.scratch...)
	return nil
}

func (w *writer) compare(a, b pair) int {
	return bytes.Compare(w.b[a.key:a.value], w.b[b.key:b.value])
}

// sort puts the pairs, which stand one after another at the end of w.b, in order.
func (w *writer) sort(pairs []pair) {
	from := pairs[0].key
	slices.SortStableFunc(pairs, w.compare)
	w.scratch = w.scratch[:0]
	for i, p := range pairs {
		at := from + len(w.scratch)
		w.scratch = append(w.scratch, w.b[p.key:p.end]...)
		pairs[i] = pair{key: at, value: at + p.value - p.key, end: at + p.end - p.key}
	}
	copy(w.b[from:], w.scratch)
}

// canonical appends the one CBOR item that src is, checked against the data model and
// in deterministic encoding. What is so already is only checked, and copied.
func (w *writer) canonical(src []byte, depth int) error {
	if canonicalEnd(src, 0, depth) == len(src) && len(src) > 0 {
		w.b = append(w.b, src...)
		return nil
	}
	return w.rewrite(src, depth)
}

// rewrite is canonical for what may be in another encoding.
func (w *writer) rewrite(src []byte, depth int) error {
	rest, err := w.item(src, depth)
	if err == nil && len(rest) > 0 {
		err = contractf("%d bytes after the item", len(rest))
	}
	return err
}

func (w *writer) item(src []byte, depth int) (rest []byte, err error) {
	major, n, rest, err := readHead(src)
	if err != nil {
		return nil, err
	}
	switch major {
	case majorUint:
		w.uint(n)
		return rest, nil
	case majorNint:
		if n > math.MaxInt64 {
			return nil, contractf("integer below -2^63")
		}
		w.head(majorNint, n)
		return rest, nil
	case majorText:
		return w.textItem(n, rest)
	case majorArray, majorMap:
		if depth == 0 {
			return nil, protocol.Errorf(protocol.CodeLimit, "nested too deep: at most %d levels", dataDepthMax)
		}
		if major == majorArray {
			return w.arrayItem(n, rest, depth)
		}
		return w.mapItem(n, rest, depth)
	case majorOther:
		return w.otherItem(src[0], n, rest)
	}
	return nil, contractf("byte string or tag: want null, boolean, number, text, array or map")
}

func (w *writer) textItem(n uint64, rest []byte) ([]byte, error) {
	if n > uint64(len(rest)) {
		return nil, contractf("text of %d bytes, only %d follow", n, len(rest))
	}
	if !utf8.Valid(rest[:n]) {
		return nil, contractf("text that is not UTF-8")
	}
	w.head(majorText, n)
	w.b = append(w.b, rest[:n]...)
	return rest[n:], nil
}

func (w *writer) arrayItem(n uint64, rest []byte, depth int) (_ []byte, err error) {
	if n > protocol.ArrayMax {
		return nil, protocol.Errorf(protocol.CodeLimit, "array of %d elements, limit %d", n, protocol.ArrayMax)
	}
	w.head(majorArray, n)
	for range n {
		if depth > dataDepthMax { // items or events of a message: some may be canonical
			if end := canonicalEnd(rest, 0, depth-1); end > 0 {
				w.b, rest = append(w.b, rest[:end]...), rest[end:]
				continue
			}
		}
		if rest, err = w.item(rest, depth-1); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

func (w *writer) mapItem(n uint64, rest []byte, depth int) (_ []byte, err error) {
	if n > protocol.MapMax {
		return nil, protocol.Errorf(protocol.CodeLimit, "map of %d pairs, limit %d", n, protocol.MapMax)
	}
	mark := w.beginMap()
	for range n {
		key := len(w.b)
		if len(rest) == 0 || rest[0]&protocol.MajorMask != majorText {
			return nil, contractf("map key that is not text")
		}
		if rest, err = w.item(rest, depth-1); err != nil {
			return nil, err
		}
		value := len(w.b)
		if rest, err = w.item(rest, depth-1); err != nil {
			return nil, err
		}
		w.pair(key, value)
	}
	return rest, w.close(mark)
}

// close is endMap with an error that names the key.
func (w *writer) close(mark mapMark) error {
	if twice := w.endMap(mark); twice != nil {
		key, _ := textOf(twice)
		return contractf("map key %q stands twice", clip(key, 64))
	}
	return nil
}

func (w *writer) otherItem(first byte, n uint64, rest []byte) ([]byte, error) {
	var f float64
	switch first {
	case cborFalse, cborTrue, cborNull:
		w.b = append(w.b, first)
		return rest, nil
	case cborF16:
		f = protocol.OfFloat16(uint16(n))
	case cborF32:
		f = float64(math.Float32frombits(uint32(n)))
	case cborF64:
		f = math.Float64frombits(n)
	default:
		return nil, contractf("simple value %#x: want false, true, null or a float", first)
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, contractf("number that is not finite")
	}
	w.float(f)
	return rest, nil
}

// readHead is protocol.ReadHead with an error that says what is wrong.
func readHead(b []byte) (major byte, n uint64, rest []byte, err error) {
	major, n, rest, ok := protocol.ReadHead(b)
	if ok {
		return major, n, rest, nil
	}
	if len(b) > 0 && b[0]&^protocol.MajorMask > 27 {
		return 0, 0, nil, contractf("indefinite length or reserved head %#x", b[0])
	}
	return 0, 0, nil, contractf("ends within an item")
}

func contractf(format string, args ...any) *protocol.Error {
	return protocol.Errorf(protocol.CodeContract, format, args...)
}

// clip cuts s to at most that many bytes, at the beginning of a character, and makes it
// valid UTF-8.
func clip(s string, most int) string {
	if len(s) > most {
		end := most - len("...")
		for end > 0 && !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}
