package main

import (
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
		_, delays, err := c.agentRound()
		if err != nil {
			return out, err
		}
		_, alone, err := c.pluginRound()
		if err != nil {
			return out, err
		}
		held := fmt.Sprintf(", %.0f/s done", float64(len(delays))/eventTime.Seconds())
		const what, beside = "trigger to output, Go plugins, durable, ", "the plugins alone"
		out = append(out,
			line{what + v.name + held + ", p50", median(delays), "µs", beside, median(alone), atMost(60)},
			line{what + v.name + held + ", p99", quantile(delays, 0.99), "µs", beside, quantile(alone, 0.99), atMost(500)},
		)
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
	used, delays, err := c.agentRound()
	return used.Seconds() * 1e6 / float64(len(delays)), err
}

func (c *course) pluginCPU() (float64, error) {
	used, delays, err := c.pluginRound()
	return used.Seconds() * 1e6 / float64(len(delays)), err
}

// agentRound runs the agent for a while after its first output, and returns the CPU
// that this process used meanwhile and the delay of each event.
func (c *course) agentRound() (used time.Duration, delays []float64, err error) {
	s, err := openStation(c.ctx, c.path(c.state), c.hub)
	if err != nil {
		return 0, nil, err
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
		return 0, nil, fmt.Errorf("%w: agent %+v: %w", err, s.agent.Status(), s.close())
	}
	s.count()
	before, _ := cpuTime()
	if err := c.pause(eventTime); err != nil {
		return 0, nil, err
	}
	_, delays = s.count()
	after, err := cpuTime()
	if bad := s.close(); err == nil {
		err = bad
	}
	if err == nil && len(delays) == 0 {
		err = fmt.Errorf("no event came through in %s", eventTime)
	}
	return after - before, delays, err
}

// pluginRound puts the same questions to the same plugins, one after the other.
func (c *course) pluginRound() (used time.Duration, delays []float64, err error) {
	engine, err := wasmhost.New(c.ctx, wasmhost.Config{CacheDir: c.path(c.state + "/cache")})
	if err != nil {
		return 0, nil, err
	}
	defer engine.Close(c.ctx)
	var plugins []*wasmhost.Plugin
	for _, kind := range guestKinds {
		wasm, err := os.ReadFile(c.path(string(kind) + ".wasm"))
		if err != nil {
			return 0, nil, err
		}
		p, err := engine.Load(c.ctx, wasmhost.Spec{
			Manifest: guestManifest(kind), Wasm: wasm, Digest: protocol.DigestOf(wasm),
			Step: guestStep(kind, protocol.Digest{}, c.events, 1), Workflow: benchWorkflow,
		})
		if err != nil {
			return 0, nil, err
		}
		plugins = append(plugins, p)
	}
	before, _ := cpuTime()
	for began := time.Now(); time.Since(began) < eventTime && c.ctx.Err() == nil; {
		some, err := c.askAll(plugins)
		if err != nil {
			return 0, nil, err
		}
		delays = append(delays, some...)
	}
	after, err := cpuTime()
	return after - before, delays, err
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
		results := []protocol.Result{{Workflow: benchWorkflow, Step: "action", Status: protocol.StatusOK, Data: ran.Data}}
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
