package swarm

import (
	"bytes"
	"slices"
	"strings"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// store is a member's disk in memory. It belongs to the member's one goroutine, but for
// its files, which no plugin here reads.
type store struct {
	keys   []string // ascending
	values map[string][]byte
	files  map[protocol.Digest]*file
}

type file struct {
	data  []byte // of its full size
	have  protocol.Bitmap
	whole bool
}

func newStore() *store {
	return &store{values: map[string][]byte{}, files: map[protocol.Digest]*file{}}
}

// Get returns a value. See edge.Store for this and the rest.
func (s *store) Get(key string) ([]byte, error) { return bytes.Clone(s.values[key]), nil }

// Scan yields the keys that begin with prefix.
func (s *store) Scan(prefix, from string, yield func(key string, value []byte) bool) error {
	at, _ := slices.BinarySearch(s.keys, max(prefix, from))
	for _, key := range slices.Clone(s.keys[at:]) {
		if !strings.HasPrefix(key, prefix) {
			break
		}
		if value, ok := s.values[key]; ok && !yield(key, value) {
			break
		}
	}
	return nil
}

// Apply makes all changes.
func (s *store) Apply(changes []edge.Change) error {
	for _, c := range changes {
		at, has := slices.BinarySearch(s.keys, c.Key)
		switch {
		case c.Value == nil && has:
			s.keys = slices.Delete(s.keys, at, at+1)
			delete(s.values, c.Key)
		case c.Value != nil:
			if !has {
				s.keys = slices.Insert(s.keys, at, c.Key)
			}
			s.values[c.Key] = bytes.Clone(c.Value)
		}
	}
	return nil
}

// Chunks returns how much of a file is here.
func (s *store) Chunks(d protocol.Digest, size int64) (have protocol.Bitmap, whole bool, err error) {
	if f := s.files[d]; f != nil && (f.whole || int64(len(f.data)) == size) {
		return slices.Clone(f.have), f.whole, nil
	}
	return nil, false, nil
}

// AddChunk keeps a chunk of a file.
func (s *store) AddChunk(d protocol.Digest, index uint32, size int64, data []byte) error {
	chunk := protocol.Chunk{Digest: d, Index: index, Size: size, Data: data}
	if err := chunk.Check(); err != nil {
		return err
	}
	f := s.files[d]
	if f == nil || !f.whole && int64(len(f.data)) != size { // of another size: begun again
		f = &file{data: make([]byte, size)}
		s.files[d] = f
	}
	if f.whole {
		return nil
	}
	copy(f.data[int64(index)*protocol.ChunkSize:], data)
	if f.have = f.have.Set(index); f.have.Count() < protocol.ChunkCount(size) {
		return nil
	}
	if protocol.DigestOf(f.data) != d {
		delete(s.files, d)
		return protocol.Errorf(protocol.CodeDigest, "file %s: the content is another", d.Short())
	}
	f.whole = true
	return nil
}

// ReadChunk returns a chunk of a whole file.
func (s *store) ReadChunk(d protocol.Digest, index uint32) (data []byte, size int64, err error) {
	b, err := s.ReadFile(d)
	if err != nil {
		return nil, 0, err
	}
	return protocol.CutChunk(d, b, index)
}

// ReadFile returns a whole file.
func (s *store) ReadFile(d protocol.Digest) ([]byte, error) {
	if f := s.files[d]; f != nil && f.whole {
		return bytes.Clone(f.data), nil
	}
	return nil, protocol.Errorf(protocol.CodeNotFound, "file %s: not here", d.Short())
}

// KeepFiles removes the others.
func (s *store) KeepFiles(keep []protocol.Digest) error {
	for d := range s.files {
		if !slices.Contains(keep, d) {
			delete(s.files, d)
		}
	}
	return nil
}

var _ edge.Store = (*store)(nil)
