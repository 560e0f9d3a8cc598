package hub

import (
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

// A fleet that comes back with backlogs is spread: each full batch beyond what a hub takes in a
// second has a place of its own, later than the one before; what is told now never waits.
func TestPace(t *testing.T) {
	h, now := &Hub{}, time.Unix(1_800_000_000, 0)
	last := uint32(0)
	for n := range 5 * drainPerSecond {
		wait := h.pace(now, protocol.BatchMax)
		if n < drainPerSecond && wait != 0 || n > drainPerSecond && wait <= last && wait < 4000 {
			t.Fatalf("full batch %d waits %d ms after %d", n, wait, last)
		}
		last = wait
		if small := h.pace(now, protocol.BatchMax-1); small != 0 {
			t.Fatalf("a batch that is not full waits %d ms", small)
		}
	}
	if last < 3900 || last > 4100 {
		t.Errorf("the last of five seconds' worth waits %d ms", last)
	}
	if wait := h.pace(now.Add(time.Minute), protocol.BatchMax); wait != 0 {
		t.Errorf("a minute later one waits %d ms", wait)
	}
}
