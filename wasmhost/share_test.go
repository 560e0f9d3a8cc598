//go:build linux && (amd64 || arm64)

package wasmhost

import (
	"context"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

// everySecond asks for the minute that M-18 names; without it a few seconds are measured.
const everySecond = "STAVILY_EVERY_ROW"

// TestShareOfCores: what a plugin may use of a processor it gets and no more, whether it
// works through one long request or many short ones or has the host work, compiled or
// interpreted. M-18, S-05.
func TestShareOfCores(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds by the clock")
	}
	long, off := 2*time.Second, 0.25
	if everyRow() {
		long, off = time.Minute, 0.10
	}
	oneRequest := func(t *testing.T, p *Plugin, d time.Duration) {
		t.Helper()
		r := work(t, "1")
		r.TimeoutMS = d.Milliseconds()
		if a := p.Call(context.Background(), r); protocol.CodeOf(asError(a)) != protocol.CodeDeadline {
			t.Errorf("got %v", a.Error)
		}
	}
	manyRequests := func(t *testing.T, p *Plugin, d time.Duration) {
		t.Helper()
		for began := time.Now(); time.Since(began) < d; {
			if a := p.Call(context.Background(), work(t, "1")); a.Error != nil {
				t.Fatal(a.Error)
			}
		}
	}
	for _, c := range []struct {
		name, guest string
		interpreter bool
		cores       float64
		work        func(*testing.T, *Plugin, time.Duration)
	}{
		{"one request", "loop", false, 0.1, oneRequest},
		{"many requests", "busy", false, 0.2, manyRequests},
		{"the host's work", "draws", false, 0.1, oneRequest},
		{"one request interpreted", "loop", true, 0.1, oneRequest},
		{"many requests interpreted", "busy", true, 0.2, manyRequests},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := hostileSpec(t, c.guest, false)
			s.Manifest.Limits.CPUCores, s.Manifest.Limits.Seconds = c.cores, 300
			p := load(t, newHost(t, Config{Interpreter: c.interpreter}), s)
			got := coresUsed(t, func() { c.work(t, p, long) })
			if got > c.cores*(1+off) && !everyRow() {
				// What else the process did meanwhile (a collection of what other tests left) is
				// a sum, what a plugin takes too much is a rate: over a longer time only that counts.
				got = coresUsed(t, func() { c.work(t, p, 5*long) })
			}
			if got > c.cores*(1+off) {
				t.Errorf("%.3f of a core, want %v within %v", got, c.cores, off)
			}
			if got < c.cores*(1-off) {
				t.Logf("less than its share: the machine had no more to give")
			}
		})
	}
}

// coresUsed returns how much of a processor this process used while f ran.
func coresUsed(t *testing.T, f func()) float64 {
	t.Helper()
	runtime.GC()
	began, before := time.Now(), processorTime()
	f()
	took, used := time.Since(began), processorTime()-before
	got := float64(used) / float64(took)
	t.Logf("%.3f of a core over %v", got, took.Round(time.Millisecond))
	return got
}

func everyRow() bool { return os.Getenv(everySecond) != "" }
