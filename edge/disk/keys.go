package disk

import (
	"strings"

	"github.com/stavily/stavily/protocol"
)

// lanesMax bounds the lanes whose records go to the segments; the number of a lane has
// half a byte there.
const lanesMax = min(int(protocol.LaneEnd), 16)

// The records of a lane have the keys out/<lane>/<boot>/<sequence>, the numbers with 16
// hexadecimal digits; see edge.
const (
	keyOut     = "out/"
	recordSize = len("out/1/") + 16 + 1 + 16
)

// recordOf returns the lane and the mark of a record's key, false for any other key.
func recordOf(key string) (lane protocol.Lane, m protocol.Mark, ok bool) {
	if len(key) != recordSize || key[:4] != keyOut || key[5] != '/' || key[22] != '/' {
		return 0, m, false
	}
	lane = protocol.Lane(key[4] - '0')
	boot, good := parseHex(key[6:22])
	sequence, fine := parseHex(key[23:])
	ok = good && fine && lane > 0 && int(lane) < min(lanesMax, 10)
	return lane, protocol.Mark{Boot: boot, Sequence: sequence}, ok
}

func parseHex(s string) (v uint64, ok bool) {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			v = v<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}

// recordKey is the key of a record.
func recordKey(lane protocol.Lane, m protocol.Mark) string {
	var b [recordSize]byte
	copy(b[:], lanePrefix(lane))
	putHex(b[6:22], m.Boot)
	b[22] = '/'
	putHex(b[23:], m.Sequence)
	return string(b[:])
}

func putHex(b []byte, v uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = "0123456789abcdef"[v&15]
		v >>= 4
	}
}

func lanePrefix(lane protocol.Lane) string { return keyOut + string('0'+rune(lane)) + "/" }

// touches reports whether a scan of prefix may meet records of a lane.
func touches(prefix string, lane protocol.Lane) bool {
	of := lanePrefix(lane)
	return strings.HasPrefix(of, prefix) || strings.HasPrefix(prefix, of)
}
