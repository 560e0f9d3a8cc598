package wasmhost

import (
	"context"
	"sync"

	"github.com/stavily/stavily/protocol"
)

// Spec is what a plugin is loaded from.
type Spec struct {
	Manifest protocol.Manifest
	Wasm     []byte
	Digest   protocol.Digest // that Wasm must have
	// Checked says that who read Wasm has just held it against Digest: Load does not again.
	Checked  bool
	Step     protocol.Step // configuration, grants and limits
	Workflow protocol.WorkflowName
	// Args and Env are what an engine that runs a script is started with: its arguments, of
	// which the first is its own name, and its environment as NAME=value. A plugin that is a
	// program itself needs neither.
	Args, Env []string
	// Mounts are read-only folders that the guest finds open, in this order.
	Mounts []Mount
	// KV keeps what the plugin puts by; nil keeps it in memory as long as the Plugin
	// lives.
	KV KV
	// Publish takes what the plugin publishes, checked against its grants. It must not wait.
	// Nil: mqtt.publish is unavailable.
	Publish func(Message) error
}

// Plugin is one plugin in one step of one workflow: its own guest, memory and grants. Its
// methods may be called from any goroutine.
type Plugin struct {
	host   *Host
	spec   Spec
	limits protocol.Limits
	start  start // but for the grants: see setup
	room   Room
	log    *lineWriter
	kv     KV
	files  *files
	budget *budget

	turn   chan struct{} // holds one value while a call is under way, which guards the fields below
	live   Carrier       // nil: the next call starts one
	conv   *conversation // with live
	warm   warm          // with live
	script script        // records or replays the instance; nil for neither, as nearly always
	late   bool          // its configuration is not known before the first request

	answers []Answer // to the batch before; used again

	mu     sync.Mutex // guards the fields below
	ending Carrier    // live, for Close
	closed bool
	wishes Grants
	grants Grants
	counts counts
}

// Load makes a plugin ready: it checks the digest, verifies the module, compiles it
// unless another plugin has it in use, starts an instance and waits until that is
// ready. Errors: CodeDigest, CodeUnverified, CodeLimit, CodeBadInput for a
// configuration that is no value, and whatever the plugin's own start ends in.
func (h *Host) Load(ctx context.Context, s Spec) (*Plugin, error) {
	p, err := h.load(ctx, s)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeOf(err), "load %s: %w", &s.Manifest, err)
	}
	return p, nil
}

func (h *Host) load(ctx context.Context, s Spec) (*Plugin, error) {
	if err := s.named(); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	verdict, err := h.runnable(&s)
	if err != nil {
		return nil, err
	}
	p, err := h.newPlugin(s)
	if err != nil {
		return nil, err
	}
	c, err := h.admit(ctx, s.Wasm, s.Digest, verdict)
	if err != nil {
		return nil, err
	}
	p.spec.Wasm = nil
	p.room = &moduleRoom{p, c, verdict}
	if err := p.enter(ctx); err != nil {
		return nil, err
	}
	return p, p.open(ctx)
}

// runnable returns the verdict on a module that may run here.
func (h *Host) runnable(s *Spec) (Verdict, error) {
	v, err := h.verified(s.Wasm, s.Digest, &s.Manifest)
	if err == nil && !v.Metered && !h.cfg.AllowUnmetered {
		err = protocol.Errorf(protocol.CodeUnverified, "module is not metered: a loop in it could not be stopped")
	}
	return v, err
}

// named checks that the manifest names a plugin of a known type.
func (s *Spec) named() error {
	if err := s.Manifest.Plugin.Name.Check(); err != nil {
		return err
	}
	return s.Manifest.Plugin.Type.Check()
}

// check holds the module against its digest.
func (s *Spec) check() error {
	if s.Checked {
		return nil
	}
	if got := protocol.DigestOf(s.Wasm); got != s.Digest {
		return protocol.Errorf(protocol.CodeDigest, "module has digest %s, want %s",
			got.Short(), s.Digest.Short())
	}
	return nil
}

// enter tells the room of its plugin.
func (p *Plugin) enter(ctx context.Context) error {
	err := p.room.Enter(p)
	if err != nil {
		p.room.Leave(ctx, p)
	}
	return err
}

// open starts the first guest. A plugin that does not start is closed.
func (p *Plugin) open(ctx context.Context) error {
	p.turn <- struct{}{}
	err := p.begin(ctx, !p.late)
	p.yield()
	if err != nil {
		p.Close(ctx)
	}
	return err
}

