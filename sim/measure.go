package sim

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/stavily/stavily/sim/scenario"
)

// Pace is how fast and how large a simulation is.
type Pace struct {
	Virtual time.Duration // simulated after the warm-up
	Wall    time.Duration // that took
	Events  uint64        // that triggers fired meanwhile
	Bytes   int64         // of heap that the whole world holds, hub and books too
}

// Measure simulates a scenario, given as its text, which names no files. The time up to
// warm is not measured: by then what it deploys should be running.
func Measure(ctx context.Context, text []byte, warm time.Duration) (p Pace, err error) {
	s, err := scenario.Parse("measure.yaml", text, nil)
	if err != nil {
		return p, err
	}
	empty := heap()
	w, err := newWorld(ctx, s, Options{})
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if err := w.runTo(int64(warm)); err != nil {
		return p, err
	}
	from, fired, began := w.now, w.tell.totals.Fired, time.Now() //nolint:forbidigo // it measures itself
	if err := w.runTo(w.until); err != nil {
		return p, err
	}
	p.Wall = time.Since(began)
	p.Virtual, p.Events, p.Bytes = time.Duration(w.now-from), w.tell.totals.Fired-fired, heap()-empty
	return p, nil
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
