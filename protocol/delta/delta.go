// Package delta makes and applies differences: the bytes by which one file is made of
// another one that the receiver has. Make is for those with memory and time; a Reader needs
// little of both: it goes through difference and base once, with two inflaters and the
// instructions in memory.
//
// A difference goes on through the base over bytes that differ and carries by how much, as
// bsdiff does: when a function is added to a module, all that comes after it moves, and the
// addresses in it differ in little. See RATIONALE.md, Why are differences made of two whole
// files?
//
// A difference is
//
//	magic, then as uvarints: bytes of the base, bytes of the target, bytes of the four
//	columns of instructions, packed bytes of the instructions, packed bytes of the changes;
//	the instructions, the changes and what is fresh, each packed by DEFLATE.
//
// An instruction says, each in a column of its own: by how much to move in the base (zigzag),
// how many bytes are those of the base, how many are those of the base plus a change each,
// and how many are fresh.
package delta

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/stavily/stavily/protocol"
)

const (
	magic   = "stvd1"
	columns = 4
	// stepsMax bounds the bytes of all columns, which a Reader holds in memory.
	stepsMax  = 1 << 20
	headerMax = len(magic) + (2+columns+2)*binary.MaxVarintLen64
)

// header is what stands in front.
type header struct {
	base, target   int64
	columns        [columns]int64
	steps, changed int64 // packed
	size           int64 // of the header
}

func (h *header) fields() []*int64 {
	return []*int64{
		&h.base, &h.target, &h.columns[0], &h.columns[1], &h.columns[2], &h.columns[3], &h.steps, &h.changed,
	}
}

func (h *header) encode() []byte {
	out := []byte(magic)
	for _, v := range h.fields() {
		out = binary.AppendUvarint(out, uint64(*v))
	}
	return out
}

func readHeader(r io.ReaderAt, size int64) (*header, error) {
	b := make([]byte, min(size, int64(headerMax)))
	if _, err := r.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, err
	}
	rest, ok := bytes.CutPrefix(b, []byte(magic))
	if !ok {
		return nil, protocol.Errorf(protocol.CodeBadMessage, "difference: no magic %q", magic)
	}
	h := &header{}
	for i, v := range h.fields() {
		u, n := binary.Uvarint(rest)
		if n <= 0 || u > protocol.ArtifactMax {
			return nil, protocol.Errorf(protocol.CodeLimit, "difference: header: number %d: want 0 to %d", i,
				protocol.ArtifactMax)
		}
		*v, rest = int64(u), rest[n:]
	}
	h.size = int64(len(b) - len(rest))
	if n := h.stepBytes(); n > stepsMax || h.target == 0 || h.size+h.steps+h.changed > size {
		return nil, protocol.Errorf(protocol.CodeLimit, "difference: header: %d bytes of instructions, %d of the "+
			"target, %d in front of what is fresh in %d", n, h.target, h.size+h.steps+h.changed, size)
	}
	return h, nil
}

func (h *header) stepBytes() (n int64) {
	for _, c := range h.columns {
		n += c
	}
	return n
}
