package sim

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"math/bits"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/sim/scenario"
	"github.com/stavily/stavily/wasmhost"
)

// modelEvery is how often a trigger of the simulator's own looks when its configuration
// does not say.
const modelEvery = time.Minute

// model is a plugin of the simulator's own. Its module is a few bytes that say which.
type model struct {
	w  *World
	of *scenario.Plugin
}

// moduleOf returns the bytes that stand for a model's module: they are sealed, fetched,
// kept and checked as any other.
func moduleOf(p *scenario.Plugin) []byte {
	head := fmt.Sprintf("stavily model %s %s@%s\n", p.Model, p.Name, p.Version)
	h := fnv.New64a()
	_, _ = io.WriteString(h, head)
	filler := stream{}
	filler.pcg.Seed(h.Sum64(), 0)
	rest := make([]byte, 12<<10)
	_, _ = filler.Read(rest)
	return append([]byte(head), rest...)
}

// modelType returns the type of plugin that a model is.
func modelType(m scenario.Model) protocol.PluginType {
	switch m {
	case scenario.ModelPass:
		return protocol.Action
	case scenario.ModelSink:
		return protocol.Output
	default:
		return protocol.Trigger
	}
}

// modelWorker is a model in one step on one device.
type modelWorker struct {
	model
	d      *device
	step   edge.Instance
	config modelConfig
	asked  uint64
	salt   uint64
}

// modelConfig is what a workflow may say with a model.
type modelConfig struct {
	every        time.Duration
	signal       string
	above, below *float64
}

func (m *model) load(d *device, i edge.Instance, l *edge.Load) (worker, *protocol.Error) {
	w := &modelWorker{model: *m, d: d, step: i}
	if err := w.config.read(l.Step.Config); err != nil {
		return nil, err
	}
	if s := w.config.signal; s != "" && d.signal(s) == nil {
		return nil, protocol.Errorf(protocol.CodeBadInput, "signal %q: this device has none of that name", s)
	}
	h := fnv.New64a()
	_, _ = io.WriteString(h, d.addr.String()+"/"+string(i.Workflow)+"/"+string(i.Step))
	w.salt = h.Sum64() ^ m.w.seed
	return w, nil
}

func (c *modelConfig) read(raw protocol.Raw) *protocol.Error {
	c.every = modelEvery
	var with map[string]any
	if len(raw) > 0 {
		if err := protocol.Unmarshal(raw, &with); err != nil {
			return protocol.Errorf(protocol.CodeBadInput, "configuration: %w", err)
		}
	}
	if text, ok := with["every"].(string); ok {
		every, err := time.ParseDuration(text)
		if err != nil || every <= 0 {
			return protocol.Errorf(protocol.CodeBadInput, "every %q: want a duration above 0", text)
		}
		c.every = every
	}
	c.signal, _ = with["signal"].(string)
	c.above, c.below = numberOf(with["above"]), numberOf(with["below"])
	return nil
}

func numberOf(v any) *float64 {
	var f float64
	switch n := v.(type) {
	case float64:
		f = n
	case uint64:
		f = float64(n)
	case int64:
		f = float64(n)
	default:
		return nil
	}
	return &f
}

// draw returns the stream of one request: what comes of it follows from the request and
// not from what was asked before.
func (m *modelWorker) draw(key string) stream {
	m.asked++
	var asked [8]byte
	binary.BigEndian.PutUint64(asked[:], m.asked)
	sum := uint64(fnvOffset)
	for i := range len(key) {
		sum = (sum ^ uint64(key[i])) * fnvPrime
	}
	for _, b := range asked {
		sum = (sum ^ uint64(b)) * fnvPrime
	}
	var s stream
	s.pcg.Seed(m.salt, sum)
	return s
}

// What hash/fnv has as 64a; it is drawn for every request, and there each costs three allocations.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

func (m *modelWorker) answer(now int64, r *wasmhost.Request) (wasmhost.Answer, time.Duration) {
	rng := m.draw(r.Key)
	took := rng.spread(m.of.Takes)
	switch {
	case m.w.bad[m.of.Name] > 0:
		return failure(protocol.CodePlugin, "this release is bad"), took
	case r.Kind != wasmhost.Wake && rng.chance(m.of.Fails):
		return failure(protocol.CodeRetryable, "does not work this time"), took
	}
	switch r.Kind {
	case wasmhost.Wake:
		return m.wake(now, r, &rng), took
	case wasmhost.Run:
		return m.pass(r), took
	case wasmhost.Deliver:
		m.d.delivered(r)
	case wasmhost.Check:
	}
	return wasmhost.Answer{}, took
}

