package main

import (
	"os"
	"runtime/debug"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// instances is how many are started at once to see the memory of one.
const instances = 16

// instanceMemory is the resident memory of one more instance of an action: warm, when it
// has answered a hundred events, and idle, when it rests and only its code is kept. Beside
// it the memory that the guest itself says it has.
func instanceMemory(b *bench) (out []line, err error) {
	for _, v := range []struct {
		language string
		mostMB   float64
	}{{inC, 0.7}, {inRust, 1.4}, {inGo, 5.2}} {
		if err := b.buildGuests(v.language); err != nil {
			return out, err
		}
		warm, idle, linear, err := b.weigh(v.language)
		if err != nil {
			return out, err
		}
		of := " instance of a " + v.language + " action, one of " + amount(instances, "")
		out = append(out,
			line{"warm" + of, warm, "MiB", "its linear memory", linear, atMost(v.mostMB)},
			line{"idle" + of, idle, "MiB", "its linear memory", linear, atMost(0.1)})
	}
	return out, nil
}

// weigh returns the MiB of one more instance when it is warm and when it is idle.
func (b *bench) weigh(language string) (warm, idle, linear float64, err error) {
	engine, err := wasmhost.New(b.ctx, wasmhost.Config{CacheDir: b.path("cache")})
	if err != nil {
		return 0, 0, 0, err
	}
	defer engine.Close(b.ctx)
	first, err := b.loadGuest(engine, language, protocol.Action, 1) // the code is there from here on
	if err != nil {
		return 0, 0, 0, err
	}
	if linear, err = b.exercise(first); err != nil {
		return 0, 0, 0, err
	}
	before, err := weight()
	if err != nil {
		return 0, 0, 0, err
	}
	var all []*wasmhost.Plugin
	for range instances {
		p, err := b.loadGuest(engine, language, protocol.Action, 1)
		if err != nil {
			return 0, 0, 0, err
		}
		if _, err := b.exercise(p); err != nil {
			return 0, 0, 0, err
		}
		all = append(all, p)
	}
	full, err := weight()
	if err != nil {
		return 0, 0, 0, err
	}
	for _, p := range all {
		p.Rest()
	}
	rested, err := weight()
	return (full - before) / instances, (rested - before) / instances, linear, err
}

// exercise has an action answer a hundred events and returns its linear memory in MiB.
func (b *bench) exercise(p *wasmhost.Plugin) (linear float64, err error) {
	data, err := wasmhost.FromJSON([]byte(event200))
	if err != nil {
		return 0, err
	}
	now := protocol.Stamp{UnixMS: time.Now().UnixMilli(), Quality: protocol.QualityClock}
	event := &protocol.Event{Workflow: benchWorkflow, Revision: 1, Time: now, Data: data}
	for range 100 {
		a := p.Call(b.ctx, wasmhost.Request{Kind: wasmhost.Run, Now: now, Event: event, Key: "key"})
		if a.Error != nil {
			return 0, a.Error
		}
		linear = float64(a.Usage.MemoryB) / (1 << 20)
	}
	return linear, nil
}

// weight returns the resident MiB of this process without garbage.
func weight() (float64, error) {
	debug.FreeOSMemory()
	b, err := residentOf(os.Getpid())
	return b / (1 << 20), err
}
