package condition

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/stavily/stavily/protocol"
)

// value is nil, bool, int64, uint64, float64, string, []byte, []value, *record, or a
// failure.
type value any

// failure is the value of what could not be evaluated: it says why, and whatever is
// computed from it is it.
type failure string

func fail(format string, args ...any) failure { return failure(fmt.Sprintf(format, args...)) }

// record is a map with its keys in order, so that no result follows from luck.
type record struct {
	keys   []value // bool, int64, uint64 or string
	values []value
}

// decode reads one CBOR item.
func decode(raw protocol.Raw) (value, error) {
	var v any
	if err := protocol.Unmarshal(raw, &v); err != nil {
		return nil, err
	}
	return valueOf(v)
}

// valueOf takes what the CBOR codec gives. Whole numbers are int64 where they fit.
func valueOf(v any) (value, error) {
	switch v := v.(type) {
	case nil, bool, int64, float64, string, []byte:
		return v, nil
	case uint64:
		if v <= math.MaxInt64 {
			return int64(v), nil
		}
		return v, nil
	case float32:
		return float64(v), nil
	case []any:
		return listOf(v)
	case map[any]any:
		return recordOf(v)
	default:
		return nil, protocol.Errorf(protocol.CodeBadMessage, "a value of type %T has no place in a condition", v)
	}
}

func listOf(v []any) (value, error) {
	out := make([]value, len(v))
	for i, e := range v {
		var err error
		if out[i], err = valueOf(e); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func recordOf(v map[any]any) (value, error) {
	r := &record{}
	for k := range v {
		key, err := valueOf(k)
		if err != nil {
			return nil, err
		}
		if rank(key) > rankString {
			return nil, protocol.Errorf(protocol.CodeBadMessage, "a map's key is a %s", kind(key))
		}
		r.keys = append(r.keys, key)
	}
	sort.Slice(r.keys, func(i, j int) bool { return before(r.keys[i], r.keys[j]) })
	for _, k := range r.keys {
		element, ok := v[k]
		if n, whole := k.(int64); !ok && whole {
			element = v[uint64(n)] // as the codec gave it
		}
		e, err := valueOf(element)
		if err != nil {
			return nil, err
		}
		r.values = append(r.values, e)
	}
	return r, nil
}

// The ranks put keys of different types in order.
const (
	rankBool = iota
	rankNumber
	rankString
	rankNone
)

func rank(v value) int {
	switch v.(type) {
	case bool:
		return rankBool
	case int64, uint64:
		return rankNumber
	case string:
		return rankString
	default:
		return rankNone
	}
}

func before(a, b value) bool {
	if rank(a) != rank(b) {
		return rank(a) < rank(b)
	}
	n, _ := compare(a, b)
	return n < 0
}

// find returns the value under key. Numbers that are equal are the same key.
func (r *record) find(key value) (value, bool) {
	for i, k := range r.keys {
		if equal(k, key) {
			return r.values[i], true
		}
	}
	return nil, false
}

// kind names a value's type as CEL does.
func kind(v value) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "bool"
	case int64:
		return "int"
	case uint64:
		return "uint"
	case float64:
		return "double"
	case string:
		return "string"
	case []byte:
		return "bytes"
	case []value:
		return "list"
	case *record:
		return "map"
	default:
		return "error"
	}
}

// equal is CEL's equality: numbers by their worth whatever their type, values of
// different types never, lists and maps by what they hold.
func equal(a, b value) bool {
	switch a := a.(type) {
	case nil:
		return b == nil
	case []value:
		other, ok := b.([]value)
		return ok && slices.EqualFunc(a, other, equal)
	case *record:
		other, ok := b.(*record)
		return ok && equalRecords(a, other)
	case []byte:
		other, ok := b.([]byte)
		return ok && bytes.Equal(a, other)
	case bool:
		return b == value(a)
	default:
		n, ok := compare(a, b)
		return ok && n == 0
	}
}

func equalRecords(a, b *record) bool {
	if len(a.keys) != len(b.keys) {
		return false
	}
	for i, k := range a.keys {
		other, ok := b.find(k)
		if !ok || !equal(a.values[i], other) {
			return false
		}
	}
	return true
}

// compare orders two values; not ok when they have no order: not a number, other types.
func compare(a, b value) (n int, ok bool) {
	switch a := a.(type) {
	case bool:
		if b, ok := b.(bool); ok {
			return cmp.Compare(digit(a), digit(b)), true
		}
	case string:
		if b, ok := b.(string); ok {
			return cmp.Compare(a, b), true
		}
	case []byte:
		if b, ok := b.([]byte); ok {
			return bytes.Compare(a, b), true
		}
	case int64, uint64, float64:
		return compareNumbers(a, b)
	}
	return 0, false
}

func digit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// compareNumbers compares by worth. A double is held against a whole number as a double,
// as CEL does.
func compareNumbers(a, b value) (n int, ok bool) {
	if d, double := a.(float64); double {
		return compareDouble(d, b)
	}
	if d, double := b.(float64); double {
		n, ok = compareDouble(d, a)
		return -n, ok
	}
	switch a := a.(type) {
	case int64:
		switch b := b.(type) {
		case int64:
			return cmp.Compare(a, b), true
		case uint64:
			return compareWhole(a, b), true
		}
	case uint64:
		switch b := b.(type) {
		case int64:
			return -compareWhole(b, a), true
		case uint64:
			return cmp.Compare(a, b), true
		}
	}
	return 0, false
}

func compareWhole(a int64, b uint64) int {
	if a < 0 || b > math.MaxInt64 {
		return -1
	}
	return cmp.Compare(a, int64(b))
}

func compareDouble(d float64, b value) (n int, ok bool) {
	var other float64
	switch b := b.(type) {
	case float64:
		other = b
	case int64:
		other = float64(b)
	case uint64:
		other = float64(b)
	default:
		return 0, false
	}
	if math.IsNaN(d) || math.IsNaN(other) {
		return 0, false
	}
	return cmp.Compare(d, other), true
}
