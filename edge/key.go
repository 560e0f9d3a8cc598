package edge

import "github.com/stavily/stavily/protocol"

// RecordKeySize is the length of a record's key in bytes.
const RecordKeySize = len(keyOut) + len("1/") + 16 + 1 + 16

// RecordKey returns the key under which a Store has a record: out/<lane>/<boot>/<sequence>, the
// last two with 16 hexadecimal digits, so that keys stand in the order of their records.
func RecordKey(of protocol.Lane, m protocol.Mark) string {
	var b [RecordKeySize]byte
	copy(b[:], keyOut)
	b[4], b[5], b[22] = '0'+byte(of), '/', '/'
	putHex(b[6:22], m.Boot)
	putHex(b[23:], m.Sequence)
	return string(b[:])
}

// RecordOf returns the lane and the mark of a record's key, false for any other key.
func RecordOf(key string) (of protocol.Lane, m protocol.Mark, ok bool) {
	if len(key) != RecordKeySize || key[:4] != keyOut || key[5] != '/' || key[22] != '/' {
		return 0, m, false
	}
	of = protocol.Lane(key[4] - '0')
	boot, good := parseHex(key[6:22])
	sequence, fine := parseHex(key[23:])
	return of, protocol.Mark{Boot: boot, Sequence: sequence}, good && fine && of > 0 && of < protocol.LaneEnd
}

func putHex(b []byte, v uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = "0123456789abcdef"[v&15]
		v >>= 4
	}
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

// HasHeadroom reports whether a record may still go to a disk that is full but for its headroom.
func HasHeadroom(of protocol.Lane) bool {
	return of == protocol.LaneAudit || of == protocol.LaneAlarm || of == protocol.LaneControl
}
