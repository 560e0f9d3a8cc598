package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

const (
	eventRounds = 3
	eventTime   = 3 * time.Second // of each round
)

// eventCPU is N1: the CPU of one event on one agent, from the trigger over an action to
// an output, saturated: the trigger gives 64 events whenever it is asked. The plugins
// are of the Go SDK and speak JSON, because the hub builds no Rust yet; everything is
// put on disk on its way, as on a device. Beside it the questions to the same plugins
// alone, without an agent.
func eventCPU(b *bench) ([]line, error) {
	if err := b.buildGuests(); err != nil {
		return nil, err
	}
	c, err := b.newCourse(wakeEvents, 1)
	if err != nil {
		return nil, err
	}
	value, base, err := inTurn(eventRounds, c.agentCPU, c.pluginCPU)
	return []line{{
		"CPU per event, trigger to output, Go plugins, durable", value, "µs", "the plugins alone", base, atMost(4),
	}}, err
}

// eventDelay is N2: the time from an event to the end of its output, no broker between:
// at 500 events a second, where an agent that is slower has a queue before it, and at
// 20, where each event is alone.
func eventDelay(b *bench) ([]line, error) {
	if err := b.buildGuests(); err != nil {
		return nil, err
	}
	var out []line
	for _, v := range []struct {
		everyMS int
		name    string
	}{{2, "at 500 events/s"}, {50, "at 20 events/s"}} {
		c, err := b.newCourse(1, v.everyMS)
		if err != nil {
			return out, err
		}
		c.state = "agent-" + strconv.Itoa(v.everyMS)
		agent, err := c.agentRound()
		if err != nil {
			return out, err
		}
		alone, err := c.pluginRound()
		if err != nil {
			return out, err
		}
		const what, beside = "trigger to output, Go plugins, durable, ", "the plugins alone"
		held := fmt.Sprintf("%s, %.0f/s done", v.name, float64(agent.events)/eventTime.Seconds())
		for _, q := range []struct {
			name string
			at   float64
			most float64
		}{{", p50", 0.5, 60}, {", p99", 0.99, 500}} {
			value, base := quantile(agent.delays, q.at), quantile(alone.delays, q.at)
			out = append(out, line{what + held + q.name, value, "µs", beside, base, atMost(q.most)})
		}
	}
	return out, nil
}

// course is an agent's state directory and its hub.
type course struct {
	*bench
	hub    *nearHub
	events int
	state  string // the agent's folder
}

// newCourse needs the guests to be built.
func (b *bench) newCourse(events, everyMS int) (*course, error) {
	hub, err := b.newNearHub(events, everyMS)
	return &course{b, hub, events, "agent"}, err
}

func (c *course) agentCPU() (float64, error) {
	r, err := c.agentRound()
	return r.perEvent(), err
}

func (c *course) pluginCPU() (float64, error) {
	r, err := c.pluginRound()
	return r.perEvent(), err
}

// round is what came through in a while.
type round struct {
	used   time.Duration // CPU of this process
	events int
	delays []float64 // µs
}

func (r *round) perEvent() float64 { return r.used.Seconds() * 1e6 / float64(r.events) }

// agentRound runs the agent for a while after its first output.
func (c *course) agentRound() (r round, err error) {
	s, err := openStation(c.ctx, c.path(c.state), c.hub)
	if err != nil {
		return r, err
	}
	err = c.until("the first output", func() (bool, error) {
		select {
		case <-s.out:
			return true, nil
		default:
			return false, nil
		}
	})
	if err != nil {
		return r, errors.Join(err, s.close())
	}
	was, _ := s.count()
	before, err := cpuTime()
	if err == nil {
		err = c.pause(eventTime)
	}
	is, delays := s.count()
	after, bad := cpuTime()
	r = round{after - before, is - was, delays}
	if r.events == 0 {
		err = errors.Join(err, fmt.Errorf("no event came through in %s", eventTime))
	}
	return r, errors.Join(err, bad, s.close())
}

// pluginRound puts the same questions to the same plugins, one after the other.
func (c *course) pluginRound() (r round, err error) {
	engine, err := wasmhost.New(c.ctx, wasmhost.Config{CacheDir: c.path(c.state + "/cache")})
	if err != nil {
		return r, err
	}
	defer engine.Close(c.ctx)
	plugins, err := c.loadAll(engine)
	if err != nil {
		return r, err
	}
	before, err := cpuTime()
	for began := time.Now(); err == nil && time.Since(began) < eventTime; {
		var some []float64
		some, err = c.askAll(plugins)
		r.delays = append(r.delays, some...)
	}
	after, bad := cpuTime()
	r.used, r.events = after-before, len(r.delays)
	return r, errors.Join(err, bad)
}

func (c *course) loadAll(engine *wasmhost.Host) (plugins []*wasmhost.Plugin, err error) {
	for _, kind := range guestKinds {
		wasm, err := os.ReadFile(c.path(string(kind) + ".wasm"))
		if err != nil {
			return nil, err
		}
		p, err := engine.Load(c.ctx, wasmhost.Spec{
			Manifest: guestManifest(kind), Wasm: wasm, Digest: protocol.DigestOf(wasm),
			Step: guestStep(kind, protocol.Digest{}, c.events, 1), Workflow: benchWorkflow,
		})
		if err != nil {
			return nil, err
		}
		plugins = append(plugins, p)
	}
	return plugins, nil
}

// askAll wakes the trigger once and takes its events to the output.
func (c *course) askAll(plugins []*wasmhost.Plugin) (delays []float64, err error) {
	now := protocol.Stamp{UnixMS: time.Now().UnixMilli(), Quality: protocol.QualityClock}
	woken := plugins[0].Call(c.ctx, wasmhost.Request{Kind: wasmhost.Wake, Why: wasmhost.WhyTimer, Now: now})
	if woken.Error != nil {
		return nil, woken.Error
	}
	for _, data := range woken.Events {
		began := time.Now()
		event := &protocol.Event{Workflow: benchWorkflow, Revision: 1, Time: now, Data: data}
		ran := plugins[1].Call(c.ctx, wasmhost.Request{Kind: wasmhost.Run, Now: now, Event: event, Key: "key"})
		if ran.Error != nil {
			return nil, ran.Error
		}
		results := []protocol.Result{
			{Workflow: benchWorkflow, Step: "action", Status: protocol.StatusOK, Data: ran.Data},
		}
		told := plugins[2].Call(c.ctx, wasmhost.Request{
			Kind: wasmhost.Deliver, Now: now, Event: event, Results: results, Key: "key",
		})
		if told.Error != nil {
			return nil, told.Error
		}
		delays = append(delays, float64(time.Since(began).Nanoseconds())/1000)
	}
	return delays, nil
}
