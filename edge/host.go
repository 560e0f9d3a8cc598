package edge

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// callsMax bounds the calls that wait for one instance. The agent has as many under way as
// one request holds, and a load.
const callsMax = wasmhost.BatchMax + 16

// HostConfig is what a Host is made of.
type HostConfig struct {
	Engine *wasmhost.Host
	// Native loads a native artifact, which Spec.Wasm holds. Nil: this agent runs none.
	Native func(context.Context, wasmhost.Spec) (wasmhost.Loaded, error)
	Store  Store // artifacts
	// Answered takes the end of every call, on any goroutine; it must not wait. Not with Together.
	Answered func(Answered)
	// Together takes the ends of calls that ended together, in place of Answered. The slice is
	// its own only until it returns. Nil: Answered takes one after the other.
	Together func([]Answered)
	// Audit takes what plugins used of their grants since they were asked last; nil if
	// nobody wants to know.
	Audit func([]protocol.Audit)
	// KV gives an instance what it puts by; nil keeps it in memory.
	KV func(Instance) wasmhost.KV
	// Publish takes what plugins publish on local topics, on any goroutine; it must not wait.
	// Nil: they may not.
	Publish func(Publication) error
	// Recorded takes what came of Record, on any goroutine; it must not wait. Nil: nothing is
	// recorded.
	Recorded func(Recorded)
	// Rest frees plugins that were not asked for so long, their code too; the next
	// question loads them again, from the disk and checked again. One that is costly to
	// load rests later, one that was loaded and not asked yet sooner. 0 means never.
	Rest time.Duration
	// Loads bounds the loads under way at once; 0 means one. More are faster and need
	// more memory.
	Loads int
	// Freed is called, on any goroutine, when a load or a rest has left garbage behind.
	// It must not wait. Nil if nobody wants to know.
	Freed func()
	Log   *slog.Logger
}

// Host runs plugins in wasmhost. Each instance has a goroutine of its own: a plugin is
// waited for, and neither the agent nor another plugin may have to wait with it. They
// end with Stop, or all with the context of NewHost.
type Host struct {
	cfg     HostConfig
	ctx     context.Context
	loading chan struct{} // holds a token for each load under way
	trees   trees
	all     sync.WaitGroup

	mu      sync.Mutex // guards the field below
	workers map[Instance]*worker
}

// worker is the goroutine of one instance.
type worker struct {
	host     *Host
	instance Instance
	ctx      context.Context
	cancel   context.CancelFunc
	calls    chan []Call     // of each that are put together, one at least
	waiting  atomic.Int32    // calls in there
	after    <-chan struct{} // closed when the instance before it has ended; may be nil
	done     chan struct{}
	plugin   wasmhost.Loaded // nil until loaded, and while it rests
	of       *Load           // what plugin was loaded from; nil until it was
	kv       wasmhost.KV
	took     time.Duration // the last load
	asked    bool          // since it was loaded
	next     time.Duration // when it wants to be asked again; 0: it did not say
	told     map[string]protocol.Audit
	says     *publisher // nil: it may not publish
	orders   chan protocol.RecordOrder
	taping   *taping // nil: nothing is recorded

	requests []wasmhost.Request // of a batch; used again
	ends     []Answered         // of a batch; used again
}

// NewHost returns a Host whose plugins all end with ctx; Wait waits for that.
func NewHost(ctx context.Context, cfg HostConfig) *Host {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Host{
		cfg: cfg, ctx: ctx, loading: make(chan struct{}, max(1, cfg.Loads)), workers: map[Instance]*worker{},
	}
}

// Start begins a call. See Plugins.
func (h *Host) Start(c Call) { h.StartAll([]Call{c}) }

// StartAll begins calls in order. Those of one instance that can be put to it as one wait as
// one. The slice is the Host's from then on.
func (h *Host) StartAll(calls []Call) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for n := 1; len(calls) > 0; n = 1 {
		for n < len(calls) && calls[n].Instance == calls[0].Instance && joins(&calls[0], &calls[n]) {
			n++
		}
		h.give(calls[:n:n])
		calls = calls[n:]
	}
}

// give hands calls to their worker. Called with mu.
func (h *Host) give(calls []Call) {
	w := h.workers[calls[0].Instance]
	if w == nil || w.ctx.Err() != nil {
		w = h.hire(calls[0].Instance, w)
	}
	if w.waiting.Add(int32(len(calls))) > callsMax {
		w.waiting.Add(int32(-len(calls)))
		for i := range calls {
			h.refuse(&calls[i], "too many calls wait for it")
		}
		return
	}
	w.calls <- calls // there is room for as many as may wait
}

