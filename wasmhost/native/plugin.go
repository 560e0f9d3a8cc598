//go:build linux && (amd64 || arm64 || riscv64)

package native

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// Plugin is one plugin in one step of one workflow: its own jail and grants. Its methods
// may be called from any goroutine. What they promise is told at wasmhost.Plugin.
type Plugin struct {
	host     *Host
	manifest protocol.Manifest
	desk     *wasmhost.Desk
	plan     *plan
	dir      string // the unpacked artifact

	turn   chan struct{} // holds one value while a call is under way, which guards the three below
	live   *process      // nil: the next call starts one
	conv   *wasmhost.Conversation
	reinit bool // the live process takes another init

	mu     sync.Mutex // guards the fields below
	ending *process   // live, for Close
	closed bool
	landed int // the version of Landlock that the last process has
}

// Load makes a plugin ready: it checks the digest, holds the manifest against this machine
// (Preflight), unpacks the artifact, which s.Wasm holds, starts it in a jail and waits
// until it is ready. Errors: CodeDigest, CodeUnverified for what is no artifact,
// CodeIncompatible for what this machine is or has not, CodeRefused where it cannot
// confine the plugin as its policy wants, and whatever the plugin's own start ends in.
func (h *Host) Load(ctx context.Context, s wasmhost.Spec) (*Plugin, error) {
	p, err := h.load(ctx, s)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeOf(err), "load %s: %w", &s.Manifest, err)
	}
	return p, nil
}

func (h *Host) load(ctx context.Context, s wasmhost.Spec) (_ *Plugin, err error) {
	if got := protocol.DigestOf(s.Wasm); got != s.Digest {
		return nil, protocol.Errorf(protocol.CodeDigest, "artifact has digest %s, want %s",
			got.Short(), s.Digest.Short())
	}
	if err := Preflight(&s.Manifest); err != nil {
		return nil, err
	}
	p := &Plugin{host: h, manifest: s.Manifest, turn: make(chan struct{}, 1)}
	if p.desk, err = h.cfg.Calls.Desk(s); err != nil {
		return nil, err
	}
	if p.dir, err = os.MkdirTemp(h.cfg.Dir, "plugin-"); err != nil {
		return nil, protocol.Errorf(protocol.CodeStorage, "unpack: %w", err)
	}
	if err := p.prepare(s.Wasm); err != nil {
		_ = os.RemoveAll(p.dir)
		return nil, err
	}
	if !h.enter(p) {
		_ = os.RemoveAll(p.dir)
		return nil, errClosed
	}
	p.turn <- struct{}{}
	err = p.begin(ctx, !p.desk.Late())
	<-p.turn
	if err != nil {
		p.Close(ctx)
		return nil, err
	}
	return p, nil
}

// prepare unpacks the artifact and decides how it is jailed.
func (p *Plugin) prepare(artifact []byte) error {
	dynamic, err := unpack(artifact, p.dir)
	if err != nil {
		return err
	}
	if err := os.Chmod(p.dir, 0o755); err != nil { //nolint:gosec // the plugin's own user must read it
		return protocol.Errorf(protocol.CodeStorage, "unpack: %w", err)
	}
	how, err := profileOf(&p.manifest, p.dir, dynamic)
	if err != nil {
		return err
	}
	if err := checkInterpreter(&p.manifest, how.version); err != nil {
		return err
	}
	p.plan, err = p.host.plan(planned{
		manifest: &p.manifest, limits: p.desk.Limits(), profile: how, dir: p.dir, proc: p.figures(),
	})
	return err
}

// figures reports whether the plugin may read the machine's figures: then its jail has a
// /proc.
func (p *Plugin) figures() bool {
	_, granted := wasmhost.Grants(p.desk.Setup().Grants).Scopes(protocol.CapMetrics)
	return granted
}

// enter puts p among the plugins that Host.Close ends.
func (h *Host) enter(p *Plugin) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.plugins[p] = struct{}{}
	return true
}

// Confinement says how each promise of the manifest is kept on this machine.
func (p *Plugin) Confinement() Confinement {
	p.mu.Lock()
	landed := p.landed
	p.mu.Unlock()
	out := append(Confinement(nil), p.plan.rules...)
	for i := range out {
		if out[i].Field == LayerLandlock && out[i].Enforced {
			out[i].Enforced = landed > 0
			out[i].By = fmt.Sprintf("ABI %d", landed)
		}
	}
	return out
}

// SetGrants is wasmhost.Plugin's.
func (p *Plugin) SetGrants(grants []protocol.Grant) { p.desk.SetGrants(grants) }

// Counters is wasmhost.Plugin's.
func (p *Plugin) Counters() []protocol.Audit { return p.desk.Counters() }

