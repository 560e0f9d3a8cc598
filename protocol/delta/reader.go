package delta

import (
	"compress/flate"
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
	stretch stretch
	run     run
}

// stretch is what is left of one: bytes that have no run yet, and fresh ones after them.
type stretch struct{ ahead, fresh int64 }

// run is what is left of one.
type run struct{ equal, changed int64 }

// NewReader reads the beginning of a difference of size bytes. base is asked for bytes only
// within what the difference says of its size. Errors are those of the readers, or have
// CodeBadMessage or CodeLimit.
func NewReader(difference io.ReaderAt, size int64, base io.ReaderAt) (*Reader, error) {
	head, err := readHeader(difference, size)
	if err != nil {
		return nil, err
	}
	r := &Reader{head: head, base: base, left: head.target}
	part := func(from, n int64) io.Reader { return io.NewSectionReader(difference, from, n) }
	steps := make([]byte, head.stepBytes())
	if _, err := io.ReadFull(flate.NewReader(part(head.size, head.steps)), steps); err != nil {
		return nil, bad("instructions", err)
	}
	for i, n := range head.columns {
		r.column[i], steps = steps[:n], steps[n:]
	}
	from := head.size + head.steps
	r.changed = flate.NewReader(part(from, head.changed))
	from += head.changed
	dictionary := make([]byte, min(dictionarySize, head.base-head.dictionary))
	if _, err := base.ReadAt(dictionary, head.dictionary); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	r.fresh = flate.NewReaderDict(part(from, size-from), dictionary)
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

// some yields bytes of the instruction under way, or reads the next.
func (r *Reader) some(p []byte) (int, error) {
	switch {
	case r.run.equal > 0:
		p = take(p, &r.run.equal)
		return len(p), r.copy(p)
	case r.run.changed > 0:
		p = take(p, &r.run.changed)
		return len(p), r.add(p)
	case r.stretch.ahead > 0:
		return 0, r.nextRun()
	case r.stretch.fresh > 0:
		p = take(p, &r.stretch.fresh)
		_, err := io.ReadFull(r.fresh, p)
		return len(p), bad("what is fresh", err)
	}
	return 0, r.nextStretch()
}

// take returns as much of p as there is left, and counts it.
func take(p []byte, left *int64) []byte {
	p = p[:min(int64(len(p)), *left)]
	*left -= int64(len(p))
	return p
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

// nextStretch reads where to go on.
func (r *Reader) nextStretch() error {
	u, n := readNumber(r.column[moves])
	if n == 0 {
		return protocol.Errorf(protocol.CodeBadMessage, "difference: instructions end %d bytes too soon", r.left)
	}
	r.column[moves] = r.column[moves][n:]
	move := int64(u>>1) ^ -int64(u&1)
	ahead, err := r.number(lengths)
	if err != nil {
		return err
	}
	fresh, err := r.number(freshes)
	if err != nil {
		return err
	}
	if sum := ahead + fresh; sum == 0 || sum > r.left {
		return protocol.Errorf(protocol.CodeBadMessage, "difference: instruction for %d bytes, want 1 to %d", sum,
			r.left)
	}
	from := r.at + move
	if move > r.head.base || move < -r.head.base || from < 0 || from+ahead > r.head.base {
		return protocol.Errorf(protocol.CodeBadMessage, "difference: bytes %d to %d of a base of %d", from,
			from+ahead, r.head.base)
	}
	r.at, r.stretch = from, stretch{ahead, fresh}
	return nil
}

// nextRun reads how to go on within a stretch.
func (r *Reader) nextRun() (err error) {
	var next run
	if next.equal, err = r.number(equals); err != nil {
		return err
	}
	if next.changed, err = r.number(changes); err != nil {
		return err
	}
	sum := next.equal + next.changed
	if sum == 0 || sum > r.stretch.ahead {
		return protocol.Errorf(protocol.CodeBadMessage, "difference: run of %d bytes, want 1 to %d", sum,
			r.stretch.ahead)
	}
	r.run = next
	r.stretch.ahead -= sum
	return nil
}

// number reads the next number of a column, of bytes that are still to come.
func (r *Reader) number(column int) (int64, error) {
	u, n := readNumber(r.column[column])
	if n == 0 || u > uint64(r.left) {
		return 0, protocol.Errorf(protocol.CodeBadMessage, "difference: column %d: want 0 to %d", column, r.left)
	}
	r.column[column] = r.column[column][n:]
	return int64(u), nil
}

func bad(what string, err error) error {
	if err == nil {
		return nil
	}
	return protocol.Errorf(protocol.CodeBadMessage, "difference: %s: %w", what, err)
}

var _ io.Reader = (*Reader)(nil)
