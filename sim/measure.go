package sim

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
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

// paced is a fleet in which each agent has one event a minute.
const paced = `stavily: sim/v1
name: pace
duration: DURATION
sample: 10m
fleet:
  - group: shop
    count: COUNT
    class: linux-arm64
    labels: {env: production}
    link: {latency: 20ms±5ms}
plugins:
  timer: {model: timer}
  pass: {model: pass, takes: 2ms±1ms}
  sink: {model: sink, takes: 1ms}
deploy:
  - at: 10s
    workflow:
      # one event a minute
      workflow: beat
      trigger: {plugin: timer@1, with: {every: 60s}, at: {group: {env: production}}}
      actions: [{plugin: pass@1}]
      outputs: [{plugin: sink@1}]
`

// warm is not measured: by then what is deployed is running everywhere.
const warm = 2 * time.Minute

// Measure simulates so many agents with one event a minute each, for so many virtual
// minutes, of which the first two are not measured.
func Measure(ctx context.Context, agents, minutes int) (p Pace, err error) {
	text := strings.NewReplacer("COUNT", strconv.Itoa(agents), "DURATION", fmt.Sprintf("%dm", minutes)).
		Replace(paced)
	s, err := scenario.Parse("measure.yaml", []byte(text), nil)
	if err != nil {
		return p, err
	}
	defer collectLess()() // as the command does
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