// begin starts a process and hears that it is ready, or only its hello when it is set up later,
// within the limit of seconds.
func (p *Plugin) begin(ctx context.Context, setUp bool) error {
	p.desk.Begin()
	proc, err := p.host.launch(ctx, p.plan, p.desk, p.desk.Stderr())
	if err != nil {
		return err
	}
	if err := p.adopt(proc); err != nil {
		return err
	}
	for _, note := range proc.status.Notes {
		p.desk.Log(slog.LevelWarn, "jail: "+note)
	}
	stop := p.watch(ctx, proc, p.desk.Timeout(0))
	defer stop()
	proc.pace.resume()
	defer proc.pace.rest()
	conv := wasmhost.NewConversation(proc, wasmhost.Tap{})
	if err := p.open(conv, proc, setUp); err != nil {
		return p.unstarted(proc, err)
	}
	p.conv = conv
	return nil
}

// unstarted ends a process whose beginning ended in err.
func (p *Plugin) unstarted(proc *process, err error) error {
	cause := p.why(proc, err)
	p.drop(cause)
	return protocol.Errorf(cause.Code, "start: %w", cause)
}

// open hears the hello, and with setUp tells the plugin how it is set up and waits until it is
// ready.
func (p *Plugin) open(conv *wasmhost.Conversation, proc *process, setUp bool) error {
	hello, err := conv.Hello()
	if err != nil {
		return err
	}
	if want := p.manifest.Plugin; hello.Type != string(want.Type) || hello.Plugin != string(want.Name) {
		return contractf("hello: %.32s %.64q, the manifest says %s %q",
			hello.Type, hello.Plugin, want.Type, want.Name)
	}
	if p.reinit = hello.Reinit; setUp {
		if err := conv.SetUp(p.desk.Setup()); err != nil {
			return err
		}
	}
	if conv.Unread() || proc.waiting() > 0 {
		return contractf("speaks before it is asked")
	}
	return nil
}

func contractf(format string, args ...any) *protocol.Error {
	return protocol.AsError(protocol.Errorf(protocol.CodeContract, format, args...))
}

// adopt makes a process the live one, unless the plugin was closed meanwhile.
func (p *Plugin) adopt(proc *process) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live, p.ending, p.landed = proc, proc, proc.status.Landlock
	if !p.closed {
		return nil
	}
	p.live, p.ending = nil, nil
	proc.away.End(errClosed)
	proc.bury()
	return errClosed
}

// drop ends the live process, if there is one, and waits for it.
func (p *Plugin) drop(cause error) {
	proc := p.live
	if proc == nil {
		return
	}
	p.mu.Lock()
	p.live, p.ending, p.conv = nil, nil, nil
	p.mu.Unlock()
	proc.away.End(cause)
	if !proc.bury() {
		p.desk.Log(slog.LevelError, "process does not end")
	}
}

// watch ends proc when ctx is cancelled or when it took longer than d. The function that
// it returns ends the watch.
func (p *Plugin) watch(ctx context.Context, proc *process, d time.Duration) (stop func()) {
	timer := time.AfterFunc(d, func() {
		proc.away.End(protocol.Errorf(protocol.CodeDeadline, "took longer than %d ms", d.Milliseconds()))
	})
	after := context.AfterFunc(ctx, func() {
		proc.away.End(wasmhost.Cancelled(ctx))
	})
	return func() { timer.Stop(); after() }
}

var errClosed = protocol.Errorf(protocol.CodeUnavailable, "plugin was closed")

// Call is wasmhost.Plugin's. Over pipes nobody sees that a process waits for input without
// having answered: it is ended at its deadline.
func (p *Plugin) Call(ctx context.Context, r wasmhost.Request) (a wasmhost.Answer) {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return wasmhost.Answer{Error: wasmhost.Cancelled(ctx)}
	}
	defer func() { <-p.turn }()
	began := time.Now()
	defer func() { a.Usage.TookUS = time.Since(began).Microseconds() }()
	if err := p.desk.Fits(r); err != nil {
		return wasmhost.Answer{Error: err}
	}
	if err := p.fresh(ctx); err != nil {
		return wasmhost.Answer{Error: protocol.AsError(err)}
	}
	if isSet, _ := p.conv.Holds(nil); r.Kind == wasmhost.Check && !isSet {
		return wasmhost.Answer{} // as wasmhost.Plugin does
	}
	if err := p.configure(ctx, r.Config); err != nil {
		return wasmhost.Answer{Error: protocol.AsError(err)}
	}
	return p.ask(ctx, r)
}

// fresh makes sure that there is a live process that has said no more than was asked, in a
// jail as its grants of now want it.
func (p *Plugin) fresh(ctx context.Context) error {
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return errClosed
	}
	figures := p.figures()
	switch {
	case p.live == nil:
	case figures != p.plan.order.Proc:
		p.bow()
	case p.live.gone():
		p.desk.Log(slog.LevelWarn, "process ended after its answer")
		p.drop(errClosed)
	case p.live.waiting() > 0:
		p.desk.Log(slog.LevelWarn, "process said more than was asked")
		p.drop(contractf("says more than was asked"))
	default:
		return nil
	}
	p.plan.order.Proc = figures
	return p.begin(ctx, !p.desk.Late())
}

