package wasmhost

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/stavily/stavily/protocol"
)

// What is in this file parts the life of a plugin, which is told once, at Plugin, from what
// its guests run on: the module's engine here, a jailed process in package native.

// Loaded is a plugin that is ready to be asked, whatever carries it. What the methods
// promise is told at Plugin.
type Loaded interface {
	Call(ctx context.Context, r Request) Answer
	SetGrants(grants []protocol.Grant)
	Counters() []protocol.Audit
	Rest() bool
	Close(ctx context.Context)
}

// Room is where the guests of one plugin run. Its methods are called by one goroutine at a
// time.
type Room interface {
	// Enter is called once, before the first Start. An error ends the plugin: the room was
	// closed.
	Enter(p *Plugin) error
	// Start starts a guest and lets it work. ctx is that of the request that needs it.
	Start(ctx context.Context) (Carrier, error)
	// Suits reports whether a guest that waits is still one that Start would start now.
	Suits() bool
	// Leave frees what the room holds. No guest lives, and none will.
	Leave(ctx context.Context, p *Plugin)
}

// Carrier is one guest, whatever carries it: its stdout is read and its stdin written here.
// A guest that has gone, and has said nothing more, reads as io.EOF. Of its methods Read,
// Write, End, Ending, Cause and Finish may be called from any goroutine.
type Carrier interface {
	io.ReadWriter
	// End, Ending and Cause are those of a Fate.
	End(cause *protocol.Error)
	Ending() <-chan struct{}
	Cause() *protocol.Error
	// Gone reports whether the guest has ended by itself or must.
	Gone() bool
	// Said reports whether the guest has said what was not read.
	Said() bool
	// Settle waits, where that can be seen, until the guest waits for more or has gone, and
	// reports whether it said nothing more meanwhile.
	Settle() bool
	// Begin lets a guest that rests work. Used counts from here.
	Begin()
	// Rest lets the guest rest until the next Begin, where that can be done.
	Rest()
	// Used returns what the guest has used since Begin, or since it was started: fuel, CPU
	// time, and the memory that it has.
	Used() Usage
	// Finish ends the guest's stdin.
	Finish()
	// Await waits until the guest has ended, at most d, and reports whether it has.
	Await(d time.Duration) bool
	// Autopsy says how a guest has ended that nobody ended, and that was awaited.
	Autopsy() *protocol.Error
	// Free frees what is left of a guest that has ended.
	Free()
}

// Desk is what the room of one plugin sees of it. Its methods may be called from any
// goroutine.
type Desk struct{ p *Plugin }

// Limits returns the plugin's limits: the tighter of its manifest's and its step's.
func (d *Desk) Limits() protocol.Limits { return d.p.limits }

// Grants returns the plugin's grants of now.
func (d *Desk) Grants() Grants { return d.p.setup().Grants }

// Stderr returns where the plugin's stderr goes: lines, at a bounded rate.
func (d *Desk) Stderr() io.Writer { return d.p.log }

// Log logs a line about the plugin among its own.
func (d *Desk) Log(level slog.Level, text string) { d.p.log.line(level, text) }

// First returns the first line of stderr since the last request began, at most 200 bytes.
func (d *Desk) First() string { return d.p.log.first() }

// LoadIn makes a plugin ready whose guests run in a room of the caller's: they are spoken to
// as modules are, and their host calls are answered here, under the same grants, scopes and
// bounds. furnish makes the room; what it makes of s.Wasm and s.Digest is its own affair.
// Errors: CodeBadInput or CodeLimit for a manifest or configuration out of its bounds, those
// of furnish and of the room, and whatever the plugin's own start ends in.
func (h *Host) LoadIn(ctx context.Context, s Spec, furnish func(*Desk) (Room, error)) (*Plugin, error) {
	p, err := h.loadIn(ctx, s, furnish)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeOf(err), "load %s: %w", &s.Manifest, err)
	}
	return p, nil
}

func (h *Host) loadIn(ctx context.Context, s Spec, furnish func(*Desk) (Room, error)) (*Plugin, error) {
	if err := s.named(); err != nil {
		return nil, err
	}
	s.Wasm = nil
	p, err := h.newPlugin(s)
	if err != nil {
		return nil, err
	}
	if p.room, err = furnish(&Desk{p}); err != nil {
		return nil, err
	}
	if err := p.enter(ctx); err != nil {
		return nil, err
	}
	return p, p.open(ctx)
}

// moduleRoom is where the instances of one plugin's module run.
type moduleRoom struct {
	p    *Plugin
	code *code
	v    Verdict
}

// Enter puts p among the plugins that Host.Close ends, and keeps what was found out about
// its code.
func (r *moduleRoom) Enter(p *Plugin) error {
	h := p.host
	h.mu.Lock()
	closed := h.closed
	if !closed {
		h.plugins[p] = struct{}{}
	}
	h.mu.Unlock()
	h.engine.note(r.code, r.v)
	if closed {
		return errClosed
	}
	return nil
}

// Start starts an instance.
func (r *moduleRoom) Start(context.Context) (Carrier, error) {
	p := r.p
	in, err := newInstance(blueprint{
		code: r.code, limits: p.limits, host: p.host, log: p.log, world: p.worldly(),
	})
	if err != nil {
		return nil, err // not in, which would be an instance that is nil
	}
	return in, nil
}

// worldly is what the next instance is to find.
func (p *Plugin) worldly() worldly {
	w := worldly{args: p.spec.Args, env: p.spec.Env, mounts: p.spec.Mounts}
	if p.script != nil {
		w.tape = p.script.tape()
	}
	return w
}

// Suits is true: grants are looked at when they are used.
func (*moduleRoom) Suits() bool { return true }

// Leave gives the code back.
func (r *moduleRoom) Leave(ctx context.Context, p *Plugin) {
	p.host.mu.Lock()
	delete(p.host.plugins, p)
	p.host.mu.Unlock()
	p.host.release(ctx, r.code)
}

var (
	_ Loaded  = (*Plugin)(nil)
	_ Carrier = (*instance)(nil)
	_ Room    = (*moduleRoom)(nil)
)
