package conform

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// guest is one running plugin, whatever carries it. What Read and Write promise is told
// at wasmhost.Guest.
type guest interface {
	io.ReadWriter
	// Settle reports whether nothing more is said.
	Settle() bool
	// Finish ends stdin.
	Finish()
	// End ends the guest at once.
	End(cause error)
	// Wait waits for the end and says how: nil for exit 0.
	Wait(ctx context.Context) error
}

// room is where guests of the target are started.
type room interface {
	start(stderr func(text string)) (guest, error)
	close(ctx context.Context)
}

// engine is one way in which a module runs.
type engine struct{ interpreted, unmetered bool }

// wasmRoom runs a module in one engine.
type wasmRoom struct {
	host   *wasmhost.Host
	module *wasmhost.Module
	limits protocol.Limits
}

func (s *suite) openWasm(ctx context.Context, e engine) (room, error) {
	wasm := s.metered
	if e.unmetered {
		wasm = s.target.Wasm
	}
	h, err := wasmhost.New(ctx, wasmhost.Config{
		Interpreter: e.interpreted, AllowUnmetered: e.unmetered, Clock: s.opts.Clock, Random: constant{},
	})
	if err != nil {
		return nil, err
	}
	module, err := h.Module(ctx, wasm, s.manifest)
	if err != nil {
		return nil, errors.Join(err, h.Close(ctx))
	}
	if err := module.See(s.target.Args, s.target.Mounts); err != nil {
		module.Close(ctx)
		return nil, errors.Join(err, h.Close(ctx))
	}
	limits := s.manifest.Limits.WithDefaults()
	limits.CPUCores = 1 // what is looked at is what it says, not how long it is made to wait
	return &wasmRoom{h, module, limits}, nil
}

func (r *wasmRoom) start(stderr func(text string)) (guest, error) {
	return r.module.Start(r.limits, func(l protocol.LogLine) { stderr(l.Text) })
}

func (r *wasmRoom) close(ctx context.Context) {
	r.module.Close(ctx)
	_ = r.host.Close(ctx)
}

// constant is randomness that is the same for every guest, so that their answers can be
// compared.
type constant struct{}

func (constant) Read(p []byte) (int, error) {
	return copy(p, bytes.Repeat([]byte{0x5a}, len(p))), nil
}

var (
	_ guest = (*wasmhost.Guest)(nil)
	_ room  = (*wasmRoom)(nil)
)