// hire starts a worker for an instance, behind the one that is ending. Called with mu.
func (h *Host) hire(i Instance, before *worker) *worker {
	w := &worker{host: h, instance: i, calls: make(chan []Call, callsMax), done: make(chan struct{})}
	w.orders = make(chan protocol.RecordOrder, 1)
	if before != nil {
		w.after = before.done
	}
	if h.cfg.Publish != nil {
		w.says = newPublisher(i, h.cfg.Publish)
	}
	w.ctx, w.cancel = context.WithCancel(h.ctx)
	h.workers[i] = w
	h.all.Add(1)
	go w.run()
	return w
}

// Stop ends an instance. See Plugins.
func (h *Host) Stop(i Instance) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if w := h.workers[i]; w != nil {
		w.cancel()
	}
}

// Wait returns when every plugin has ended, after the context of NewHost has.
func (h *Host) Wait() { h.all.Wait() }

func (h *Host) refuse(c *Call, why string) {
	err := protocol.Errorf(protocol.CodeUnavailable, "plugin of workflow %q step %q: %s",
		c.Instance.Workflow, c.Instance.Step, why)
	h.answered([]Answered{{ID: c.ID, Instance: c.Instance, Answer: wasmhost.Answer{Error: err}}})
}

func (h *Host) answered(ends []Answered) {
	if h.cfg.Together != nil {
		h.cfg.Together(ends)
		return
	}
	for _, in := range ends {
		h.cfg.Answered(in)
	}
}

// run does one call after the other until the instance is stopped.
func (w *worker) run() {
	defer w.host.all.Done()
	defer w.end()
	if w.after != nil {
		<-w.after
	}
	for {
		idle, stop := w.idle()
		select {
		case <-w.ctx.Done():
			stop()
			return
		case some := <-w.calls:
			stop()
			w.serve(some)
			w.audit()
		case <-idle:
			w.rest()
		}
	}
}

// restLoads is how many times as long as its load a plugin waits before it rests: what
// loading again costs is at most a fiftieth of a core.
const restLoads = 50

// idle returns a channel that rings when the plugin is to rest.
func (w *worker) idle() (<-chan time.Time, func()) {
	wait := w.host.cfg.Rest
	if wait <= 0 || w.plugin == nil || w.taping != nil {
		return nil, func() {}
	}
	switch long := max(wait, restLoads*w.took); {
	case !w.asked || w.next >= long:
		wait /= 4
	default:
		wait = long
	}
	timer := time.NewTimer(wait)
	return timer.C, func() { timer.Stop() }
}

// rest frees the plugin and its code.
func (w *worker) rest() {
	if w.plugin == nil {
		return
	}
	w.untape()
	w.audit()
	w.plugin.Close(context.WithoutCancel(w.ctx))
	w.plugin = nil
	w.host.freed()
}

func (h *Host) freed() {
	if h.cfg.Freed != nil {
		h.cfg.Freed()
	}
}

// end frees the plugin and answers the calls that were not begun.
func (w *worker) end() {
	w.cancel()
	w.rest()
	h := w.host
	h.mu.Lock()
	if h.workers[w.instance] == w {
		delete(h.workers, w.instance)
	}
	h.mu.Unlock()
	close(w.done)
	for {
		select {
		case some := <-w.calls:
			for i := range some {
				h.refuse(&some[i], "it was stopped")
			}
		default:
			return
		}
	}
}

// serve answers calls, and with them those that wait behind them.
func (w *worker) serve(some []Call) {
	w.waiting.Add(int32(-len(some)))
	for len(some) > 0 {
		together, next := w.gather(some)
		w.do(together)
		some = next
	}
}

// gather returns the first calls with those that wait behind them and can be put as one with
// them, and those after them that cannot.
func (w *worker) gather(first []Call) (together, next []Call) {
	for {
		select {
		case some := <-w.calls:
			w.waiting.Add(int32(-len(some)))
			if !joins(&first[0], &some[0]) {
				return first, some
			}
			first = append(first, some...)
		default:
			return first, nil
		}
	}
}

// joins reports whether two calls of one instance can be put as one.
func joins(c, d *Call) bool {
	return batches(c) && batches(d) && c.Request.Kind == d.Request.Kind
}

func batches(c *Call) bool {
	return c.Request != nil && (c.Request.Kind == wasmhost.Run || c.Request.Kind == wasmhost.Deliver)
}

// do answers a load, or requests that can be put as one.
func (w *worker) do(together []Call) {
	lost, err := w.prepare(&together[0])
	var answers []wasmhost.Answer
	if err == nil && together[0].Load == nil {
		answers = w.ask(together)
		w.asked, w.next = true, time.Duration(answers[0].Next.AfterMS)*time.Millisecond
	}
	ends := w.ends[:0]
	for i := range together {
		end := Answered{ID: together[i].ID, Instance: together[i].Instance, Lost: lost}
		switch {
		case err != nil:
			end.Answer.Error = protocol.AsError(err)
		case answers != nil:
			end.Answer = answers[i]
		}
		ends = append(ends, end)
	}
	w.host.answered(ends)
	clear(ends)
	w.ends = ends
}

