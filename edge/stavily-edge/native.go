//go:build linux && (amd64 || arm64 || riscv64)

package main

import (
	"context"
	"log/slog"
	"path/filepath"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
	"github.com/stavily/stavily/wasmhost/native"
)

// isJail reports whether this process is the first of a plugin's jail, and beJail is what
// it does then.
func isJail(args []string) bool { return native.IsChild(args) }

func beJail() int { return native.Child() }

// nativeHost runs native plugins, and tells the log how each is confined.
type nativeHost struct {
	host *native.Host
	log  *slog.Logger
}

func newNative(ctx context.Context, h *house) (*nativeHost, error) {
	host, err := native.New(ctx, native.Config{
		Calls: h.engine, Dir: filepath.Join(h.state, "native"), Log: h.log, Need: h.nativeNeed,
	})
	if err != nil {
		return nil, err
	}
	return &nativeHost{host, h.log}, nil
}

// loader returns what loads native artifacts, nil for an agent that runs none.
func (n *nativeHost) loader() func(context.Context, wasmhost.Spec) (wasmhost.Loaded, error) {
	if n == nil {
		return nil
	}
	return n.load
}

// machine says what this device has for native artifacts, nil when it runs none.
func (n *nativeHost) machine() *protocol.Native {
	if n == nil {
		return nil
	}
	return n.host.Machine()
}

func (n *nativeHost) load(ctx context.Context, s wasmhost.Spec) (wasmhost.Loaded, error) {
	p, err := n.host.Load(ctx, s)
	if err != nil {
		return nil, err
	}
	for _, r := range p.Confinement() {
		level := slog.LevelDebug
		if !r.Enforced {
			level = slog.LevelWarn
		}
		n.log.Log(ctx, level, "native plugin confined", slog.String("plugin", s.Manifest.String()),
			slog.String("field", r.Field), slog.Bool("enforced", r.Enforced), slog.String("by", r.By))
	}
	return p, nil
}

func (n *nativeHost) close(ctx context.Context) {
	if n != nil {
		_ = n.host.Close(ctx)
	}
}
