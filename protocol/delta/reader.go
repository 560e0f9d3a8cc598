package delta

import (
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"

	"github.com/stavily/stavily/protocol"
)

// Reader yields the target of a difference from its beginning. What it yields is to be
// checked against what the target must be: a Reader only promises to end within the bounds
// of the header, whatever it is given.
type Reader struct {
	head    *header
	base    io.ReaderAt
	at      int64 // in the base
	left    int64 // bytes of the target to come
	column  [columns][]byte
	changed io.Reader
	fresh   io.Reader
	step    step
}

// step is one instruction, or what is left of it.
type step struct{ move, equal, changed, fresh int64 }

// NewReader reads the beginning of a difference of size bytes. base is asked for bytes only
// within what the difference says of its size. Errors are those of the readers, or have
// CodeBadMessage or CodeLimit.
func NewReader(difference io.ReaderAt, size int64, base io.ReaderAt) (*Reader, error) {
	head, err := readHeader(difference, size)
	if err != nil {
		return nil, err
	}
	r := &Reader{head: head, base: base, left: head.target}
	part := func(from, n int64) io.Reader {
		return flate.NewReader(io.NewSectionReader(difference, from, n))
	}
	steps := make([]byte, head.stepBytes())
	if _, err := io.ReadFull(part(head.size, head.steps), steps); err != nil {
		return nil, bad("instructions", err)
	}
	for i, n := range head.columns {
		r.column[i], steps = steps[:n], steps[n:]
	}
	from := head.size + head.steps
	r.changed = part(from, head.changed)
	from += head.changed
	r.fresh = part(from, size-from)
	return r, nil
}

// Base returns the size of the base in bytes, 0 for none.
func (r *Reader) Base() int64 { return r.head.base }

// Size returns the size of the target in bytes.
func (r *Reader) Size() int64 { return r.head.target }

// Read yields the next bytes of the target. The error has CodeBadMessage when the difference
// breaks off or leads out of the base.
func (r *Reader) Read(p []byte) (n int, err error) {
	for n < len(p) && r.left > 0 {
		if r.step == (step{}) {
			if err := r.next(); err != nil {
				return n, err
			}
		}
		got, err := r.some(p[n:])
		n += got
		r.left -= int64(got)
		if err != nil {
			return n, err
		}
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// some yields bytes of the instruction under way.
func (r *Reader) some(p []byte) (int, error) {
	s := &r.step
	switch {
	case s.equal > 0:
		p = p[:min(int64(len(p)), s.equal)]
		s.equal -= int64(len(p))
		return len(p), r.copy(p)
	case s.changed > 0:
		p = p[:min(int64(len(p)), s.changed)]
		s.changed -= int64(len(p))
		return len(p), r.add(p)
	default:
		p = p[:min(int64(len(p)), s.fresh)]
		s.fresh -= int64(len(p))
		_, err := io.ReadFull(r.fresh, p)
		return len(p), bad("what is fresh", err)
	}
}

func (r *Reader) copy(p []byte) error {
	_, err := r.base.ReadAt(p, r.at)
	r.at += int64(len(p))
	if errors.Is(err, io.EOF) {
		err = nil // just at its end; one that is shorter than it says has another digest
	}
	return err
}

func (r *Reader) add(p []byte) error {
	change := make([]byte, min(len(p), 512))
	for len(p) > 0 {
		change = change[:min(len(p), cap(change))]
		if err := r.copy(p[:len(change)]); err != nil {
			return err
		}
		if _, err := io.ReadFull(r.changed, change); err != nil {
			return bad("changes", err)
		}
		for i, c := range change {
			p[i] += c
		}
		p = p[len(change):]
	}
	return nil
}

// next reads an instruction.
func (r *Reader) next() error {
	move, n := binary.Varint(r.column[0])
	if n <= 0 {
		return protocol.Errorf(protocol.CodeBadMessage, "difference: instructions end %d bytes too soon", r.left)
	}
	r.column[0] = r.column[0][n:]
	var counts [columns - 1]int64
	for i := range counts {
		u, n := binary.Uvarint(r.column[i+1])
		if n <= 0 || u > uint64(r.left) {
			return protocol.Errorf(protocol.CodeBadMessage, "difference: column %d: want 0 to %d", i+1, r.left)
		}
		counts[i] = int64(u)
		r.column[i+1] = r.column[i+1][n:]
	}
	s := step{equal: counts[0], changed: counts[1], fresh: counts[2]}
	from := r.at + move
	if move > r.head.base || move < -r.head.base || from < 0 || from+s.equal+s.changed > r.head.base {
		return protocol.Errorf(protocol.CodeBadMessage, "difference: bytes %d to %d of a base of %d", from,
			from+s.equal+s.changed, r.head.base)
	}
	if sum := s.equal + s.changed + s.fresh; sum == 0 || sum > r.left {
		return protocol.Errorf(protocol.CodeBadMessage, "difference: instruction for %d bytes, want 1 to %d", sum,
			r.left)
	}
	r.at, r.step = from, s
	return nil
}

func bad(what string, err error) error {
	if err == nil {
		return nil
	}
	return protocol.Errorf(protocol.CodeBadMessage, "difference: %s: %w", what, err)
}

var _ io.Reader = (*Reader)(nil)
