package runs

import (
	"encoding/base64"
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

func (w *jsonWriter) item(depth int) bool {
	major, arg, rest, ok := protocol.ReadHead(w.in)
	if !ok || depth > protocol.DepthMax {
		return false
	}
	first := w.in[0]
	w.in = rest
	switch major {
	case protocol.MajorUint:
		w.out = strconv.AppendUint(w.out, arg, 10)
		return true
	case protocol.MajorNint:
		return w.negative(arg)
	case protocol.MajorBytes, protocol.MajorText:
		return w.text(major, arg)
	case protocol.MajorArray:
		return w.array(arg, depth)
	case protocol.MajorMap:
		return w.object(arg, depth)
	case protocol.MajorOther:
		return w.other(first, arg)
	default:
		return false // a tag
	}
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
	if major == protocol.MajorText {
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

func (w *jsonWriter) other(first byte, arg uint64) bool {
	switch first {
	case protocol.SimpleFalse:
		w.out = append(w.out, "false"...)
	case protocol.SimpleTrue:
		w.out = append(w.out, "true"...)
	case protocol.SimpleNull, undefined:
		w.out = append(w.out, "null"...)
	case protocol.Float16:
		return w.float(protocol.OfFloat16(uint16(arg)))
	case protocol.Float32:
		return w.float(float64(math.Float32frombits(uint32(arg))))
	case protocol.Float64:
		return w.float(math.Float64frombits(arg))
	default: // without a meaning yet
		return (first < wideSimple || arg >= 32) && w.quote("simple("+strconv.FormatUint(arg, 10)+")")
	}
	return true
}

const (
	undefined  = protocol.SimpleNull + 1
	wideSimple = protocol.MajorOther | 24 // one of a byte, which is not below 32
)

func (w *jsonWriter) float(f float64) bool {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return w.quote(strconv.FormatFloat(f, 'g', -1, 64))
	}
	b, err := json.Marshal(f)
	w.out = append(w.out, b...)
	return err == nil
}
