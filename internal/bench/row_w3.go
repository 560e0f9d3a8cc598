package main

import (
	"fmt"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

const batchRounds = 200

// batchCost is the cost of one event of 200 bytes when an action gets 1, 16 or 256 of them
// with one request. Beside it the same events one at a time.
func batchCost(b *bench) (out []line, err error) {
	engine, err := wasmhost.New(b.ctx, wasmhost.Config{CacheDir: b.path("cache")})
	if err != nil {
		return nil, err
	}
	defer engine.Close(b.ctx)
	for _, language := range []string{inC, inGo} {
		alone, err := b.warmAction(engine, language)
		if err != nil {
			return out, err
		}
		for _, size := range []int{1, 16, 256} {
			together, err := b.batchAction(engine, language, size)
			if err != nil {
				return out, err
			}
			value, base, err := calmInTurn(batchRounds, together, alone)
			if err != nil {
				return out, err
			}
			what := fmt.Sprintf("event of 200 bytes in a batch of %d, %s action", size, language)
			target := ratioAtMost(1)
			if size == 1 {
				target = ratioAtMost(1.1) // it is one call either way
			}
			out = append(out, line{what, value / 1000, "µs", "one at a time", base / 1000, target})
		}
	}
	return out, nil
}

// batchAction returns what gives our action batches for a while and tells the ns of one
// event.
func (b *bench) batchAction(
	engine *wasmhost.Host, language string, size int,
) (func() (float64, error), error) {
	p, err := b.loadGuest(engine, language, protocol.Action, 1)
	if err != nil {
		return nil, err
	}
	data, err := wasmhost.FromJSON([]byte(event200))
	if err != nil {
		return nil, err
	}
	now := protocol.Stamp{UnixMS: time.Now().UnixMilli(), Quality: protocol.QualityClock}
	event := &protocol.Event{Workflow: benchWorkflow, Revision: 1, Time: now, Data: data}
	var batch []wasmhost.Request
	for i := range size {
		batch = append(batch, wasmhost.Request{Kind: wasmhost.Run, Now: now, Event: event, Key: fmt.Sprint(i)})
	}
	return func() (float64, error) {
		began, events := time.Now(), 0
		for time.Since(began) < warmTime {
			for _, a := range p.CallBatch(b.ctx, batch) {
				if a.Error != nil {
					return 0, a.Error
				}
				events++
			}
		}
		return float64(time.Since(began).Nanoseconds()) / float64(events), nil
	}, nil
}