// prepare does a load, or makes sure that the plugin is there to be asked.
func (w *worker) prepare(c *Call) (lost bool, err error) {
	switch {
	case w.ctx.Err() != nil:
		return false, errStopped
	case c.Load != nil:
		return false, w.load(c.Load)
	case w.of == nil:
		return false, protocol.Errorf(protocol.CodeUnavailable, "plugin is not loaded")
	case w.plugin == nil:
		err = w.load(w.of)
		return err != nil, err
	}
	return false, nil
}

// batcher is a plugin that takes several requests at once.
type batcher interface {
	CallBatch(ctx context.Context, rs []wasmhost.Request) []wasmhost.Answer
}

func (w *worker) ask(together []Call) []wasmhost.Answer {
	if w.says != nil {
		w.says.asked(together)
	}
	var out []wasmhost.Answer
	for i := range together {
		a, did := w.taped(*together[i].Request)
		if !did {
			break
		}
		out = append(out, a)
	}
	if all, ok := w.plugin.(batcher); ok && len(together) > 1 && len(out) == 0 {
		rs := w.requests[:0]
		for i := range together {
			rs = append(rs, *together[i].Request)
		}
		out = all.CallBatch(w.ctx, rs)
		clear(rs)
		w.requests = rs
		return out
	}
	for i := len(out); i < len(together); i++ {
		out = append(out, w.plugin.Call(w.ctx, *together[i].Request))
	}
	return out
}

var errStopped = protocol.Errorf(protocol.CodeUnavailable, "plugin was stopped")

// load reads the artifact, checked against its digest once more, and starts it.
func (w *worker) load(l *Load) error {
	h := w.host
	if l.Artifact.Platform != protocol.PlatformWASM && h.cfg.Native == nil {
		return protocol.Errorf(protocol.CodeIncompatible, "load %s: this agent runs no %s artifacts",
			&l.Manifest, l.Artifact.Platform)
	}
	select {
	case h.loading <- struct{}{}:
		defer func() { <-h.loading }()
	case <-w.ctx.Done():
		return errStopped
	}
	defer h.freed()
	began := time.Now()
	spec, err := h.spec(l)
	if err != nil {
		return err
	}
	spec.Workflow, spec.KV = w.instance.Workflow, w.keeps()
	if w.says != nil {
		spec.Publish = func(m wasmhost.Message) error { return w.says.publish(time.Now(), m) }
	}
	if w.plugin != nil {
		w.untape()
		w.plugin.Close(w.ctx)
		w.plugin = nil
	}
	w.of, w.asked, w.told = nil, false, map[string]protocol.Audit{}
	plugin, err := h.start(w.ctx, l.Artifact.Platform, spec)
	if err != nil {
		return err
	}
	w.plugin, w.of, w.took = plugin, l, time.Since(began)
	return nil
}

// start starts a plugin by the kind of its artifact: a module in the engine, anything else
// as a process.
func (h *Host) start(ctx context.Context, platform string, s wasmhost.Spec) (wasmhost.Loaded, error) {
	if platform != protocol.PlatformWASM {
		return h.cfg.Native(ctx, s)
	}
	p, err := h.cfg.Engine.Load(ctx, s)
	if err != nil {
		return nil, err // and not a Loaded that holds no plugin
	}
	return p, nil
}

// keeps returns where the plugin puts by. What it puts by outlives its rests.
func (w *worker) keeps() wasmhost.KV {
	switch {
	case w.kv != nil:
	case w.host.cfg.KV != nil && w.instance.Step != "":
		w.kv = w.host.cfg.KV(w.instance)
	default:
		w.kv = wasmhost.NewMemoryKV()
	}
	return w.kv
}

// audit hands on what the plugin used of its grants since it was asked last.
func (w *worker) audit() {
	if w.host.cfg.Audit == nil || w.plugin == nil {
		return
	}
	var news []protocol.Audit
	for _, now := range w.plugin.Counters() {
		old := w.told[now.Capability]
		if now.Allowed == old.Allowed && now.Denied == old.Denied {
			continue
		}
		w.told[now.Capability] = now
		now.Allowed -= min(old.Allowed, now.Allowed)
		now.Denied -= min(old.Denied, now.Denied)
		news = append(news, now)
	}
	if len(news) > 0 {
		w.host.cfg.Audit(news)
	}
}

var (
	_ Plugins = (*Host)(nil)
	_ batcher = (*wasmhost.Plugin)(nil)
)
