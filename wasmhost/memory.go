package wasmhost

import (
	"sync/atomic"

	"github.com/tetratelabs/wazero/experimental"
)

// memory is the linear memory of one instance, bounded by its own limit: what is asked
// for beyond makes memory.grow fail in the guest.
type memory struct {
	limit  uint64 // bytes
	count  *held  // of all instances; may be nil
	all    []byte // the reserved range, nil when memory grows by copying
	free   func()
	size   atomic.Uint64 // bytes in use
	denied atomic.Bool   // a growth was refused
}

// newMemory reserves limit bytes of address space. Nothing of it costs memory before
// the guest writes to it, and growing never moves it.
func newMemory(limit uint64, count *held) *memory {
	m := &memory{limit: limit, count: count}
	if all, free, err := reserve(int(limit)); err == nil {
		m.all, m.free = all, free
	}
	return m
}

// Allocate is called once, when the module is instantiated.
func (m *memory) Allocate(_, _ uint64) experimental.LinearMemory { return m }

// Reallocate returns size bytes that begin with those of before, nil above the limit.
func (m *memory) Reallocate(size uint64) []byte {
	if size > m.limit {
		m.denied.Store(true)
		return nil
	}
	m.count.add(int64(size - m.size.Swap(size)))
	if m.free != nil {
		return m.all[:size:size]
	}
	grown := make([]byte, size)
	copy(grown, m.all)
	m.all = grown
	return grown
}

// Free gives the memory back. It may be called again.
func (m *memory) Free() {
	if m.free != nil {
		m.free()
	}
	if m.limit > 0 {
		m.count.add(-int64(m.size.Load()))
	}
	m.free, m.all = nil, nil
	m.limit = 0
}

var (
	_ experimental.MemoryAllocator = (*memory)(nil)
	_ experimental.LinearMemory    = (*memory)(nil)
)
