package edge

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// callsMax bounds the calls that wait for one instance. The agent has one under way,
// and a load.
const callsMax = 8

// HostConfig is what a Host is made of.
type HostConfig struct {
	Engine *wasmhost.Host
	Store  Store // artifacts
	// Answered takes the end of every call, on any goroutine; it must not wait.
	Answered func(Answered)
	// Audit takes what plugins used of their grants since they were asked last; nil if
	// nobody wants to know.
	Audit func([]protocol.Audit)
	// KV gives an instance what it puts by; nil keeps it in memory.
	KV func(Instance) wasmhost.KV
	// Rest ends instances that were not asked for so long, to free their memory; the
	// next question starts a fresh one. 0 means never.
	Rest time.Duration
	Log  *slog.Logger
}

// Host runs plugins in wasmhost. Each instance has a goroutine of its own: a plugin is
// waited for, and neither the agent nor another plugin may have to wait with it. They
// end with Stop, or all with the context of NewHost.
type Host struct {
	cfg     HostConfig
	ctx     context.Context
	loading chan struct{} // holds one: loads go one at a time, to bound the memory
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
	calls    chan Call
	after    <-chan struct{} // closed when the instance before it has ended; may be nil
	done     chan struct{}
	plugin   *wasmhost.Plugin // nil until loaded
	rests    bool
	told     map[string]protocol.Audit
}

// NewHost returns a Host whose plugins all end with ctx; Wait waits for that.
func NewHost(ctx context.Context, cfg HostConfig) *Host {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Host{cfg: cfg, ctx: ctx, loading: make(chan struct{}, 1), workers: map[Instance]*worker{}}
}

// Start begins a call. See Plugins.
func (h *Host) Start(c Call) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.workers[c.Instance]
	if w == nil || w.ctx.Err() != nil {
		w = h.hire(c.Instance, w)
	}
	select {
	case w.calls <- c:
	default:
		h.refuse(c, "too many calls wait for it")
	}
}

// hire starts a worker for an instance, behind the one that is ending. Called with mu.
func (h *Host) hire(i Instance, before *worker) *worker {
	w := &worker{
		host: h, instance: i, calls: make(chan Call, callsMax), done: make(chan struct{}),
		told: map[string]protocol.Audit{},
	}
	if before != nil {
		w.after = before.done
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

func (h *Host) refuse(c Call, why string) {
	err := protocol.Errorf(protocol.CodeUnavailable, "plugin of workflow %q step %q: %s",
		c.Instance.Workflow, c.Instance.Step, why)
	h.cfg.Answered(Answered{ID: c.ID, Instance: c.Instance, Answer: wasmhost.Answer{Error: err}})
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
		case c := <-w.calls:
			stop()
			w.host.cfg.Answered(Answered{ID: c.ID, Instance: c.Instance, Answer: w.do(c)})
			w.audit()
			w.rests = false
		case <-idle:
			w.rests = w.plugin.Rest()
		}
	}
}

// idle returns a channel that rings when the instance may rest.
func (w *worker) idle() (<-chan time.Time, func()) {
	if w.host.cfg.Rest <= 0 || w.plugin == nil || w.rests {
		return nil, func() {}
	}
	timer := time.NewTimer(w.host.cfg.Rest)
	return timer.C, func() { timer.Stop() }
}

// end frees the plugin and answers the calls that were not begun.
func (w *worker) end() {
	w.cancel()
	if w.plugin != nil {
		w.audit()
		w.plugin.Close(context.WithoutCancel(w.ctx))
	}
	h := w.host
	h.mu.Lock()
	if h.workers[w.instance] == w {
		delete(h.workers, w.instance)
	}
	h.mu.Unlock()
	close(w.done)
	for {
		select {
		case c := <-w.calls:
			h.refuse(c, "it was stopped")
		default:
			return
		}
	}
}

func (w *worker) do(c Call) wasmhost.Answer {
	switch {
	case w.ctx.Err() != nil:
		return wasmhost.Answer{Error: protocol.Errorf(protocol.CodeUnavailable, "plugin was stopped")}
	case c.Load != nil:
		return wasmhost.Answer{Error: protocol.AsError(w.load(c.Load))}
	case w.plugin == nil:
		return wasmhost.Answer{Error: protocol.Errorf(protocol.CodeUnavailable, "plugin is not loaded")}
	default:
		return w.plugin.Call(w.ctx, *c.Request)
	}
}

// load reads the artifact, checked against its digest once more, and starts it.
func (w *worker) load(l *Load) error {
	if l.Artifact.Platform != protocol.PlatformWASM {
		return protocol.Errorf(protocol.CodeIncompatible, "load %s: this agent runs no %s artifacts",
			&l.Manifest, l.Artifact.Platform)
	}
	h := w.host
	select {
	case h.loading <- struct{}{}:
		defer func() { <-h.loading }()
	case <-w.ctx.Done():
		return protocol.Errorf(protocol.CodeUnavailable, "plugin was stopped")
	}
	wasm, err := h.cfg.Store.ReadFile(l.Artifact.Digest)
	if err != nil {
		return err
	}
	if w.plugin != nil {
		w.plugin.Close(w.ctx)
		w.plugin = nil
	}
	spec := wasmhost.Spec{
		Manifest: l.Manifest, Wasm: wasm, Digest: l.Artifact.Digest, Step: l.Step, Workflow: w.instance.Workflow,
	}
	if h.cfg.KV != nil && w.instance.Step != "" {
		spec.KV = h.cfg.KV(w.instance)
	}
	w.plugin, err = h.cfg.Engine.Load(w.ctx, spec)
	return err
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

var _ Plugins = (*Host)(nil)