func (h *Host) newPlugin(s Spec) (*Plugin, error) {
	if len(s.Step.Config) > protocol.ConfigMax {
		return nil, protocol.Errorf(protocol.CodeLimit, "configuration: %d bytes, limit %d",
			len(s.Step.Config), protocol.ConfigMax)
	}
	if err := s.checkWorld(); err != nil {
		return nil, err
	}
	wishes, err := s.Manifest.Wishes()
	if err != nil {
		return nil, err
	}
	p := &Plugin{
		host: h, spec: s, limits: tighter(s.Manifest.Limits.WithDefaults(), s.Step.Limits), kv: s.KV,
		log: newLineWriter(h, s), turn: make(chan struct{}, 1), wishes: wishes,
		files: h.filesOf(s.Manifest.Plugin.Name), budget: h.budgetOf(s.Manifest.Plugin.Name),
		late: len(s.Step.Template) > 0,
	}
	if p.kv == nil {
		p.kv = NewMemoryKV()
	}
	p.start = start{Config: s.Step.Config, Limits: p.limits, Workflow: s.Workflow, Step: s.Step.Name}
	p.SetGrants(s.Step.Grants)
	return p, nil
}

// tighter returns the lower of both limits, field by field; zero in step means no own
// limit.
func tighter(manifest, step protocol.Limits) protocol.Limits {
	out := manifest
	if step.MemoryMB > 0 {
		out.MemoryMB = min(out.MemoryMB, step.MemoryMB)
	}
	if step.CPUCores > 0 {
		out.CPUCores = min(out.CPUCores, step.CPUCores)
	}
	if step.Seconds > 0 {
		out.Seconds = min(out.Seconds, step.Seconds)
	}
	if step.Files > 0 {
		out.Files = min(out.Files, step.Files)
	}
	if step.Connections > 0 {
		out.Connections = min(out.Connections, step.Connections)
	}
	return out
}

// SetGrants replaces what the plugin may do, from its next host call on. Only what the
// manifest asks for is granted, whatever grants says.
func (p *Plugin) SetGrants(grants []protocol.Grant) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.grants = protocol.Effective(protocol.Intersect(p.wishes, grants))
}

// setup returns what the plugin is told before its first request, with the grants of now.
func (p *Plugin) setup() start {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.start
	s.Grants = p.grants
	return s
}

// Counters returns the uses and denials of each capability since the plugin was
// loaded, in ascending order of capabilities.
func (p *Plugin) Counters() []protocol.Audit {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts.list(p.spec.Manifest.Plugin.Name, p.spec.Workflow)
}

// Call puts one request and returns the answer. Calls run one at a time, in no promised
// order when several wait. An instance that broke the contract, ran into a limit or
// ended is replaced by a fresh one on the next call. Answer.Error has, besides the
// codes of the plugin's own errors (CodePlugin, CodeRetryable): CodeDeadline,
// CodeMemory, CodeContract, CodeLimit, CodeBadInput for a request that does not fit the
// plugin's type, CodeUnavailable when ctx was cancelled or the plugin closed.
func (p *Plugin) Call(ctx context.Context, r Request) Answer {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return Answer{Error: Cancelled(ctx)}
	}
	defer p.yield()
	return p.answer(ctx, r)
}

// answer is Call for who has the turn.
func (p *Plugin) answer(ctx context.Context, r Request) (a Answer) {
	began := p.host.cfg.Clock()
	defer func() {
		if defect := recover(); defect != nil {
			a = Answer{Error: protocol.Errorf(protocol.CodeInternal, "panic in the host: %v", defect)}
			p.drop(a.Error)
		}
		a.Usage.TookUS = p.host.cfg.Clock().Sub(began).Microseconds()
	}()
	if err := p.fits(r); err != nil {
		return Answer{Error: err}
	}
	if err := p.fresh(ctx); err != nil {
		return Answer{Error: protocol.AsError(err)}
	}
	if r.Kind == Check && !p.conv.isSet {
		return Answer{} // what it would check is not known before its first request
	}
	if err := p.configure(ctx, r.Config); err != nil {
		return Answer{Error: protocol.AsError(err)}
	}
	return p.ask(ctx, r)
}

// fits checks that a plugin of this type can be asked r.
func (p *Plugin) fits(r Request) *protocol.Error {
	t := p.spec.Manifest.Plugin.Type
	switch {
	case r.Kind == Wake && t == protocol.Trigger, r.Kind == Check:
		return nil
	case r.Kind == Run && t == protocol.Action, r.Kind == Deliver && t == protocol.Output:
		if r.Event != nil {
			return nil
		}
		return protocol.Errorf(protocol.CodeBadInput, "request %s without an event", r.Kind)
	}
	return protocol.Errorf(protocol.CodeBadInput, "request %q to a plugin of type %s", string(r.Kind), t)
}

// Rest ends the instance of a plugin that is not being called, to free its memory. The
// next call starts a fresh one. It reports whether it did.
func (p *Plugin) Rest() bool {
	select {
	case p.turn <- struct{}{}:
	default:
		return false
	}
	defer func() { <-p.turn }()
	had := p.live != nil
	p.bow()
	return had
}

// Close ends the plugin. A call under way is answered with CodeUnavailable. It may be
// called again.
func (p *Plugin) Close(ctx context.Context) {
	p.mu.Lock()
	again := p.closed
	p.closed = true
	if live := p.ending; live != nil && len(p.turn) > 0 {
		live.End(errClosed)
	}
	p.mu.Unlock()
	if again {
		return
	}
	p.turn <- struct{}{}
	defer func() { <-p.turn }()
	p.bow()
	p.room.Leave(ctx, p)
}
