package sim

import (
	"slices"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// What loading costs: reading the flash and making the code ready to run.
const (
	loadTime   = 20 * time.Millisecond
	flashSpeed = 8 << 20 // bytes a second
)

// behaviour is what answers for the bytes of an artifact.
type behaviour interface {
	// load makes an instance; the error is why it does not start.
	load(d *device, i edge.Instance, l *edge.Load) (worker, *protocol.Error)
}

// worker is one plugin in one step on one device.
type worker interface {
	// answer answers a request, and says how long that takes on a device of speed 1.
	answer(now int64, r *wasmhost.Request) (wasmhost.Answer, time.Duration)
	// memory returns how many bytes of memory it holds.
	memory() uint64
	// end frees what the worker holds.
	end()
}

// plugins is the room of one device in which its plugins run. It is the agent's
// edge.Plugins.
type plugins struct {
	d         *device
	instances []instance
}

// instance is one plugin in one step.
type instance struct {
	name  edge.Instance
	of    worker // nil until loaded
	free  int64  // when it can be asked next
	calls []edge.CallID
}

// answered is the end of a call on its way to the agent.
type answered struct {
	edge.Answered
	gen uint64 // the boot that asked
}

// Start begins a call. Its answer comes as an item of the queue.
func (p *plugins) Start(c edge.Call) {
	if p.d.disk.dead {
		return
	}
	i := p.instance(c.Instance, true)
	for _, check := range p.d.w.checks {
		check.asked(p.d, &c)
	}
	out := edge.Answered{ID: c.ID, Instance: c.Instance}
	begin := max(p.d.w.now, i.free)
	var took time.Duration
	switch {
	case c.Load != nil:
		out.Answer.Error, took = p.load(i, c.Load)
	case i.of == nil:
		out.Answer.Error = protocol.Errorf(protocol.CodeUnavailable, "plugin is not loaded")
	default:
		out.Answer, took = i.of.answer(begin, c.Request)
		took = p.d.pace(took)
		limitTime(&out.Answer, &took, c.Request)
		out.Answer.Usage.TookUS = took.Microseconds()
	}
	i.calls = append(i.calls, c.ID)
	i.free = begin + int64(took)
	p.d.w.push(item{at: i.free, kind: kindAnswer, d: p.d, arg: &answered{out, p.d.boots}})
}

// limitTime ends a request that takes longer than it may.
func limitTime(a *wasmhost.Answer, took *time.Duration, r *wasmhost.Request) {
	limit := time.Duration(r.TimeoutMS) * time.Millisecond
	if limit == 0 {
		limit = time.Duration(protocol.DefaultLimits().Seconds) * time.Second
	}
	if *took > limit {
		*a, *took = wasmhost.Answer{Error: protocol.Errorf(protocol.CodeDeadline, "took longer than %d ms",
			limit.Milliseconds())}, limit
	}
}

// load reads an artifact as wasmhost does, from the disk and checked, and makes a worker.
func (p *plugins) load(i *instance, l *edge.Load) (*protocol.Error, time.Duration) {
	took := loadTime + time.Duration(float64(l.Artifact.Size)/flashSpeed*float64(time.Second))
	module, err := p.d.disk.ReadFile(l.Artifact.Digest)
	if err != nil {
		return protocol.AsError(err), took
	}
	if i.of != nil {
		i.of.end()
		i.of = nil
	}
	b, known := p.d.w.code[protocol.DigestOf(module)]
	for _, check := range p.d.w.checks {
		check.ran(p.d, l, module)
	}
	if !known && p.d.w.strange() { // a release of that hub: a module like any other
		b, known = &guest{w: p.d.w}, true
	}
	if !known {
		return protocol.Errorf(protocol.CodeUnverified, "load %s: no module", &l.Manifest), took
	}
	of, bad := b.load(p.d, i.name, l)
	if bad != nil {
		return bad, p.d.pace(took)
	}
	i.of = of
	return nil, p.d.pace(took)
}

// Stop ends an instance. What it was asked is answered with CodeUnavailable.
func (p *plugins) Stop(name edge.Instance) {
	at := slices.IndexFunc(p.instances, func(i instance) bool { return i.name == name })
	if at < 0 {
		return
	}
	i := p.instances[at]
	p.instances = slices.Delete(p.instances, at, at+1)
	if i.of != nil {
		i.of.end()
	}
	for _, id := range i.calls {
		gone := edge.Answered{ID: id, Instance: name, Answer: wasmhost.Answer{
			Error: protocol.Errorf(protocol.CodeUnavailable, "plugin was stopped"),
		}}
		p.d.w.push(item{at: p.d.w.now, kind: kindAnswer, d: p.d, n: 1, arg: &answered{gone, p.d.boots}})
	}
}

// memory returns how many bytes of memory all instances hold.
func (p *plugins) memory() (n uint64) {
	for i := range p.instances {
		if of := p.instances[i].of; of != nil {
			n += of.memory()
		}
	}
	return n
}

// clear ends all instances without a word: the process has ended.
func (p *plugins) clear() {
	for _, i := range p.instances {
		if i.of != nil {
			i.of.end()
		}
	}
	p.instances = nil
}

// instance returns the instance of that name, made if add is set, else perhaps nil.
func (p *plugins) instance(name edge.Instance, add bool) *instance {
	for i := range p.instances {
		if p.instances[i].name == name {
			return &p.instances[i]
		}
	}
	if !add {
		return nil
	}
	p.instances = append(p.instances, instance{name: name})
	return &p.instances[len(p.instances)-1]
}

// ended hands an answer to the agent, unless its call was stopped meanwhile; stopped
// says that it was and this is the answer to that.
func (p *plugins) ended(a *answered, stopped bool) {
	if a.gen != p.d.boots || p.d.agent == nil {
		return
	}
	if !stopped {
		i := p.instance(a.Instance, false)
		if i == nil {
			return
		}
		at := slices.Index(i.calls, a.ID)
		if at < 0 {
			return
		}
		i.calls = slices.Delete(i.calls, at, at+1)
	}
	p.d.answered(a.Answered)
}

var _ edge.Plugins = (*plugins)(nil)
