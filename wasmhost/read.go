package wasmhost

import (
	"math"

	"github.com/stavily/stavily/protocol"
)

// The functions below read values that writer.canonical or jsonReader made, so that
// they need not look for malformed bytes again. On other bytes they report false.

// cut returns the first item of b and what follows it.
func cut(b []byte) (item, rest []byte, ok bool) {
	rest = b
	for todo := uint64(1); todo > 0; todo-- {
		major, n, after, err := readHead(rest)
		if err != nil {
			return nil, nil, false
		}
		rest = after
		switch major {
		case majorText:
			if n > uint64(len(rest)) {
				return nil, nil, false
			}
			rest = rest[n:]
		case majorArray:
			todo += n
		case majorMap:
			todo += 2 * n
		}
	}
	return b[:len(b)-len(rest)], rest, true
}

// textOf returns the text that b is.
func textOf(b []byte) (string, bool) {
	major, n, rest, err := readHead(b)
	if err != nil || major != majorText || n != uint64(len(rest)) {
		return "", false
	}
	return string(rest), true
}

// nameOf is textOf for the name of a field: those that come all the time cost no memory.
func nameOf(b []byte) (string, bool) {
	if len(b) > 0 {
		switch string(b[1:]) {
		case "id":
			return "id", b[0] == majorText|2
		case "answer":
			return "answer", b[0] == majorText|6
		case "items":
			return "items", b[0] == majorText|5
		case "data":
			return "data", b[0] == majorText|4
		}
	}
	return textOf(b)
}

// uintOf returns the integer that b is, when it is not negative and fits an int64.
func uintOf(b []byte) (int64, bool) {
	major, n, rest, err := readHead(b)
	if err != nil || major != majorUint || len(rest) > 0 || n > math.MaxInt64 {
		return 0, false
	}
	return int64(n), true
}

// isNull reports whether b is absent or null.
func isNull(b []byte) bool { return len(b) == 0 || len(b) == 1 && b[0] == cborNull }

// eachField calls f for each pair of the map that b is. It reports false when b is no
// map or f does.
func eachField(b []byte, f func(key string, value protocol.Raw) bool) bool {
	major, n, rest, err := readHead(b)
	if err != nil || major != majorMap {
		return false
	}
	for range n {
		key, after, ok := cut(rest)
		if !ok {
			return false
		}
		value, after, ok := cut(after)
		if !ok {
			return false
		}
		name, ok := nameOf(key)
		if !ok || !f(name, value) {
			return false
		}
		rest = after
	}
	return len(rest) == 0
}

// elements returns the items of the array that b is, at most most.
func elements(b []byte, most int) ([]protocol.Raw, bool) {
	major, n, rest, err := readHead(b)
	if err != nil || major != majorArray || n > uint64(most) {
		return nil, false
	}
	out := make([]protocol.Raw, 0, n)
	for range n {
		item, after, ok := cut(rest)
		if !ok {
			return nil, false
		}
		out = append(out, item)
		rest = after
	}
	return out, true
}

// depthOf returns how deep arrays and maps are nested in b: 0 for anything else.
func depthOf(b []byte) int {
	d, _ := depthIn(b)
	return d
}

func depthIn(b []byte) (depth int, rest []byte) {
	major, n, rest, err := readHead(b)
	if err != nil {
		return 0, nil
	}
	switch major {
	case majorText:
		return 0, rest[min(n, uint64(len(rest))):]
	case majorMap:
		n *= 2
	case majorArray:
	default:
		return 0, rest
	}
	for range n {
		if len(rest) == 0 {
			break
		}
		var d int
		d, rest = depthIn(rest)
		depth = max(depth, d)
	}
	return depth + 1, rest
}
