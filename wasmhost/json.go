package wasmhost

import (
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/stavily/stavily/protocol"
)

// jsonReader writes the JSON text src as CBOR. Numbers without fraction and exponent
// stay integers as far as 64 bits reach; all others become doubles.
type jsonReader struct {
	src []byte
	at  int
	w   *writer
	str []byte // the last text read, unescaped
}

// fromJSON appends the JSON text src to w. Its errors name the byte.
func fromJSON(w *writer, src []byte, depth int) error {
	r := jsonReader{src: src, w: w}
	if err := r.value(depth); err != nil {
		return err
	}
	r.space()
	if r.at < len(src) {
		return r.wrong("the end of the line")
	}
	return nil
}

// wrong says what should stand where the reader is.
func (r *jsonReader) wrong(want string) error {
	if r.at >= len(r.src) {
		return contractf("JSON ends at byte %d: want %s", r.at, want)
	}
	return contractf("JSON byte %d is %q: want %s", r.at, r.src[r.at], want)
}

func (r *jsonReader) space() {
	for r.at < len(r.src) {
		switch r.src[r.at] {
		case ' ', '\t', '\r', '\n':
			r.at++
		default:
			return
		}
	}
}

// peek returns the next byte that is not space, 0 at the end.
func (r *jsonReader) peek() byte {
	r.space()
	if r.at < len(r.src) {
		return r.src[r.at]
	}
	return 0
}

func (r *jsonReader) value(depth int) error {
	switch c := r.peek(); {
	case c == '{' || c == '[':
		if depth == 0 {
			return protocol.Errorf(protocol.CodeLimit, "nested too deep: at most %d levels", dataDepthMax)
		}
		r.at++
		if c == '{' {
			return r.object(depth)
		}
		return r.array(depth)
	case c == '"':
		if err := r.text(); err != nil {
			return err
		}
		r.w.head(majorText, uint64(len(r.str)))
		r.w.b = append(r.w.b, r.str...)
		return nil
	case c == '-' || c >= '0' && c <= '9':
		return r.number()
	case c == 't':
		return r.word("true", cborTrue)
	case c == 'f':
		return r.word("false", cborFalse)
	case c == 'n':
		return r.word("null", cborNull)
	}
	return r.wrong("a value")
}

func (r *jsonReader) word(word string, simple byte) error {
	if len(r.src)-r.at < len(word) || string(r.src[r.at:r.at+len(word)]) != word {
		return r.wrong("a value")
	}
	r.at += len(word)
	r.w.b = append(r.w.b, simple)
	return nil
}

func (r *jsonReader) object(depth int) error {
	mark := r.w.beginMap()
	for n := 0; ; n++ {
		if n == 0 && r.peek() == '}' {
			break
		}
		if n == protocol.MapMax {
			return protocol.Errorf(protocol.CodeLimit, "object of more than %d pairs", protocol.MapMax)
		}
		if err := r.member(depth); err != nil {
			return err
		}
		c := r.peek()
		if c == '}' {
			break
		}
		if c != ',' {
			return r.wrong("a comma or }")
		}
		r.at++
	}
	r.at++
	return r.w.close(mark)
}

func (r *jsonReader) member(depth int) error {
	if r.peek() != '"' {
		return r.wrong("a key")
	}
	key := len(r.w.b)
	if err := r.value(depth - 1); err != nil {
		return err
	}
	value := len(r.w.b)
	if r.peek() != ':' {
		return r.wrong("a colon")
	}
	r.at++
	if err := r.value(depth - 1); err != nil {
		return err
	}
	r.w.pair(key, value)
	return nil
}

func (r *jsonReader) array(depth int) error {
	at := len(r.w.b)
	r.w.b = append(r.w.b, majorArray)
	n := 0
	for ; n > 0 || r.peek() != ']'; n++ {
		if n == protocol.ArrayMax {
			return protocol.Errorf(protocol.CodeLimit, "array of more than %d elements", protocol.ArrayMax)
		}
		if err := r.value(depth - 1); err != nil {
			return err
		}
		c := r.peek()
		if c == ']' {
			n++
			break
		}
		if c != ',' {
			return r.wrong("a comma or ]")
		}
		r.at++
	}
	r.at++
	if n < 24 {
		r.w.b[at] = majorArray | byte(n)
		return nil
	}
	r.w.scratch = append(r.w.scratch[:0], r.w.b[at+1:]...)
	r.w.b = r.w.b[:at]
	r.w.array(n)
	r.w.b = append(r.w.b, r.w.scratch...)
	return nil
}

func (r *jsonReader) number() error {
	from := r.at
	if r.src[r.at] == '-' {
		r.at++
	}
	first := r.at
	if r.digits() == 0 || r.src[first] == '0' && r.at > first+1 {
		r.at = min(first, len(r.src))
		return r.wrong("a number without leading zero")
	}
	whole := true
	if r.at < len(r.src) && r.src[r.at] == '.' {
		whole = false
		r.at++
		if r.digits() == 0 {
			return r.wrong("a digit")
		}
	}
	if r.at < len(r.src) && r.src[r.at]|0x20 == 'e' {
		whole = false
		r.at++
		if r.at < len(r.src) && (r.src[r.at] == '+' || r.src[r.at] == '-') {
			r.at++
		}
		if r.digits() == 0 {
			return r.wrong("a digit")
		}
	}
	return r.putNumber(string(r.src[from:r.at]), whole)
}

func (r *jsonReader) digits() int {
	from := r.at
	for r.at < len(r.src) && r.src[r.at] >= '0' && r.src[r.at] <= '9' {
		r.at++
	}
	return r.at - from
}

