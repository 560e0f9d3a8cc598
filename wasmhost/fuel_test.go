package wasmhost

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

// TestRestHoldsTheShare: what a guest runs beyond its share it waits, but not for what
// is short. M-18.
func TestRestHoldsTheShare(t *testing.T) {
	t0 := time.Unix(1_790_000_000, 0)
	at := func(ms int) time.Time { return t0.Add(time.Duration(ms) * time.Millisecond) }
	for _, c := range []struct {
		name   string
		cores  float64
		clock  []int // what the clock says, ms: when fuel ran out, and after the rest if any
		ahead  time.Duration
		asleep bool
	}{
		{"short", 0.5, []int{10}, 10 * time.Millisecond, false},
		{"half a core", 0.5, []int{150, 300}, 0, true},
		{"rest cut short", 0.5, []int{150, 200}, 100 * time.Millisecond, true},
		{"a quarter", 0.25, []int{50, 200}, 0, true},
		{"a whole core", 1, []int{500}, 0, false},
		{"no limit", 0, []int{500}, 0, false},
		{"clock goes back", 0.5, []int{-500}, 0, false},
	} {
		ticks := c.clock
		in := &instance{Fate: NewFate(func() {}), clock: func() time.Time {
			now := at(ticks[0])
			ticks = ticks[1:]
			return now
		}}
		in.End(errClosed) // so that no test sleeps
		tank := tank{cores: c.cores, resumed: t0}
		tank.rest(in)
		if c.asleep {
			c.ahead += tank.owed(wakeCost)
		}
		if asleep := len(ticks) == 0 && len(c.clock) == 2; tank.ahead != c.ahead || asleep != c.asleep {
			t.Errorf("%s: %v ahead, rested %v; want %v, %v", c.name, tank.ahead, asleep, c.ahead, c.asleep)
		}
	}
}

// TestWaitingIsNotRunning: a host call that takes 5 s is not held against the guest's
// share of cores.
func TestWaitingIsNotRunning(t *testing.T) {
	var past atomic.Int64
	s := asking(t, "metrics.read")
	s.Manifest.Limits.CPUCores = 0.1
	s.Manifest.Limits.Seconds = 20
	p := load(t, newHost(t, Config{
		Clock: func() time.Time { return time.Unix(1_790_000_000+past.Load(), 0) },
		Calls: map[string]HostCall{"metrics.read": func(context.Context, Grants, protocol.Raw) (any, error) {
			past.Add(5)
			return nil, nil
		}},
	}), s)
	if got, _ := calls(t, p, `metrics.read {}`, `metrics.read {}`); got[1].code() != "ok" {
		t.Errorf("got %+v", got)
	}
}

// TestLogIsBounded: 1,000 lines at once become a few, and the rest is counted.
func TestLogIsBounded(t *testing.T) {
	var mu sync.Mutex
	var lines []protocol.LogLine
	now := time.Unix(1_790_000_000, 0)
	h := newHost(t, Config{
		Clock: func() time.Time { return now },
		Lines: func(l protocol.LogLine) {
			mu.Lock()
			defer mu.Unlock()
			lines = append(lines, l)
		},
	})
	p := load(t, h, specOf("probe", guest(t, "probe")))
	if a := p.Call(context.Background(), work(t, `{"mode":"loglines"}`)); a.Error != nil {
		t.Fatal(a.Error)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(lines) != logBurst || lines[0].Text != "line 0" || lines[0].Plugin != "probe" || lines[0].Of != "flow" {
		t.Errorf("%d lines, first %+v; want %d", len(lines), lines[0], logBurst)
	}
	if p.log.dropped != 1000-logBurst {
		t.Errorf("%d dropped, want %d", p.log.dropped, 1000-logBurst)
	}
}

// TestManyCallers: calls of one plugin from many goroutines go one at a time, while
// its grants change and its counters are read.
func TestManyCallers(t *testing.T) {
	p := load(t, newHost(t, Config{}), asking(t, "kv"))
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 10 {
				calls(t, p, `kv.put {"key":"a","value":1}`)
				p.SetGrants(nil)
				p.Counters()
			}
		})
	}
	all.Wait()
}
