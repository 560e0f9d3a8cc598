package protocol

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzFrame: whatever a stranger sends, no more than the bound is read into memory, and
// what is read is what was written.
func FuzzFrame(f *testing.F) {
	var good bytes.Buffer
	if err := WriteFrame(&good, JoinRequest{Address: Address{Agent: "pump"}, CSR: []byte{1}}); err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes())
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var req, again JoinRequest
		if ReadFrame(bytes.NewReader(b), JoinRequestMax, &req) != nil {
			return
		}
		var out bytes.Buffer
		if err := WriteFrame(&out, req); err != nil {
			t.Fatal(err)
		}
		if err := ReadFrame(&out, 2*JoinRequestMax, &again); err != nil {
			t.Fatalf("%x: not readable when written again: %v", b, err)
		}
	})
}

func TestReadFrameRefuses(t *testing.T) {
	for _, c := range []struct {
		name, bytes, want string
		code              Code
	}{
		{"nothing", "", "frame: no length", CodeOf(bytes.ErrTooLarge)},
		{"empty", "\x00\x00\x00\x00", "frame of 0 bytes, want 1 to 9", CodeLimit},
		{"long", "\x00\x00\x00\x0a\x00", "frame of 10 bytes, want 1 to 9", CodeLimit},
		{"cut off", "\x00\x00\x00\x03\xa0", "frame: not whole", CodeOf(bytes.ErrTooLarge)},
		{"no CBOR", "\x00\x00\x00\x01\xff", "JoinRequest", CodeBadMessage},
	} {
		err := ReadFrame(strings.NewReader(c.bytes), 9, &JoinRequest{})
		if err == nil || !strings.Contains(err.Error(), c.want) || CodeOf(err) != c.code {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