func (r *jsonReader) putNumber(s string, whole bool) error {
	if whole {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			r.w.int(n)
			return nil
		}
		if n, err := strconv.ParseUint(s, 10, 64); err == nil {
			r.w.uint(n)
			return nil
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(f, 0) {
		return contractf("JSON number %s: out of range", clip(s, 32))
	}
	r.w.float(f)
	return nil
}

// text reads a string into r.str.
func (r *jsonReader) text() error {
	r.at++
	from := r.at
	for r.at < len(r.src) {
		switch c := r.src[r.at]; {
		case c == '"':
			r.str = r.src[from:r.at]
			r.at++
			return r.checkText()
		case c == '\\':
			return r.escapedText(from)
		case c < 0x20:
			return r.wrong("a control character escaped")
		}
		r.at++
	}
	return r.wrong("the end of a string")
}

func (r *jsonReader) checkText() error {
	if !utf8.Valid(r.str) {
		return contractf("JSON string before byte %d: not UTF-8", r.at)
	}
	return nil
}

func (r *jsonReader) escapedText(from int) error {
	out := append([]byte(nil), r.src[from:r.at]...)
	for r.at < len(r.src) {
		c := r.src[r.at]
		switch {
		case c == '"':
			r.at++
			r.str = out
			return r.checkText()
		case c < 0x20:
			return r.wrong("a control character escaped")
		case c != '\\':
			out = append(out, c)
			r.at++
			continue
		}
		r.at++
		char, err := r.escape()
		if err != nil {
			return err
		}
		out = utf8.AppendRune(out, char)
	}
	return r.wrong("the end of a string")
}

const (
	escapes   = `"\/bfnrt`
	unescaped = "\"\\/\b\f\n\r\t"
)

// escape reads what follows a backslash.
func (r *jsonReader) escape() (rune, error) {
	if r.at >= len(r.src) {
		return 0, r.wrong("an escape")
	}
	c := r.src[r.at]
	r.at++
	for i := range len(escapes) {
		if escapes[i] == c {
			return rune(unescaped[i]), nil
		}
	}
	if c != 'u' {
		r.at--
		return 0, r.wrong("an escape")
	}
	char, err := r.hex4()
	if err != nil || !utf16.IsSurrogate(char) {
		return char, err
	}
	if r.at+1 < len(r.src) && r.src[r.at] == '\\' && r.src[r.at+1] == 'u' {
		r.at += 2
		low, err := r.hex4()
		if full := utf16.DecodeRune(char, low); err == nil && full != utf8.RuneError {
			return full, nil
		}
	}
	return 0, contractf("JSON byte %d: half of a surrogate pair", r.at)
}

func (r *jsonReader) hex4() (rune, error) {
	if r.at+4 > len(r.src) {
		r.at = len(r.src)
		return 0, r.wrong("4 hexadecimal digits")
	}
	n, err := strconv.ParseUint(string(r.src[r.at:r.at+4]), 16, 16)
	if err != nil {
		return 0, r.wrong("4 hexadecimal digits")
	}
	r.at += 4
	return rune(n), nil
}

// toJSON appends the value v as JSON without a line break. Null stands for what JSON
// cannot say, which no canonical value holds.
func toJSON(dst, v []byte) []byte {
	dst, _ = appendJSON(dst, v)
	return dst
}

func appendJSON(dst, b []byte) (_, rest []byte) {
	major, n, rest, err := readHead(b)
	if err != nil {
		return append(dst, "null"...), nil
	}
	switch major {
	case majorUint:
		return strconv.AppendUint(dst, n, 10), rest
	case majorNint:
		return strconv.AppendInt(dst, -1-int64(n), 10), rest
	case majorText:
		n = min(n, uint64(len(rest)))
		return quoteJSON(dst, rest[:n]), rest[n:]
	case majorArray:
		return jsonItems(append(dst, '['), rest, n, false)
	case majorMap:
		return jsonItems(append(dst, '{'), rest, n, true)
	}
	return jsonSimple(dst, b[0], n), rest
}

// jsonItems appends n elements, or n pairs.
func jsonItems(dst, rest []byte, n uint64, pairs bool) (_, after []byte) {
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst, rest = appendJSON(dst, rest)
		if pairs {
			dst, rest = appendJSON(append(dst, ':'), rest)
		}
		if rest == nil {
			break
		}
	}
	if pairs {
		return append(dst, '}'), rest
	}
	return append(dst, ']'), rest
}

func jsonSimple(dst []byte, first byte, n uint64) []byte {
	switch first {
	case cborTrue:
		return append(dst, "true"...)
	case cborFalse:
		return append(dst, "false"...)
	case cborF16:
		return jsonFloat(dst, protocol.OfFloat16(uint16(n)))
	case cborF32:
		return jsonFloat(dst, float64(math.Float32frombits(uint32(n))))
	case cborF64:
		return jsonFloat(dst, math.Float64frombits(n))
	}
	return append(dst, "null"...)
}

// jsonFloat appends f so that it reads as a float again: 1 becomes 1.0.
func jsonFloat(dst []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	from := len(dst)
	dst = strconv.AppendFloat(dst, f, 'g', -1, 64)
	for _, c := range dst[from:] {
		if c == '.' || c == 'e' {
			return dst
		}
	}
	return append(dst, ".0"...)
}

func quoteJSON(dst, s []byte) []byte {
	dst = append(dst, '"')
	from := 0
	for i, c := range s {
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, `\n`...)
		default:
			const hex = "0123456789abcdef"
			dst = append(dst, `\u00`...)
			dst = append(dst, hex[c>>4], hex[c&15])
		}
	}
	return append(append(dst, s[from:]...), '"')
}