// configure makes config, nil for the step's own, the configuration that the live process
// has, as wasmhost.Plugin does.
func (p *Plugin) configure(ctx context.Context, config protocol.Raw) error {
	s := p.desk.Setup()
	if config != nil {
		s.Config = config
	}
	isSet, same := p.conv.Holds(s.Config)
	if same {
		return nil
	}
	if isSet && !p.reinit {
		p.bow()
		if err := p.begin(ctx, false); err != nil {
			return err
		}
	}
	proc := p.live
	stop := p.watch(ctx, proc, p.desk.Timeout(0))
	defer stop()
	proc.pace.resume()
	defer proc.pace.rest()
	err := p.conv.SetUp(s)
	if err == nil && (p.conv.Unread() || proc.waiting() > 0) {
		err = contractf("speaks before it is asked")
	}
	if err != nil {
		return p.unstarted(proc, err)
	}
	return nil
}

// ask puts r to the live process.
func (p *Plugin) ask(ctx context.Context, r wasmhost.Request) wasmhost.Answer {
	proc, limit := p.live, p.desk.Timeout(r.TimeoutMS)
	r.TimeoutMS = limit.Milliseconds()
	p.desk.Begin()
	used := proc.cpu()
	proc.pace.resume()
	defer proc.pace.rest()
	stop := p.watch(ctx, proc, limit)
	defer stop()
	serving := proc.away.Serve(ctx, limit)
	defer serving.Close()
	a, err := p.conv.Ask(r, serving.Call)
	if err == nil && (p.conv.Unread() || proc.waiting() > 0) {
		err = contractf("says more than was asked")
	}
	if err == nil && proc.away.Cause() != nil {
		err = proc.away.Cause()
	}
	memory := proc.memoryB()
	if err != nil {
		a = wasmhost.Answer{Error: p.broken(proc, err)}
	}
	calls, denied := serving.Counts()
	a.Usage = wasmhost.Usage{
		CPUUS: max(0, proc.cpu()-used).Microseconds(), MemoryB: memory, HostCalls: calls, Denied: denied,
	}
	return a
}

// broken makes the answer's error of what ended the conversation, and ends the process
// unless the conversation can go on: after an error of the plugin's own, or a bound that
// was kept.
func (p *Plugin) broken(proc *process, err error) *protocol.Error {
	switch protocol.CodeOf(err) {
	case protocol.CodePlugin, protocol.CodeRetryable, protocol.CodeLimit, protocol.CodeBadInput:
		if !p.conv.Unread() && proc.waiting() == 0 && !proc.gone() {
			return protocol.AsError(err)
		}
	default: // whatever else it was, the process is not to be trusted
	}
	cause := p.why(proc, err)
	p.drop(cause)
	return cause
}

// why says why a process with which the conversation broke off by err has ended.
func (p *Plugin) why(proc *process, err error) *protocol.Error {
	if cause := proc.away.Cause(); cause != nil {
		return cause
	}
	if protocol.CodeOf(err) != protocol.CodeInternal {
		proc.away.End(err)
		return protocol.AsError(err)
	}
	select {
	case <-proc.done:
	case <-time.After(endPatience): // its streams ended, and it has not
		return contractf("closed its streams without an answer")
	}
	if cause := proc.away.Cause(); cause != nil {
		return cause
	}
	return p.autopsy(proc)
}

// autopsy says how a process ended that the host did not end.
func (p *Plugin) autopsy(proc *process) *protocol.Error {
	how := "exit 0"
	var exit interface{ Sys() any }
	if errors.As(proc.exit, &exit) {
		how = proc.exit.Error()
		if w, ok := exit.Sys().(syscall.WaitStatus); ok && w.Exited() {
			how = fmt.Sprintf("exit %d", w.ExitStatus())
		}
	}
	select {
	case <-proc.mute:
	case <-time.After(endPatience / 10):
	}
	if said := p.desk.First(); said != "" {
		how += ": " + said
	}
	if proc.group.outOfMemory() {
		return protocol.AsError(protocol.Errorf(protocol.CodeMemory,
			"ended for want of memory beyond max_memory_mb %d: %.400s", p.desk.Limits().MemoryMB, how))
	}
	return contractf("ended without an answer: %.400s", how)
}

// Rest is wasmhost.Plugin's.
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

// bow lets the live process end by itself, by ending its stdin, before it is ended.
func (p *Plugin) bow() {
	if p.live == nil {
		return
	}
	p.live.pace.resume()
	p.live.stdin.Close()
	select {
	case <-p.live.done:
	case <-time.After(endPatience / 20):
	}
	p.drop(errClosed)
}

// Close is wasmhost.Plugin's.
func (p *Plugin) Close(context.Context) {
	p.mu.Lock()
	again := p.closed
	p.closed = true
	if proc := p.ending; proc != nil && len(p.turn) > 0 {
		proc.away.End(errClosed)
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
	_ = os.RemoveAll(p.dir)
}

var _ wasmhost.Loaded = (*Plugin)(nil)
