package stavily

import (
	"encoding"
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strconv"
)

// What is in this file writes plain values without encoding/json, for the same reason as
// requests are read so: see read.go. It writes what encoding/json would, byte for byte; what
// it does not know is left to that.

// forms are the plans of the types of structs that were met, for writing.
var forms atlas

// appendPlain appends a value as JSON, and reports whether it did.
func appendPlain(b []byte, v any) ([]byte, bool) { return appendDeep(b, v, 0) }

func appendDeep(b []byte, v any, depth int) ([]byte, bool) {
	if depth > depthMax {
		return b, false // perhaps it holds itself
	}
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), true
	case bool:
		return strconv.AppendBool(b, v), true
	case string:
		return appendString(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10), true
	case int64:
		return strconv.AppendInt(b, v, 10), true
	case uint64:
		return strconv.AppendUint(b, v, 10), true
	case float64:
		return appendFloat(b, v)
	case map[string]any:
		return appendMap(b, v, depth)
	case map[string]bool:
		return appendMap(b, v, depth)
	case map[string]string:
		return appendMap(b, v, depth)
	case map[string]float64:
		return appendMap(b, v, depth)
	case map[string]int:
		return appendMap(b, v, depth)
	}
	return appendStruct(b, reflect.ValueOf(v))
}

// appendMap appends a map in the order of its keys.
func appendMap[V any](b []byte, m map[string]V, depth int) (_ []byte, ok bool) {
	if m == nil {
		return append(b, "null"...), true
	}
	if len(m) > mapMost {
		return b, false
	}
	var room [8]string
	keys := room[:0]
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	b = append(b, '{')
	for i, key := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		if b, ok = appendString(b, key); !ok {
			return b, false
		}
		if b, ok = appendDeep(append(b, ':'), m[key], depth+1); !ok {
			return b, false
		}
	}
	return append(b, '}'), true
}

// mapMost bounds the pairs of a map that is written here.
const mapMost = 64

func appendStruct(b []byte, v reflect.Value) (_ []byte, ok bool) {
	if v.Kind() == reflect.Pointer {
		v = v.Elem() // of nil it is no struct
	}
	if v.Kind() != reflect.Struct {
		return b, false
	}
	p := forms.of(v.Type(), formOf)
	if p == nil {
		return b, false
	}
	begin := len(b)
	b = append(b, '{')
	for i := range p {
		f := v.Field(p[i].index)
		if p[i].omit && f.IsZero() {
			continue
		}
		if len(b) > begin+1 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), p[i].key...), '"', ':')
		if b, ok = appendField(b, f); !ok {
			return b, false
		}
	}
	return append(b, '}'), true
}

// formOf is planOf for writing: of a struct that does not say itself how it is written.
func formOf(t reflect.Type) plan {
	p, text := reflect.PointerTo(t), reflect.TypeFor[encoding.TextMarshaler]()
	if p.Implements(reflect.TypeFor[json.Marshaler]()) || p.Implements(text) {
		return nil
	}
	return planOf(t)
}

func appendField(b []byte, v reflect.Value) ([]byte, bool) {
	switch {
	case v.Kind() == reflect.String:
		return appendString(b, v.String())
	case v.Kind() == reflect.Bool:
		return strconv.AppendBool(b, v.Bool()), true
	case v.Kind() == reflect.Float64:
		return appendFloat(b, v.Float())
	case v.CanInt():
		return strconv.AppendInt(b, v.Int(), 10), true
	case v.CanUint():
		return strconv.AppendUint(b, v.Uint(), 10), true
	}
	return b, false // a raw value, which is to be looked through
}

// appendString appends a string that needs no escapes.
func appendString(b []byte, s string) ([]byte, bool) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x80 {
			return b, false
		}
	}
	return append(append(append(b, '"'), s...), '"'), true
}

// appendFloat appends a number that is not very large or small.
func appendFloat(b []byte, f float64) ([]byte, bool) {
	if size := math.Abs(f); size != 0 && !(size >= 1e-6 && size < 1e21) {
		return b, false
	}
	return strconv.AppendFloat(b, f, 'f', -1, 64), true
}
