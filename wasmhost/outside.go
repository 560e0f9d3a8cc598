package wasmhost

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/stavily/stavily/protocol"
)

// What is in this file is for carriers other than WebAssembly: package native speaks the
// conversation of direct.go with a process, and its host calls are answered here, by the
// same code, under the same grants, scopes and bounds.

// Loaded is a plugin that is ready to be asked, whatever carries it. What the methods
// promise is told at Plugin.
type Loaded interface {
	Call(ctx context.Context, r Request) Answer
	SetGrants(grants []protocol.Grant)
	Counters() []protocol.Audit
	Rest() bool
	Close(ctx context.Context)
}

// Desk is what one plugin that runs elsewhere has of this host: host calls, grants,
// limits and the way of its log lines. Its methods may be called from any goroutine.
type Desk struct{ p *Plugin }

// Desk returns a desk for a plugin. s.Wasm and s.Digest are not looked at. Errors:
// CodeBadInput or CodeLimit for a manifest or configuration out of its bounds.
func (h *Host) Desk(s Spec) (*Desk, error) {
	if err := s.Manifest.Plugin.Name.Check(); err != nil {
		return nil, err
	}
	if err := s.Manifest.Plugin.Type.Check(); err != nil {
		return nil, err
	}
	s.Wasm = nil
	p, err := h.newPlugin(s)
	if err != nil {
		return nil, err
	}
	return &Desk{p}, nil
}

// Limits returns the plugin's limits: the tighter of its manifest's and its step's.
func (d *Desk) Limits() protocol.Limits { return d.p.limits }

// Setup returns what the plugin is told before the first request, with the grants of now.
func (d *Desk) Setup() Setup {
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	s := Setup(d.p.start)
	s.Grants = d.p.grants
	return s
}

// Late reports whether the plugin's configuration is not known before its first request.
func (d *Desk) Late() bool { return d.p.late }

// SetGrants is Plugin.SetGrants.
func (d *Desk) SetGrants(grants []protocol.Grant) { d.p.SetGrants(grants) }

// Counters is Plugin.Counters.
func (d *Desk) Counters() []protocol.Audit { return d.p.Counters() }

// Fits returns an error with CodeBadInput when a plugin of this type cannot be asked r.
func (d *Desk) Fits(r Request) *protocol.Error { return d.p.fits(r) }

// Timeout returns how long a request with that TimeoutMS may take.
func (d *Desk) Timeout(askedMS int64) time.Duration { return d.p.timeout(askedMS) }

// Stderr returns where the plugin's stderr goes: lines, at a bounded rate.
func (d *Desk) Stderr() io.Writer { return d.p.log }

// Log logs a line about the plugin among its own.
func (d *Desk) Log(level slog.Level, text string) { d.p.log.line(level, text) }

// Begin forgets what the plugin said on stderr; First returns the first line since.
func (d *Desk) Begin() { d.p.log.begin() }

// First returns the first line of stderr since Begin, at most 200 bytes.
func (d *Desk) First() string { return d.p.log.first() }

// Away is one guest that runs elsewhere.
type Away struct {
	p  *Plugin
	in *instance
}

// Guest returns the desk's side of a guest. kill ends the guest; it is called once, when
// the guest must end, and must not wait.
func (d *Desk) Guest(kill func()) *Away {
	return &Away{d.p, &instance{
		duplex: newDuplex(), clock: d.p.host.cfg.Clock, errs: d.p.log, cancel: kill,
		ending: make(chan struct{}), done: make(chan struct{}),
	}}
}

// End ends the guest because of cause. The first cause counts. It returns at once.
func (a *Away) End(cause error) { a.in.end(protocol.AsError(cause)) }

// Cause returns why the guest was ended, nil when it was not.
func (a *Away) Cause() *protocol.Error {
	a.in.mu.Lock()
	defer a.in.mu.Unlock()
	return a.in.cause
}

// Serving answers the host calls of one request.
type Serving struct{ r *request }

// Serve begins a request, which may take limit and ends with ctx. Whoever calls it ends
// the guest when one of both comes about, and calls Close when the request has ended.
func (a *Away) Serve(ctx context.Context, limit time.Duration) *Serving {
	return &Serving{&request{p: a.p, ctx: ctx, in: a.in, limit: limit}}
}

// Call is a Callee.
func (s *Serving) Call(name string, args protocol.Raw) (protocol.Raw, error) {
	return s.r.call(name, args)
}

// Counts returns how many host calls were made and how many denied.
func (s *Serving) Counts() (calls, denied uint32) { return s.r.calls, s.r.denied }

// Close frees what the request holds.
func (s *Serving) Close() { s.r.close() }

var _ Loaded = (*Plugin)(nil)
