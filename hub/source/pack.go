package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// packObjects are the objects of one pack, unpacked in memory.
type packObjects struct {
	lim     Limits
	left    int64 // bytes that may still be unpacked
	byID    map[plumbing.Hash]*object
	waiting waiting
}

type object struct {
	kind plumbing.ObjectType
	data []byte
}

// A delta says how to make an object from another one, which may come later in the pack.
type delta struct {
	offset int64
	steps  []byte
}

// waiting holds the deltas whose base is not known yet, by the base's name or place.
type waiting struct {
	byID     map[plumbing.Hash][]delta
	byOffset map[int64][]delta
	count    int
}

// readPack unpacks a pack as it arrives. The budget is paid before a byte is unpacked or a delta applied, so
// neither a zlib bomb nor a row of deltas that double each other can pass it.
func readPack(r io.Reader, lim Limits) (*packObjects, error) {
	p := &packObjects{lim: lim, left: lim.ObjectBytes, byID: make(map[plumbing.Hash]*object)}
	p.waiting.byID = make(map[plumbing.Hash][]delta)
	p.waiting.byOffset = make(map[int64][]delta)
	s := packfile.NewScanner(r)
	_, count, err := s.Header()
	if err != nil {
		return nil, fmt.Errorf("pack: %w", clipped(err))
	}
	if int64(count) > int64(lim.Objects) {
		return nil, &LimitError{What: "objects in the pack", Limit: int64(lim.Objects), Got: int64(count)}
	}
	byOffset := make(map[int64]*object)
	for i := range count {
		if err := p.readOne(s, byOffset); err != nil {
			return nil, fmt.Errorf("pack: object %d of %d: %w", i+1, count, err)
		}
	}
	if err := checkSum(s); err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	if p.waiting.count > 0 {
		return nil, fmt.Errorf("pack: %d deltas without their base", p.waiting.count)
	}
	return p, nil
}

func checkSum(s *packfile.Scanner) error {
	_, err := s.Checksum()
	if errors.Is(err, io.EOF) {
		return errors.New("checksum missing")
	}
	return err
}

func (p *packObjects) readOne(s *packfile.Scanner, byOffset map[int64]*object) error {
	h, err := s.NextObjectHeader()
	if err != nil {
		return unexpected(err)
	}
	if h.Length < 0 {
		return errors.New("negative length")
	}
	if err := p.pay(h.Length); err != nil {
		return err
	}
	var buf bytes.Buffer
	if _, _, err := s.NextObject(&buf); err != nil {
		return unexpected(err)
	}
	if int64(buf.Len()) != h.Length {
		return fmt.Errorf("%d bytes: want %d", buf.Len(), h.Length)
	}
	d := delta{offset: h.Offset, steps: buf.Bytes()}
	switch h.Type {
	case plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject, plumbing.TagObject:
		return p.settle(&object{kind: h.Type, data: buf.Bytes()}, h.Offset, byOffset)
	case plumbing.OFSDeltaObject:
		if base, ok := byOffset[h.OffsetReference]; ok {
			return p.apply(base, d, byOffset)
		}
		p.waiting.byOffset[h.OffsetReference] = append(p.waiting.byOffset[h.OffsetReference], d)
	case plumbing.REFDeltaObject:
		if base, ok := p.byID[h.Reference]; ok {
			return p.apply(base, d, byOffset)
		}
		p.waiting.byID[h.Reference] = append(p.waiting.byID[h.Reference], d)
	default:
		return fmt.Errorf("kind %d is unknown", h.Type)
	}
	p.waiting.count++
	return nil
}

// settle files an object under its name, then makes all that waited for it, without recursion: the depth of a
// chain of deltas is the remote's to choose.
func (p *packObjects) settle(first *object, at int64, byOffset map[int64]*object) error {
	type placed struct {
		obj *object
		at  int64
	}
	todo := []placed{{first, at}}
	for len(todo) > 0 {
		o := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		id, err := nameOf(o.obj.kind, o.obj.data)
		if err != nil {
			return err
		}
		p.byID[id], byOffset[o.at] = o.obj, o.obj
		for _, d := range p.released(id, o.at) {
			made, err := p.make(o.obj, d.steps)
			if err != nil {
				return err
			}
			todo = append(todo, placed{made, d.offset})
		}
	}
	return nil
}

func (p *packObjects) released(id plumbing.Hash, at int64) []delta {
	free := slices.Concat(p.waiting.byID[id], p.waiting.byOffset[at])
	delete(p.waiting.byID, id)
	delete(p.waiting.byOffset, at)
	p.waiting.count -= len(free)
	return free
}

func (p *packObjects) apply(base *object, d delta, byOffset map[int64]*object) error {
	made, err := p.make(base, d.steps)
	if err != nil {
		return err
	}
	return p.settle(made, d.offset, byOffset)
}

func (p *packObjects) make(base *object, steps []byte) (*object, error) {
	size, err := targetSize(steps)
	if err != nil {
		return nil, err
	}
	if err := p.pay(size); err != nil {
		return nil, err
	}
	data, err := packfile.PatchDelta(base.data, steps)
	if err != nil {
		return nil, fmt.Errorf("delta: %w", err)
	}
	return &object{kind: base.kind, data: data}, nil
}

// targetSize reads what a delta promises to make: the second of the two lengths at its head.
func targetSize(steps []byte) (int64, error) {
	var size uint64
	for range 2 {
		size = 0
		for shift := 0; ; shift += 7 {
			if len(steps) == 0 || shift > 49 {
				return 0, errors.New("delta: bad length")
			}
			b := steps[0]
			steps = steps[1:]
			size |= uint64(b&0x7f) << shift
			if b&0x80 == 0 {
				break
			}
		}
	}
	return int64(size), nil
}

func (p *packObjects) pay(n int64) error {
	if n > p.left {
		used := p.lim.ObjectBytes - p.left
		return &LimitError{What: "bytes of all objects", Limit: p.lim.ObjectBytes, Got: used + n}
	}
	p.left -= n
	return nil
}

func (p *packObjects) get(id plumbing.Hash) (plumbing.ObjectType, []byte, error) {
	o, ok := p.byID[id]
	if !ok {
		return plumbing.InvalidObject, nil, fmt.Errorf("object %s: %w in the pack", id, ErrNotFound)
	}
	return o.kind, o.data, nil
}

// nameOf is an object's name: its SHA-1, by a hasher that knows the traces of a made collision.
func nameOf(kind plumbing.ObjectType, data []byte) (plumbing.Hash, error) {
	h := plumbing.NewHasher(kind, int64(len(data)))
	_, _ = h.Write(data)
	careful, ok := h.Hash.(interface {
		CollisionResistantSum(in []byte) ([]byte, bool)
	})
	if !ok {
		return plumbing.ZeroHash, errors.New("object: the SHA-1 in use does not detect collisions")
	}
	sum, collision := careful.CollisionResistantSum(nil)
	if collision {
		return plumbing.ZeroHash, fmt.Errorf("%w: an object was made to collide", ErrHostileTree)
	}
	return plumbing.Hash(sum), nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return clipped(err)
}

var _ objects = (*packObjects)(nil)
