package runs

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"math/big"
	"strconv"

	"github.com/stavily/stavily/protocol"
)

// JSON returns a CBOR item as people read it: integers stay integers, bytes become
// base64, keys that are no text become the text of their JSON, and what JSON does not
// have (NaN, infinities, simple values) its name. Nothing gives nothing; what is not one
// whole item of the project's CBOR becomes {"not-cbor": base64}.
func JSON(raw protocol.Raw) json.RawMessage {
	if len(raw) == 0 {
		return nil
	}
	w := jsonWriter{in: raw, out: make([]byte, 0, 2*len(raw))}
	if !w.item(0) || len(w.in) > 0 {
		return json.RawMessage(`{"not-cbor":"` + base64.StdEncoding.EncodeToString(raw) + `"}`)
	}
	return w.out
}

// jsonWriter moves items from in to out. Its methods report false for what is not
// CBOR as the project writes it.
type jsonWriter struct {
	in, out []byte
}

// The major types of CBOR (RFC 8949, section 3.1).
const (
	majorUint   = 0
	majorNegInt = 1
	majorBytes  = 2
	majorText   = 3
	majorArray  = 4
	majorMap    = 5
	majorSimple = 7
)

func (w *jsonWriter) item(depth int) bool {
	major, info, arg, ok := w.head()
	if !ok || depth > protocol.DepthMax {
		return false
	}
	switch major {
	case majorUint:
		w.out = strconv.AppendUint(w.out, arg, 10)
		return true
	case majorNegInt:
		return w.negative(arg)
	case majorBytes, majorText:
		return w.text(major, arg)
	case majorArray:
		return w.array(arg, depth)
	case majorMap:
		return w.object(arg, depth)
	case majorSimple:
		return w.simple(info, arg)
	default:
		return false // a tag
	}
}

// head takes the first byte of an item and its argument.
func (w *jsonWriter) head() (major, info byte, arg uint64, ok bool) {
	if len(w.in) == 0 {
		return 0, 0, 0, false
	}
	major, info = w.in[0]>>5, w.in[0]&0x1f
	w.in = w.in[1:]
	if info < 24 {
		return major, info, uint64(info), true
	}
	if info > 27 { // reserved, or of no definite length
		return 0, 0, 0, false
	}
	size := 1 << (info - 24)
	if len(w.in) < size {
		return 0, 0, 0, false
	}
	var wide [8]byte
	copy(wide[8-size:], w.in[:size])
	w.in = w.in[size:]
	return major, info, binary.BigEndian.Uint64(wide[:]), true
}

func (w *jsonWriter) negative(arg uint64) bool {
	if arg <= math.MaxInt64 {
		w.out = strconv.AppendInt(w.out, -1-int64(arg), 10)
		return true
	}
	n := new(big.Int).SetUint64(arg)
	w.out = n.Not(n).Append(w.out, 10) // -1 - arg
	return true
}

func (w *jsonWriter) text(major byte, size uint64) bool {
	if size > uint64(len(w.in)) {
		return false
	}
	b := w.in[:size]
	w.in = w.in[size:]
	if major == majorText {
		return w.quote(string(b))
	}
	w.out = append(w.out, '"')
	w.out = base64.StdEncoding.AppendEncode(w.out, b)
	w.out = append(w.out, '"')
	return true
}

func (w *jsonWriter) quote(s string) bool {
	b, err := json.Marshal(s)
	w.out = append(w.out, b...)
	return err == nil
}

func (w *jsonWriter) array(n uint64, depth int) bool {
	w.out = append(w.out, '[')
	for i := range n {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		if !w.item(depth + 1) {
			return false
		}
	}
	w.out = append(w.out, ']')
	return true
}

func (w *jsonWriter) object(n uint64, depth int) bool {
	w.out = append(w.out, '{')
	for i := range n {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		at := len(w.out)
		if !w.item(depth + 1) {
			return false
		}
		if w.out[at] != '"' {
			key := string(w.out[at:])
			w.out = w.out[:at]
			w.quote(key)
		}
		w.out = append(w.out, ':')
		if !w.item(depth + 1) {
			return false
		}
	}
	w.out = append(w.out, '}')
	return true
}

func (w *jsonWriter) simple(info byte, arg uint64) bool {
	switch info {
	case 20:
		w.out = append(w.out, "false"...)
	case 21:
		w.out = append(w.out, "true"...)
	case 22, 23:
		w.out = append(w.out, "null"...)
	case 25:
		return w.float(halfFloat(uint16(arg)))
	case 26:
		return w.float(float64(math.Float32frombits(uint32(arg))))
	case 27:
		return w.float(math.Float64frombits(arg))
	default: // without a meaning yet
		return (info < 24 || arg >= 32) && w.quote("simple("+strconv.FormatUint(arg, 10)+")")
	}
	return true
}

func (w *jsonWriter) float(f float64) bool {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return w.quote(strconv.FormatFloat(f, 'g', -1, 64))
	}
	b, err := json.Marshal(f)
	w.out = append(w.out, b...)
	return err == nil
}

// halfFloat returns the number of 16 bits (RFC 8949, appendix D).
func halfFloat(h uint16) float64 {
	exp, mant := int(h>>10&0x1f), float64(h&0x3ff)
	var f float64
	switch exp {
	case 0:
		f = math.Ldexp(mant, -24)
	case 31:
		f = math.Inf(1)
		if mant != 0 {
			f = math.NaN()
		}
	default:
		f = math.Ldexp(mant+1024, exp-25)
	}
	if h&0x8000 != 0 {
		return -f
	}
	return f
}
