package swarm

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// samplesMax bounds the acknowledgements whose times are kept.
const samplesMax = 1 << 20

// tally counts what all members do.
type tally struct {
	sent, bytes atomic.Int64

	mu    sync.Mutex // guards the fields below
	acked int64
	took  []time.Duration
}

func (t *tally) send(bytes int) {
	t.sent.Add(1)
	t.bytes.Add(int64(bytes))
}

func (t *tally) ack(took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.acked++
	if len(t.took) < samplesMax {
		t.took = append(t.took, took)
	}
}

// acks returns how many batches were acknowledged and how long half and 99 % took.
func (t *tally) acks() (n int64, p50, p99 time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := phaseOf(t.took)
	return t.acked, p.P50, p.P99
}

// phaseOf sums up times, which it sorts.
func phaseOf(times []time.Duration) Phase {
	if len(times) == 0 {
		return Phase{}
	}
	slices.Sort(times)
	at := func(percent int) time.Duration { return times[(len(times)-1)*percent/100] }
	return Phase{Took: times[len(times)-1], P50: at(50), P99: at(99), Done: len(times)}
}
