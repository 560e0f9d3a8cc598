package wasmhost

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"
)

// Pool says how long an instance that waits is kept. It is kept at all because starting
// one costs a hundred times what asking one does; who knows that a plugin will not be
// asked for long ends it earlier (Plugin.Rest).
type Pool struct {
	// MemoryMB bounds the linear memory of all instances of a host: beyond it those that
	// wait are ended, the one asked longest ago first. One that works is never ended for
	// it. 0 means no bound.
	MemoryMB int
	// Age is how old an instance becomes; an older one is replaced after its answer, with
	// whatever it leaked. 0 means a day.
	Age time.Duration
	// HighWater is the part of max_memory_mb, in percent, at which an instance that grew by
	// a quarter of it since its start is replaced: memory never shrinks, and the next request
	// should not fail for what the last ones needed. 0 means 75.
	HighWater int
}

const (
	ageDefault       = 24 * time.Hour
	highWaterDefault = 75
	grownQuarter     = 4
)

// held counts the linear memory of a host's instances, in bytes.
type held struct{ bytes atomic.Int64 }

// add may be nil's: memory that nobody counts.
func (h *held) add(bytes int64) {
	if h != nil {
		h.bytes.Add(bytes)
	}
}

// warm is what the pool knows of a plugin's instance. The turn guards it, but for used.
type warm struct {
	born   time.Time
	ground uint64       // bytes of memory when it was ready
	size   uint64       // and when it answered last
	used   atomic.Int64 // when it answered last, in ns since 1970
}

// ready notes that an instance has come.
func (w *warm) ready(now time.Time, memory uint64) {
	w.born, w.ground, w.size = now, memory, memory
	w.used.Store(now.UnixNano())
}

// yield gives the turn on, having looked whether the instance should stay.
func (p *Plugin) yield() {
	now := p.host.cfg.Clock()
	if p.live != nil && p.script == nil {
		p.warm.used.Store(now.UnixNano())
		if p.stale(now) {
			p.bow()
		}
	}
	<-p.turn
	p.host.trim(p)
}

// stale reports whether the live instance is too old or too large to be kept.
func (p *Plugin) stale(now time.Time) bool {
	pool := &p.host.cfg.Pool
	size, limit := p.warm.size, uint64(p.limits.MemoryMB)<<20
	high := cmp.Or(pool.HighWater, highWaterDefault)
	if size*100 >= limit*uint64(high) && size-min(size, p.warm.ground) >= limit/grownQuarter {
		return true
	}
	return now.Sub(p.warm.born) >= cmp.Or(pool.Age, ageDefault)
}

// trim ends instances that wait while all of them together hold too much, but not that
// of keep, which was just asked.
func (h *Host) trim(keep *Plugin) {
	budget := int64(h.cfg.Pool.MemoryMB) << 20
	if budget == 0 || h.held.bytes.Load() <= budget {
		return
	}
	h.mu.Lock()
	idle := make([]*Plugin, 0, len(h.plugins))
	for p := range h.plugins { // sorted below
		if p != keep {
			idle = append(idle, p)
		}
	}
	h.mu.Unlock()
	slices.SortFunc(idle, func(a, b *Plugin) int { return cmp.Compare(a.warm.used.Load(), b.warm.used.Load()) })
	for _, p := range idle {
		if h.held.bytes.Load() <= budget {
			return
		}
		p.Rest()
	}
}
