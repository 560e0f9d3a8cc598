package wasmhost

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/tetratelabs/wazero"

	"github.com/stavily/stavily/protocol"
)

// engine compiles modules and holds their code, each once however many plugins use it.
// Nothing in it is a host's own: hosts of one process may share one.
type engine struct {
	interpreter bool
	wasi        func(context.Context, wazero.Runtime) error
	bounds      Compile
	cache       wazero.CompilationCache
	shelf       *shelf // compiled code on disk; nil: in memory only
	log         *slog.Logger

	turn chan struct{} // holds a value while a module is compiled: one at a time bounds the memory

	mu       sync.Mutex // guards the fields below
	runtimes map[bool]wazero.Runtime
	codes    map[protocol.Digest]*code
	closed   bool
}

// code is one compiled module, shared by all plugins that use it.
type code struct {
	digest protocol.Digest

	ready   chan struct{} // closed when the four below are set, for good
	runtime wazero.Runtime
	module  wazero.CompiledModule
	err     error
	proven  bool // it was shown that compiling it does no harm

	verdict Verdict // this and users are guarded by engine.mu
	users   int
}

// newEngine makes an engine. The error has CodeStorage when CacheDir cannot be used.
func newEngine(cfg *Config) (*engine, error) {
	e := &engine{
		interpreter: cfg.Interpreter, wasi: cfg.wasi, bounds: cfg.Compile, log: cfg.Log,
		turn: make(chan struct{}, 1), runtimes: map[bool]wazero.Runtime{}, codes: map[protocol.Digest]*code{},
	}
	if e.wasi == nil {
		e.wasi = addWASI
	}
	var err error
	if e.shelf, err = openShelf(cfg); err != nil {
		return nil, err
	}
	if e.cache, err = openCache(e.shelf); err != nil {
		return nil, err
	}
	return e, nil
}

// acquire returns the compiled form of a module. Who asks for one that is being compiled
// waits for it; modules that are compiled already do not wait for others.
func (e *engine) acquire(ctx context.Context, m module) (*code, error) {
	for {
		c, first, err := e.enlist(m.digest)
		if err != nil {
			return nil, err
		}
		if first {
			e.fill(ctx, c, m)
		}
		select {
		case <-c.ready:
		case <-ctx.Done():
			e.release(ctx, c)
			return nil, Cancelled(ctx)
		}
		if c.err == nil {
			return c, nil
		}
		e.release(ctx, c)
		// Who was cancelled has not shown anything about the module.
		if first || protocol.CodeOf(c.err) != protocol.CodeUnavailable || ctx.Err() != nil {
			return nil, c.err
		}
	}
}

// Cancelled says that a call is not answered because ctx ended, and why that did.
func Cancelled(ctx context.Context) *protocol.Error {
	return protocol.Errorf(protocol.CodeUnavailable, "call was cancelled: %w", context.Cause(ctx))
}

// enlist returns the code of a module with one more user, and whether that one is the
// first, who has to obtain it.
func (e *engine) enlist(d protocol.Digest) (c *code, first bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, false, protocol.Errorf(protocol.CodeUnavailable, "host is closed")
	}
	if c = e.codes[d]; c == nil {
		c, first = &code{digest: d, ready: make(chan struct{})}, true
		e.codes[d] = c
	}
	c.users++
	return c, first, nil
}

// fill obtains what c is to hold. What failed is not held for others to find.
func (e *engine) fill(ctx context.Context, c *code, m module) {
	defer close(c.ready)
	c.runtime, c.module, c.err = e.obtain(ctx, m)
	if c.err == nil {
		c.proven = m.proven || len(e.bounds.Command) > 0
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.codes[c.digest] == c {
		delete(e.codes, c.digest)
	}
}

// release gives code back; the last user frees it.
func (e *engine) release(ctx context.Context, c *code) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c.users--
	if c.users > 0 {
		return
	}
	if e.codes[c.digest] == c {
		delete(e.codes, c.digest)
	}
	if c.module != nil {
		_ = c.module.Close(ctx)
	}
}

// module is what is to be compiled.
type module struct {
	digest  protocol.Digest
	wasm    []byte
	metered bool
	proven  bool // compiling it does no harm, as was shown before
}

// obtain gets a module's code from the shelf, or has it compiled.
func (e *engine) obtain(ctx context.Context, m module) (wazero.Runtime, wazero.CompiledModule, error) {
	r, err := e.runtime(ctx, m.metered)
	if err != nil {
		return nil, nil, err
	}
	if done, err := e.shelf.take(ctx, m.digest, r, m.wasm); done != nil || err != nil {
		return r, done, err
	}
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return nil, nil, Cancelled(ctx)
	}
	done, err := e.compile(ctx, m, r)
	return r, done, err
}

// runtime returns the runtime for modules that are metered, or are not.
func (e *engine) runtime(ctx context.Context, metered bool) (wazero.Runtime, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r := e.runtimes[metered]; r != nil {
		return r, nil
	}
	r, err := e.newRuntime(context.WithoutCancel(ctx), metered)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeInternal, "start engine: %w", err)
	}
	e.runtimes[metered] = r
	return r, nil
}

// config is what decides how a module is compiled, and by what name it is kept.
func (e *engine) config(metered bool) wazero.RuntimeConfig {
	cfg := wazero.NewRuntimeConfig()
	if e.interpreter {
		cfg = wazero.NewRuntimeConfigInterpreter()
	}
	return cfg.WithCompilationCache(e.cache).WithCloseOnContextDone(!metered).WithDebugInfoEnabled(false)
}

func (e *engine) newRuntime(ctx context.Context, metered bool) (wazero.Runtime, error) {
	r := wazero.NewRuntimeWithConfig(ctx, e.config(metered))
	if err := e.wasi(ctx, r); err != nil {
		return nil, err
	}
	if metered {
		return r, addFuel(ctx, r)
	}
	return r, nil
}

// verdict returns what was kept of a module that is in use; zero for none.
func (e *engine) verdict(d protocol.Digest) (v Verdict) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.codes[d]; c != nil {
		v = c.verdict
	}
	return v
}

// note keeps what was found out about a module in use.
func (e *engine) note(c *code, v Verdict) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c.verdict = v
}

// close frees everything. Nothing may be running.
func (e *engine) close(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	for _, metered := range []bool{true, false} {
		if r := e.runtimes[metered]; r != nil {
			_ = r.Close(ctx)
		}
		delete(e.runtimes, metered)
	}
	return e.cache.Close(ctx)
}

// translate compiles a module in this process, or reads what was compiled. A defect of
// the compiler becomes an error.
func translate(ctx context.Context, r wazero.Runtime, wasm []byte) (m wazero.CompiledModule, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = protocol.Errorf(protocol.CodeUnverified, "compile: %w", fmt.Errorf("panic in the engine: %v", p))
		}
	}()
	m, err = r.CompileModule(ctx, wasm)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeUnverified, "compile: %w", err)
	}
	return m, nil
}
