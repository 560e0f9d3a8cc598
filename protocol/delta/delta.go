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
//	magic, then as uvarints: bytes of the base, bytes of the target, bytes of the five
//	columns of instructions, packed bytes of the instructions, packed bytes of the changes,
//	where in the base the dictionary begins;
//	the instructions, the changes and what is fresh, each packed by DEFLATE, the last with
//	dictionarySize bytes of the base as its dictionary (fewer at the base's end).
//
// The columns are of two kinds, each number in a column of its own. A stretch says by how
// much to move in the base (zigzag), how many bytes go on through it from there, and how
// many that are fresh follow. A run says, within those that go on, how many are the base's
// own and how many come after them that are the base's plus a change each. Numbers in
// columns are those of base 128 with the highest digit first (variable-length quantities):
// they pack better than uvarints, because what most numbers have in common is how long
// they are.
package delta

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/stavily/stavily/protocol"
)

const (
	magic   = "stvd2"
	columns = 5
	// stepsMax bounds the bytes of all columns, which a Reader holds in memory.
	stepsMax  = 1 << 20
	headerMax = len(magic) + (2+columns+3)*binary.MaxVarintLen64
	// numberMax bounds the bytes of a number: nothing is as large as 2^49.
	numberMax = 7
	// dictionarySize is how far back DEFLATE looks.
	dictionarySize = 32 << 10
)

// The columns of instructions.
const (
	moves = iota
	lengths
	freshes
	equals
	changes
)

// header is what stands in front.
type header struct {
	base, target   int64
	columns        [columns]int64
	steps, changed int64 // packed
	dictionary     int64 // where it begins in the base
	size           int64 // of the header
}

func (h *header) fields() []*int64 {
	out := []*int64{&h.base, &h.target}
	for i := range h.columns {
		out = append(out, &h.columns[i])
	}
	return append(out, &h.steps, &h.changed, &h.dictionary)
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
	if h.dictionary > h.base {
		return nil, protocol.Errorf(protocol.CodeBadMessage, "difference: header: dictionary at %d of a base of %d",
			h.dictionary, h.base)
	}
	return h, nil
}

func (h *header) stepBytes() (n int64) {
	for _, c := range h.columns {
		n += c
	}
	return n
}

// appendNumber appends n as it stands in a column.
func appendNumber(b []byte, n uint64) []byte {
	for shift := 63; shift > 0; shift -= 7 {
		if n>>shift > 0 {
			b = append(b, byte(n>>shift)|0x80)
		}
	}
	return append(b, byte(n&0x7f))
}

// readNumber reads what appendNumber has appended, of at most numberMax bytes, and how many
// bytes it has; 0 when there is none.
func readNumber(b []byte) (n uint64, size int) {
	for i, c := range b[:min(len(b), numberMax)] {
		n = n<<7 | uint64(c&0x7f)
		if c < 0x80 {
			return n, i + 1
		}
	}
	return 0, 0
}
