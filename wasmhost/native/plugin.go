//go:build linux && (amd64 || arm64 || riscv64)

package native

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// Plugin is one plugin in one step of one workflow: its own jail and grants. Its methods
// may be called from any goroutine. What they promise is told at wasmhost.Plugin.
type Plugin struct {
	life *wasmhost.Plugin
	room *room
}

// Load makes a plugin ready: it checks the digest, holds the manifest against this machine
// (Preflight), unpacks the artifact, which s.Wasm holds, starts it in a jail and waits
// until it is ready. Errors: CodeDigest, CodeUnverified for what is no artifact,
// CodeIncompatible for what this machine is or has not, CodeRefused where it cannot
// confine the plugin as its policy wants, and whatever the plugin's own start ends in.
func (h *Host) Load(ctx context.Context, s wasmhost.Spec) (*Plugin, error) {
	r := &room{host: h, manifest: s.Manifest}
	life, err := h.cfg.Calls.LoadIn(ctx, s, func(desk *wasmhost.Desk) (wasmhost.Room, error) {
		return r, r.furnish(desk, &s)
	})
	if err != nil {
		return nil, err
	}
	return &Plugin{life, r}, nil
}

// Call is wasmhost.Plugin's. Over pipes nobody sees that a process waits for input without
// having answered: it is ended at its deadline.
func (p *Plugin) Call(ctx context.Context, r wasmhost.Request) wasmhost.Answer {
	return p.life.Call(ctx, r)
}

// CallBatch is wasmhost.Plugin's.
func (p *Plugin) CallBatch(ctx context.Context, rs []wasmhost.Request) []wasmhost.Answer {
	return p.life.CallBatch(ctx, rs)
}

// SetGrants is wasmhost.Plugin's.
func (p *Plugin) SetGrants(grants []protocol.Grant) { p.life.SetGrants(grants) }

// Counters is wasmhost.Plugin's.
func (p *Plugin) Counters() []protocol.Audit { return p.life.Counters() }

// Rest is wasmhost.Plugin's.
func (p *Plugin) Rest() bool { return p.life.Rest() }

// Close is wasmhost.Plugin's.
func (p *Plugin) Close(ctx context.Context) { p.life.Close(ctx) }

// Confinement says how each promise of the manifest is kept on this machine.
func (p *Plugin) Confinement() Confinement {
	landed := 0
	if last := p.room.last.Load(); last != nil {
		landed = last.status.Landlock
	}
	out := append(Confinement(nil), p.room.plan.rules...)
	for i := range out {
		if out[i].Field == LayerLandlock && out[i].Enforced {
			out[i].Enforced = landed > 0
			out[i].By = fmt.Sprintf("ABI %d", landed)
		}
	}
	return out
}

// room is where the processes of one plugin run.
type room struct {
	host     *Host
	manifest protocol.Manifest
	desk     *wasmhost.Desk
	plan     *plan
	dir      string                  // the unpacked artifact
	last     atomic.Pointer[process] // that was started
}

// furnish checks the artifact and makes all that a process needs.
func (r *room) furnish(desk *wasmhost.Desk, s *wasmhost.Spec) (err error) {
	if got := protocol.DigestOf(s.Wasm); got != s.Digest {
		return protocol.Errorf(protocol.CodeDigest, "artifact has digest %s, want %s",
			got.Short(), s.Digest.Short())
	}
	if err := Preflight(&s.Manifest); err != nil {
		return err
	}
	r.desk = desk
	if r.dir, err = os.MkdirTemp(r.host.cfg.Dir, "plugin-"); err != nil {
		return protocol.Errorf(protocol.CodeStorage, "unpack: %w", err)
	}
	if err := r.prepare(s.Wasm); err != nil {
		_ = os.RemoveAll(r.dir)
		return err
	}
	return nil
}

// prepare unpacks the artifact and decides how it is jailed.
func (r *room) prepare(artifact []byte) error {
	dynamic, err := unpack(artifact, r.dir)
	if err != nil {
		return err
	}
	if err := os.Chmod(r.dir, 0o755); err != nil { //nolint:gosec // the plugin's own user must read it
		return protocol.Errorf(protocol.CodeStorage, "unpack: %w", err)
	}
	how, err := profileOf(&r.manifest, r.dir, dynamic)
	if err != nil {
		return err
	}
	if err := checkInterpreter(&r.manifest, how.version); err != nil {
		return err
	}
	r.plan, err = r.host.plan(planned{
		manifest: &r.manifest, limits: r.desk.Limits(), profile: how, dir: r.dir, proc: r.figures(),
	})
	return err
}

// figures reports whether the plugin may read the machine's figures: then its jail has a
// /proc.
func (r *room) figures() bool {
	_, granted := r.desk.Grants().Scopes(protocol.CapMetrics)
	return granted
}

// Enter puts p among the plugins that Host.Close ends.
func (r *room) Enter(p *wasmhost.Plugin) error {
	h := r.host
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return protocol.Errorf(protocol.CodeUnavailable, "host is closed")
	}
	h.plugins[p] = struct{}{}
	return nil
}

// Start starts a process in a jail as its grants of now want it.
func (r *room) Start(ctx context.Context) (wasmhost.Carrier, error) {
	r.plan.order.Proc = r.figures()
	proc, err := r.host.launch(ctx, r.plan, r.desk, r.desk.Stderr())
	if err != nil {
		return nil, err
	}
	r.last.Store(proc)
	for _, note := range proc.status.Notes {
		r.desk.Log(slog.LevelWarn, "jail: "+note)
	}
	proc.Begin()
	return proc, nil
}

// Suits reports whether the live process has the /proc that its grants of now give.
func (r *room) Suits() bool { return r.figures() == r.plan.order.Proc }

// Leave removes the unpacked artifact.
func (r *room) Leave(_ context.Context, p *wasmhost.Plugin) {
	r.host.mu.Lock()
	delete(r.host.plugins, p)
	r.host.mu.Unlock()
	_ = os.RemoveAll(r.dir)
}

var (
	_ wasmhost.Loaded  = (*Plugin)(nil)
	_ wasmhost.Room    = (*room)(nil)
	_ wasmhost.Carrier = (*process)(nil)
)
