package wasmhost

import (
	"encoding/base64"
	"unicode/utf8"

	"github.com/stavily/stavily/protocol"
)

// bytesRoom bounds the bytes of one reply as they stand in a JSON line, so that the rest
// of a reply fits beside them.
const bytesRoom = protocol.MessageMax - 1<<10

// bytesOf reads bytes that came as text or in base64.
func bytesOf(key string, text, in64 *string) ([]byte, error) {
	switch {
	case text != nil && in64 != nil:
		return nil, protocol.Errorf(protocol.CodeBadInput, "%s and %s_base64: want one of both", key, key)
	case text != nil:
		return []byte(*text), nil
	case in64 == nil:
		return nil, nil
	}
	b, err := base64.StdEncoding.DecodeString(*in64)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeBadInput, "%s_base64: %w", key, err)
	}
	return b, nil
}

// field is where bytes go in a reply.
type field struct {
	key  string
	in64 bool // base64 was asked for
	room int  // for them, bytes of JSON
}

// put puts bytes into a reply: as text under the key when they are UTF-8 and base64 was
// not asked for; in base64 under key_base64 otherwise, or when so many of them need an
// escape that they would not fit the room. It cuts what does not fit at all.
func (f field) put(out map[string]any, b []byte) (cut bool) {
	if !f.in64 && utf8.Valid(b) && jsonSize(string(b)) <= f.room {
		out[f.key] = string(b)
		return false
	}
	if most := max(base64.StdEncoding.DecodedLen(f.room-2), 0); len(b) > most {
		b, cut = b[:most], true
	}
	out[f.key+"_base64"] = base64.StdEncoding.EncodeToString(b)
	return cut
}

// whole takes a character that was cut off the end of what was UTF-8.
func whole(b []byte) []byte {
	for cut := range min(utf8.UTFMax, len(b)+1) {
		if utf8.Valid(b[:len(b)-cut]) {
			return b[:len(b)-cut]
		}
	}
	return b
}

// jsonSize returns how long a text is at most as a JSON string.
func jsonSize(text string) int {
	n := len(text) + 2
	for i := range len(text) {
		switch c := text[i]; {
		case c < 0x20:
			n += len(`\u0000`) - 1
		case c == '"' || c == '\\':
			n++
		}
	}
	return n
}
