// Package storetest holds every edge.Store to its promises, and has one in memory for
// tests and for the simulator, whose power can be cut at any change.
package storetest

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// Op names a change that a Memory is asked for.
type Op string

// The changes.
const (
	OpApply     Op = "apply"
	OpAddChunk  Op = "add-chunk"
	OpKeepFiles Op = "keep-files"
)

// Fault is what goes wrong with one change. With Err nil nothing does. With Err the
// caller gets it; Applied says whether the change is on the disk all the same, as
// after a power cut between the write and the return.
type Fault struct {
	Err     error
	Applied bool
}

// Memory is a Store in memory. What its methods return from is what survives: a test
// throws the agent away and gives the same Memory to the next one.
type Memory struct {
	// Faults is asked before each change, nil for a disk that never fails.
	Faults func(Op) Fault

	mu      sync.Mutex // guards the fields below: ReadFile comes from any goroutine
	keys    []string   // ascending
	values  map[string][]byte
	files   map[protocol.Digest][]byte
	partial map[protocol.Digest]*part
}

// part is a file on its way in.
type part struct {
	bytes []byte // of its full size
	have  protocol.Bitmap
}

// NewMemory returns an empty Memory.
func NewMemory() *Memory {
	return &Memory{
		values: map[string][]byte{}, files: map[protocol.Digest][]byte{}, partial: map[protocol.Digest]*part{},
	}
}

// Get returns the value of key, nil when there is none.
func (m *Memory) Get(key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.values[key]), nil
}

// Scan yields the keys with prefix, not below from, in order.
func (m *Memory) Scan(prefix, from string, yield func(key string, value []byte) bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, _ := slices.BinarySearch(m.keys, max(prefix, from))
	for _, key := range m.keys[at:] {
		if !strings.HasPrefix(key, prefix) || !yield(key, m.values[key]) {
			return nil
		}
	}
	return nil
}

// Apply makes all changes or, when a fault says so, none.
func (m *Memory) Apply(changes []edge.Change) error {
	return m.change(OpApply, func() error {
		for _, c := range changes {
			at, found := slices.BinarySearch(m.keys, c.Key)
			switch {
			case c.Value == nil && found:
				m.keys = slices.Delete(m.keys, at, at+1)
				delete(m.values, c.Key)
			case c.Value != nil:
				if !found {
					m.keys = slices.Insert(m.keys, at, c.Key)
				}
				m.values[c.Key] = slices.Clone(c.Value)
			}
		}
		return nil
	})
}

// Chunks returns how much of a file is here.
func (m *Memory) Chunks(d protocol.Digest, size int64) (have protocol.Bitmap, whole bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, whole := m.files[d]; whole {
		return nil, true, nil
	}
	if p := m.partial[d]; p != nil && int64(len(p.bytes)) == size {
		return slices.Clone(p.have), false, nil
	}
	return nil, false, nil
}

// AddChunk keeps a chunk of a file.
func (m *Memory) AddChunk(d protocol.Digest, index uint32, size int64, data []byte) error {
	c := protocol.Chunk{Digest: d, Index: index, Size: size, Data: data}
	if err := c.Check(); err != nil {
		return err
	}
	return m.change(OpAddChunk, func() error {
		if _, whole := m.files[d]; whole {
			return nil
		}
		p := m.partial[d]
		if p == nil || int64(len(p.bytes)) != size {
			p = &part{bytes: make([]byte, size)}
			m.partial[d] = p
		}
		copy(p.bytes[int64(index)*protocol.ChunkSize:], data)
		p.have = p.have.Set(index)
		if p.have.Count() < protocol.ChunkCount(size) {
			return nil
		}
		delete(m.partial, d)
		if got := protocol.DigestOf(p.bytes); got != d {
			return protocol.Errorf(protocol.CodeDigest, "add chunk %d of %s: file is %s",
				index, d.Short(), got.Short())
		}
		m.files[d] = p.bytes
		return nil
	})
}

// ReadChunk returns a chunk of a whole file.
func (m *Memory) ReadChunk(d protocol.Digest, index uint32) (data []byte, size int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, whole := m.files[d]
	if !whole {
		return nil, 0, protocol.Errorf(protocol.CodeNotFound, "read %s: not here", d.Short())
	}
	return protocol.CutChunk(d, b, index)
}

// ReadFile returns a whole file.
func (m *Memory) ReadFile(d protocol.Digest) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, whole := m.files[d]
	if !whole {
		return nil, protocol.Errorf(protocol.CodeNotFound, "read %s: not here", d.Short())
	}
	if got := protocol.DigestOf(b); got != d {
		delete(m.files, d)
		return nil, protocol.Errorf(protocol.CodeDigest, "read %s: file is %s", d.Short(), got.Short())
	}
	return slices.Clone(b), nil
}

// KeepFiles removes every file that is not in keep.
func (m *Memory) KeepFiles(keep []protocol.Digest) error {
	return m.change(OpKeepFiles, func() error {
		maps.DeleteFunc(m.files, func(d protocol.Digest, _ []byte) bool { return !slices.Contains(keep, d) })
		maps.DeleteFunc(m.partial, func(d protocol.Digest, _ *part) bool { return !slices.Contains(keep, d) })
		return nil
	})
}

// Rot changes a byte of a file, as old flash does, and reports whether there is one.
func (m *Memory) Rot(d protocol.Digest) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.files[d]
	if len(b) == 0 {
		return false
	}
	b[len(b)/2] ^= 1
	return true
}

// Clone returns a copy without faults: the disk as another agent would find it.
func (m *Memory) Clone() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := NewMemory()
	c.keys = slices.Clone(m.keys)
	for k, v := range m.values {
		c.values[k] = slices.Clone(v)
	}
	for d, b := range m.files {
		c.files[d] = slices.Clone(b)
	}
	for d, p := range m.partial {
		c.partial[d] = &part{slices.Clone(p.bytes), slices.Clone(p.have)}
	}
	return c
}

// Keys returns all keys, ascending.
func (m *Memory) Keys() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.keys)
}

func (m *Memory) change(op Op, do func() error) error {
	var f Fault
	if m.Faults != nil {
		f = m.Faults(op)
	}
	if f.Err != nil && !f.Applied {
		return f.Err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := do(); err != nil {
		return err
	}
	return f.Err
}

var _ edge.Store = (*Memory)(nil)
