package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/stavily/stavily/internal/bench/station"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

const (
	eventRounds = 3
	eventTime   = 3 * time.Second // of each round
)

// eventCPU is N1: the CPU of one event on one agent, from the trigger over an action to
// an output, saturated: the trigger gives 64 events whenever it is asked. Everything is
// put on disk on its way, as on a device: within 10 ms where no plugin could change anything
// meanwhile, and before an output that has a grant is asked. Beside it the questions to the
// same plugins alone, without an agent.
func eventCPU(b *bench) ([]line, error) {
	var out []line
	for _, v := range eventVariants {
		c, err := b.newCourse(v.language, wakeEvents, 1)
		if err == nil && v.granted {
			err = c.grant()
		}
		if err != nil {
			return out, err
		}
		value, base, err := inTurn(eventRounds, c.agentCPU, c.pluginCPU)
		if err != nil {
			return out, err
		}
		out = append(out, line{
			"CPU per event, trigger to output, " + v.name + ", durable", value, "µs",
			"the plugins alone", base, atMost(4),
		})
	}
	return out, nil
}

// eventVariants are the workflows of N1 and N2.
var eventVariants = []struct {
	language string
	granted  bool // the output has a grant
	name     string
}{
	{inRust, false, "Rust plugins without grants"},
	{inRust, true, "Rust plugins, the output with a grant"},
	{inGo, false, "Go plugins without grants"},
}

// course is an agent's state directory and its hub.
type course struct {
	*bench
	hub      *station.Hub
	language string
	events   int
	state    string // the agent's folder
}

// newCourse builds the guests and puts an agent's folder where no other course has one.
func (b *bench) newCourse(language string, events, everyMS int) (*course, error) {
	if err := b.buildGuests(language); err != nil {
		return nil, err
	}
	hub, err := b.newNearHub(language, events, everyMS)
	state := fmt.Sprintf("agent-%s-%d-%d", language, events, everyMS)
	return &course{b, hub, language, events, state}, err
}

// grant gives the output a grant, on an agent of its own.
func (c *course) grant() error {
	d := c.hub.Desired
	d.Assignments[0].Outputs[0].Grants = []protocol.Grant{{Capability: protocol.CapKV}}
	c.state += "-granted"
	return sealDesired(c.hub, d)
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
	s, err := station.Open(c.ctx, c.path(c.state), c.hub)
	if err != nil {
		return r, err
	}
	if err := c.rung("the first output", s.Out); err != nil {
		return r, errors.Join(err, s.Close())
	}
	was, _ := s.Count()
	before, err := cpuTime()
	if err == nil {
		err = c.pause(eventTime)
	}
	is, delays := s.Count()
	after, bad := cpuTime()
	r = round{after - before, is - was, delays}
	if r.events == 0 {
		err = errors.Join(err, fmt.Errorf("no event came through in %s", eventTime))
	}
	return r, errors.Join(err, bad, s.Close())
}

// rung waits until a channel is closed.
func (c *course) rung(what string, bell <-chan struct{}) error {
	return c.until(what, func() (bool, error) {
		select {
		case <-bell:
			return true, nil
		default:
			return false, nil
		}
	})
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
		p, err := c.loadGuest(engine, c.language, kind, c.events)
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