func failure(code protocol.Code, text string) wasmhost.Answer {
	return wasmhost.Answer{Error: protocol.Errorf(code, "%s", text)}
}

// pass answers what it was given, padded to the size that the scenario says.
func (m *modelWorker) pass(r *wasmhost.Request) wasmhost.Answer {
	if m.of.Bytes > 0 {
		return wasmhost.Answer{Data: protocol.MustMarshal(make([]byte, min(m.of.Bytes, protocol.DataMax-16)))}
	}
	return wasmhost.Answer{Data: r.Event.Data}
}

func (m *modelWorker) wake(now int64, r *wasmhost.Request, rng *stream) wasmhost.Answer {
	var n int64
	if len(r.State) > 0 {
		major, state, rest, ok := protocol.ReadHead(r.State)
		if !ok || major != protocol.MajorUint || len(rest) > 0 {
			return failure(protocol.CodePlugin, "state is not mine")
		}
		n = int64(state)
	}
	next := wasmhost.Next{AfterMS: max(1, m.config.every.Milliseconds())}
	if r.Why == wasmhost.WhyStart { // not all devices of a fleet at once
		next.AfterMS = 1 + int64(rng.unit()*float64(next.AfterMS))
	}
	ans := wasmhost.Answer{State: r.State, Next: next}
	switch m.of.Model {
	case scenario.ModelThreshold:
		m.threshold(now, n, &ans)
	case scenario.ModelCounter:
		m.counter(now, n, &ans)
	default:
		if r.Why == wasmhost.WhyTimer {
			m.fire(&ans, n+1, float64(n+1))
			ans.State = protocol.AppendUint(nil, uint64(n+1))
		}
	}
	return ans
}

// fire adds an event: its number, and a value.
func (m *modelWorker) fire(ans *wasmhost.Answer, n int64, value float64) {
	b := protocol.AppendMap(make([]byte, 0, 24), 2)
	b = protocol.AppendUint(protocol.AppendText(b, "n"), uint64(n))
	b = appendFloat(protocol.AppendText(b, "value"), value)
	ans.Events = append(ans.Events, b)
}

// appendFloat appends what Marshal returns for f.
func appendFloat(b []byte, f float64) []byte {
	if n := uint16(f); float64(n) == f && n > 0 && n < 1<<11 { // half a float holds it
		exp := bits.Len16(n) - 1
		return binary.BigEndian.AppendUint16(append(b, protocol.Float16), uint16(exp+15)<<10|n<<(10-exp)&(1<<10-1))
	}
	return append(b, protocol.MustMarshal(f)...)
}

// threshold fires when the signal goes over its bound. Its state is 1 while it is.
func (m *modelWorker) threshold(now, was int64, ans *wasmhost.Answer) {
	s := m.d.signal(m.config.signal)
	if s == nil {
		return
	}
	v, over := s.at(now), int64(0)
	if m.config.above != nil && v > *m.config.above || m.config.below != nil && v < *m.config.below {
		over = 1
	}
	if over == 1 && was == 0 {
		m.fire(ans, 1, v)
	}
	if over != was {
		ans.State = protocol.AppendUint(nil, uint64(over))
	}
}

// counter fires for each happening of the signal since it was asked last; what does not
// fit one answer comes with the next.
func (m *modelWorker) counter(now, was int64, ans *wasmhost.Answer) {
	s := m.d.signal(m.config.signal)
	if s == nil {
		return
	}
	v := s.at(now)
	for n := was + 1; n <= int64(v) && len(ans.Events) < protocol.EventsMax; n++ {
		m.fire(ans, n, v)
	}
	if len(ans.Events) > 0 {
		ans.State = protocol.AppendUint(nil, uint64(was)+uint64(len(ans.Events)))
	}
}

func (m *modelWorker) memory() uint64 { return uint64(m.of.Memory) }

func (m *modelWorker) end() {}

var (
	_ behaviour = (*model)(nil)
	_ worker    = (*modelWorker)(nil)
)
