package wasmhost

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/stavily/stavily/protocol"
)

// endPatience bounds how long the host waits for the goroutine of an ended guest.
const endPatience = 2 * time.Second

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

// Plugin is one plugin in one step of one workflow: its own instance, memory and
// grants. Its methods may be called from any goroutine.
type Plugin struct {
	host   *Host
	spec   Spec
	limits protocol.Limits
	start  start
	code   *code
	log    *lineWriter
	kv     KV
	files  *files
	budget *budget

	turn   chan struct{} // holds one value while a call is under way, which guards the four below
	live   *instance     // nil: the next call starts one
	conv   *conversation // with live
	warm   warm          // with live
	script script        // records or replays the instance; nil for neither, as nearly always
	late   bool          // its configuration is not known before the first request

	mu     sync.Mutex // guards the fields below
	ending *instance  // live, for Close
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
	if err := s.Manifest.Plugin.Name.Check(); err != nil {
		return nil, err
	}
	if err := s.Manifest.Plugin.Type.Check(); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	verdict, err := h.verified(s.Wasm, s.Digest, &s.Manifest)
	if err != nil {
		return nil, err
	}
	if !verdict.Metered && !h.cfg.AllowUnmetered {
		return nil, protocol.Errorf(protocol.CodeUnverified,
			"module is not metered: a loop in it could not be stopped")
	}
	p, err := h.newPlugin(s)
	if err != nil {
		return nil, err
	}
	if p.code, err = h.admit(ctx, s.Wasm, s.Digest, verdict); err != nil {
		return nil, err
	}
	p.spec.Wasm = nil
	if err := h.enter(ctx, p, verdict); err != nil {
		return nil, err
	}
	p.turn <- struct{}{}
	err = p.begin(ctx, !p.late)
	p.yield()
	if err != nil {
		p.Close(ctx)
		return nil, err
	}
	return p, nil
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

// enter puts p among the plugins that Host.Close ends, and keeps what was found out
// about its code.
func (h *Host) enter(ctx context.Context, p *Plugin, v Verdict) error {
	h.mu.Lock()
	closed := h.closed
	if !closed {
		h.plugins[p] = struct{}{}
	}
	h.mu.Unlock()
	h.engine.note(p.code, v)
	if closed {
		h.release(ctx, p.code)
		return errClosed
	}
	return nil
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

// Counters returns the uses and denials of each capability since the plugin was
// loaded, in ascending order of capabilities.
func (p *Plugin) Counters() []protocol.Audit {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts.list(p.spec.Manifest.Plugin.Name, p.spec.Workflow)
}

// begin starts an instance and hears that it is ready, or only its hello when it is set up
// later, within the limit of seconds.
func (p *Plugin) begin(ctx context.Context, setUp bool) error {
	p.log.begin()
	in, err := newInstance(blueprint{
		code: p.code, limits: p.limits, host: p.host, log: p.log,
		world: p.worldly(),
	})
	if err != nil {
		return err
	}
	if err := p.adopt(in); err != nil {
		return err
	}
	stop := p.watch(ctx, in, p.timeout(0))
	defer stop()
	manifest := &p.spec.Manifest
	conv := &conversation{rw: in}
	err = conv.meet(expect{manifest.Plugin.Type, manifest.Plugin.Name})
	if err == nil && setUp {
		err = conv.setUp(p.start)
	}
	if err := p.started(in, conv, err); err != nil {
		return err
	}
	p.conv = conv
	p.warm.ready(p.host.cfg.Clock(), in.memory.size.Load())
	if p.script != nil && setUp {
		p.script.started(p.start, in.tank.spent())
	}
	return nil
}

// started ends an instance whose beginning ended in err, or that did not wait then.
func (p *Plugin) started(in *instance, conv *conversation, err error) error {
	if err == nil && (!in.settle() || conv.unread()) {
		err = contractf("speaks before it is asked")
	}
	if err == nil && in.gone() {
		err = errGone
	}
	if err == nil {
		return nil
	}
	cause := in.why(err)
	p.drop(cause)
	return protocol.Errorf(cause.Code, "start: %w", cause)
}

// worldly is what the next instance is to find.
func (p *Plugin) worldly() worldly {
	w := worldly{args: p.spec.Args, env: p.spec.Env, mounts: p.spec.Mounts}
	if p.script != nil {
		w.tape = p.script.tape()
	}
	return w
}

// adopt makes in the live instance, unless the plugin was closed meanwhile.
func (p *Plugin) adopt(in *instance) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.start.Grants = p.grants
	p.live, p.ending = in, in
	if p.closed {
		in.end(errClosed)
		p.live, p.ending = nil, nil
		return errClosed
	}
	return nil
}

// drop ends the live instance, if there is one, and waits for it.
func (p *Plugin) drop(cause *protocol.Error) {
	in := p.live
	if in == nil {
		return
	}
	p.mu.Lock()
	p.live, p.ending, p.conv = nil, nil, nil
	p.mu.Unlock()
	in.end(cause)
	if !in.await(endPatience) {
		p.log.line(8, "guest does not end: "+cause.Text)
	}
}

// timeout returns how long a request may take.
func (p *Plugin) timeout(askedMS int64) time.Duration {
	limit := time.Duration(p.limits.Seconds) * time.Second
	if asked := time.Duration(askedMS) * time.Millisecond; askedMS > 0 && asked < limit {
		return asked
	}
	return limit
}

// watch ends in when ctx is cancelled or when it took longer than d. The function that
// it returns ends the watch.
func (p *Plugin) watch(ctx context.Context, in *instance, d time.Duration) (stop func()) {
	timer := time.AfterFunc(d, func() {
		in.end(protocol.Errorf(protocol.CodeDeadline, "took longer than %d ms", d.Milliseconds()))
	})
	if ctx.Done() == nil {
		return func() { timer.Stop() }
	}
	after := context.AfterFunc(ctx, func() {
		in.end(Cancelled(ctx))
	})
	return func() { timer.Stop(); after() }
}

var (
	errClosed = protocol.Errorf(protocol.CodeUnavailable, "plugin was closed")
	errGone   = fmt.Errorf("guest has gone")
)

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

// fresh makes sure that there is a live instance.
func (p *Plugin) fresh(ctx context.Context) error {
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	switch {
	case closed:
		return errClosed
	case p.live != nil && !p.live.gone():
		return nil
	case p.live != nil:
		p.drop(errClosed)
	}
	return p.begin(ctx, !p.late)
}

// ask puts r to the live instance.
func (p *Plugin) ask(ctx context.Context, r Request) Answer {
	in, limit := p.live, p.timeout(r.TimeoutMS)
	r.TimeoutMS = limit.Milliseconds()
	p.log.begin()
	fuel := in.tank.spent()
	in.tank.resume(p.host.cfg.Clock())
	stop := p.watch(ctx, in, limit)
	defer stop()
	req := &request{p: p, ctx: ctx, in: in, limit: limit}
	defer req.close()
	a, err := p.conv.ask(r, p.directed(r, req))
	if err == nil && (!in.settle() || p.conv.unread()) {
		err = contractf("says more than was asked")
	}
	if err != nil {
		a = Answer{Error: p.broken(in, err)}
	}
	if in.gone() && a.Error == nil {
		p.parted(in)
	}
	a.Usage = Usage{MemoryB: in.memory.size.Load(), HostCalls: req.calls, Denied: req.denied}
	if p.live == in || in.finished() { // else it may still be paying
		a.Usage.Fuel = in.tank.spent() - fuel
	}
	if p.script != nil {
		p.script.answered(a)
	}
	return a
}

// parted lets go of an instance that has ended after its answer.
func (p *Plugin) parted(in *instance) {
	if !in.ended() {
		in.await(endPatience) // it is closing its module: what it has paid is known then
	}
	p.log.line(4, "guest ended after its answer")
	p.drop(errClosed)
}

// directed returns who answers the host calls of a request: the host, unless a script does.
func (p *Plugin) directed(r Request, req *request) callee {
	if p.script == nil {
		return req
	}
	p.script.asked(r)
	return p.script.callee(req.in, req)
}

// broken makes the answer's error of what ended the conversation, and ends the instance
// unless the conversation can go on: after an error of the plugin's own, or a bound
// that was kept.
func (p *Plugin) broken(in *instance, err error) *protocol.Error {
	switch protocol.CodeOf(err) {
	case protocol.CodePlugin, protocol.CodeRetryable, protocol.CodeLimit, protocol.CodeBadInput:
		if in.settle() && !p.conv.unread() && !in.gone() {
			return protocol.AsError(err)
		}
	default: // whatever else it was, the instance is not to be trusted
	}
	cause := in.why(err)
	p.drop(cause)
	return cause
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

// bow lets the live instance end by itself, by ending its stdin, before it is ended.
func (p *Plugin) bow() {
	if p.live == nil {
		return
	}
	p.live.finish()
	p.live.await(endPatience / 20)
	p.drop(errClosed)
}

// Close ends the plugin. A call under way is answered with CodeUnavailable. It may be
// called again.
func (p *Plugin) Close(ctx context.Context) {
	p.mu.Lock()
	again := p.closed
	p.closed = true
	if in := p.ending; in != nil && len(p.turn) > 0 {
		in.end(errClosed)
	}
	p.mu.Unlock()
	if again {
		return
	}
	p.turn <- struct{}{}
	defer func() { <-p.turn }()
	p.bow()
	p.host.mu.Lock()
	delete(p.host.plugins, p)
	p.host.mu.Unlock()
	if p.code != nil {
		p.host.release(ctx, p.code)
	}
}
