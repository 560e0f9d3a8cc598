//go:build linux && (amd64 || arm64)

package wasmhost

import (
	"context"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

// TestPoolByAge: an instance that is too old answers and is replaced then.
func TestPoolByAge(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	h := newHost(t, Config{Pool: Pool{Age: time.Hour}, Clock: func() time.Time { return now }})
	p := load(t, h, busySpec(t))
	first := p.live
	now = now.Add(time.Hour - time.Second)
	ask1(t, p)
	if p.live != first {
		t.Error("replaced before its time")
	}
	now = now.Add(time.Second)
	ask1(t, p)
	if p.live != nil || !first.Await(0) {
		t.Error("not replaced in its time")
	}
	ask1(t, p)
	if p.live == nil || p.live == first {
		t.Error("no fresh instance")
	}
}

// TestPoolByHighWater: who has come near its limit is replaced, but not who always was.
func TestPoolByHighWater(t *testing.T) {
	h := newHost(t, Config{})
	s := hostileSpec(t, "hoards", false)
	s.Manifest.Limits.MemoryMB = 1 // 16 pages
	p := load(t, h, s)
	first := p.live
	for i, pages := range []uint64{5, 9, 13} {
		a := ask1(t, p)
		if full := pages*100 >= 16*highWaterDefault; a.Usage.MemoryB != pages<<16 || (p.live != first) != full {
			t.Errorf("request %d: %d bytes, replaced %v", i, a.Usage.MemoryB, p.live != first)
		}
	}
	if a := ask1(t, p); a.Usage.MemoryB != 5<<16 {
		t.Errorf("a fresh instance has %d bytes", a.Usage.MemoryB)
	}
	high := newHost(t, Config{Pool: Pool{HighWater: 1}}) // everyone begins above that
	q := load(t, high, busySpec(t))
	live := q.live
	if ask1(t, q); q.live != live {
		t.Error("an instance that did not grow is replaced")
	}
}

// TestPoolAfterATrap: what trapped is replaced, and what waits beside it is not (G-7).
func TestPoolAfterATrap(t *testing.T) {
	h := newHost(t, Config{})
	bad, beside := load(t, h, hostileSpec(t, "traps", false)), load(t, h, busySpec(t))
	trapped, live := bad.live, beside.live
	if a := bad.Call(context.Background(), work(t, "1")); protocol.CodeOf(asError(a)) != protocol.CodeContract {
		t.Errorf("got %v", a.Error)
	}
	ask1(t, beside)
	if !trapped.Await(0) || bad.live != nil || beside.live != live {
		t.Error("the wrong one was ended")
	}
}

// TestPoolBudget: together they hold no more than the budget. Who was asked longest ago
// gives way, who works does not.
func TestPoolBudget(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	h := newHost(t, Config{
		Pool:  Pool{MemoryMB: 1}, // 16 pages
		Clock: func() time.Time { now = now.Add(time.Millisecond); return now },
	})
	var all []*Plugin
	for range 4 { // a page each
		all = append(all, load(t, h, busySpec(t)))
	}
	ask1(t, all[0])           // so that 1 was asked longest ago
	all[1].turn <- struct{}{} // but it works
	hoards := load(t, h, hostileSpec(t, "hoards", false))
	for range 3 {
		ask1(t, hoards)
	}
	<-all[1].turn
	for i, p := range all {
		if got, want := p.live != nil, i != 2; got != want {
			t.Errorf("plugin %d has an instance: %v, want %v", i, got, want)
		}
	}
	if got := h.held.bytes.Load(); got != 16<<16 || hoards.live == nil {
		t.Errorf("%d pages held, want 16", got>>16)
	}
	for _, p := range append(all, hoards) {
		ask1(t, p)
		p.Rest()
	}
	if got := h.held.bytes.Load(); got != 0 {
		t.Errorf("%d bytes held by nobody", got)
	}
}

// busySpec is of a plugin that answers as often as it is asked.
func busySpec(t *testing.T) Spec {
	t.Helper()
	s := hostileSpec(t, "busy", false)
	s.Manifest.Limits.CPUCores = 1
	return s
}

// ask1 puts one request.
func ask1(t *testing.T, p *Plugin) Answer {
	t.Helper()
	a := p.Call(context.Background(), work(t, "1"))
	if a.Error != nil {
		t.Error(a.Error)
	}
	return a
}
