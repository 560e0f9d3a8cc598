package protocol

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Bounds of the two frames on an ALPNJoin connection, bytes.
const (
	// JoinRequestMax holds a certificate request and what a device says of itself.
	JoinRequestMax = 16 << 10
	JoinReplyMax   = MessageMax
)

// WriteFrame writes v as the join connection carries it (SPEC.md, section 8): the
// length in four bytes, big endian, and the CBOR.
func WriteFrame(w io.Writer, v any) error {
	b := MustMarshal(v)
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

// ReadFrame reads what WriteFrame wrote, of 1 to longest bytes, into v. The error has
// CodeLimit for another length and CodeBadMessage for what v cannot be; it is r's when
// the frame is not whole.
func ReadFrame(r io.Reader, longest uint32, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return fmt.Errorf("frame: no length: %w", err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > longest {
		return Errorf(CodeLimit, "frame of %d bytes, want 1 to %d", n, longest)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return fmt.Errorf("frame: not whole: %w", err)
	}
	return Unmarshal(b, v)
}
