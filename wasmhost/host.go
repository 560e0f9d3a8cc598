// Package wasmhost is the room in which plugins run.
//
// A Host loads a plugin's module: it verifies that the module asks for no more than
// its manifest says (Verify), compiles it, starts an instance and tells it how it is
// set up. The Plugin then answers requests, one at a time, in the conversation that
// ABI.md describes. While it answers it may make host calls; each is a capability that
// must have been granted, and each use and each denial is counted.
//
// A guest has nothing of the machine but what is in this package: linear memory up to
// its limit, three streams, a clock, randomness. What it does wrong ends the instance,
// never the host, and the next request gets a fresh one.
//
// There are two runtimes. Metered modules (package meter) run in one where nothing
// watches them but their own fuel, which costs some percent and can always be stopped.
// Unmetered modules, allowed only with Config.AllowUnmetered, run in one where the engine
// checks at every loop, which costs several times more and does not stop recursion.
package wasmhost

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/stavily/stavily/protocol"
)

// Config is what a Host is made of. The zero value serves: nothing on disk, nothing
// allowed beyond log and kv, metered modules only.
type Config struct {
	// Log gets the plugins' log lines and the host's own. Nil discards them.
	Log *slog.Logger
	// Lines gets the plugins' log lines as records, if set. It is called from many
	// goroutines and must not wait.
	Lines func(protocol.LogLine)
	// CacheDir keeps compiled code between starts. It holds machine code, so nobody else
	// may be able to write there; New creates it with mode 0700. Empty: memory only.
	CacheDir string
	// DataDir is the parent of the plugins' own directories, DataDir/<plugin>. Empty:
	// the capabilities filesystem.read and filesystem.write are unavailable.
	DataDir string
	// Calls are host calls beyond those of this package. The name of a call is the
	// capability that it needs.
	Calls map[string]HostCall
	// Network is how plugins reach other machines, within their scopes and limits.
	Network NetworkConfig
	// Verdicts remembers over restarts what Verify found out about modules. Nil: every
	// module that is not in use is verified when it is loaded.
	Verdicts Verdicts
	// AllowUnmetered lets modules run that do not pay fuel. Only for development: an
	// endless recursion in one can hold up the whole process.
	AllowUnmetered bool
	// Interpreter runs guests in the interpreter even where there is a compiler.
	Interpreter bool
	// Clock tells the time to guests and measures. Nil: the machine's clock.
	Clock func() time.Time
	// Random is the guests' source of randomness. Nil: crypto/rand.
	Random io.Reader
}

// Verdicts keeps what this build of the program found out about modules. The digest
// names the bytes, which are always held against it: the same bytes get the same verdict.
// Whoever can change what is kept must not be able to change more than the compile cache
// already holds. Its methods may be called from any goroutine.
type Verdicts interface {
	// Verdict returns what was kept of a module, if it was.
	Verdict(d protocol.Digest) (v Verdict, found bool)
	// Keep keeps the verdict on a module that passed. It may be forgotten.
	Keep(d protocol.Digest, v Verdict)
}

// Host holds the engine and the code of all plugins. Its methods may be called from
// any goroutine.
type Host struct {
	cfg   Config
	cache wazero.CompilationCache

	compiling sync.Mutex // held while a module is compiled: one at a time bounds the memory

	mu       sync.Mutex // guards the fields below
	runtimes map[bool]wazero.Runtime
	codes    map[protocol.Digest]*code
	plugins  map[*Plugin]struct{}
	files    map[protocol.PluginName]*files
	budgets  map[protocol.PluginName]*budget
	closed   bool
}

// code is one compiled module, shared by all plugins that use it.
type code struct {
	digest  protocol.Digest
	verdict Verdict
	runtime wazero.Runtime
	module  wazero.CompiledModule
	users   int // this and verdict are guarded by Host.mu
}

// New makes a Host. The error has CodeStorage when CacheDir cannot be used.
func New(_ context.Context, cfg Config) (*Host, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	h := &Host{
		cfg: cfg, runtimes: map[bool]wazero.Runtime{}, codes: map[protocol.Digest]*code{},
		plugins: map[*Plugin]struct{}{}, files: map[protocol.PluginName]*files{},
		budgets: map[protocol.PluginName]*budget{},
	}
	var err error
	if h.cache, err = openCache(cfg.CacheDir); err != nil {
		return nil, err
	}
	return h, nil
}

// openCache opens the directory of compiled code, which must be ours alone.
func openCache(dir string) (wazero.CompilationCache, error) {
	if dir == "" {
		return wazero.NewCompilationCache(), nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, protocol.Errorf(protocol.CodeStorage, "compile cache: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeStorage, "compile cache: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return nil, protocol.Errorf(protocol.CodeStorage, "compile cache %s: mode %o lets others write, want 700",
			dir, mode)
	}
	cache, err := wazero.NewCompilationCacheWithDir(dir)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeStorage, "compile cache: %w", err)
	}
	return cache, nil
}

// Close ends all plugins and frees everything.
func (h *Host) Close(ctx context.Context) error {
	h.mu.Lock()
	h.closed = true
	var open []*Plugin
	for p := range h.plugins {
		open = append(open, p)
	}
	h.mu.Unlock()
	for _, p := range open {
		p.Close(ctx)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, metered := range []bool{true, false} {
		if r := h.runtimes[metered]; r != nil {
			_ = r.Close(ctx)
		}
		delete(h.runtimes, metered)
	}
	for _, f := range h.files {
		f.close()
	}
	return h.cache.Close(ctx)
}

// acquire returns the compiled form of a module, compiling it if no plugin uses it yet.
func (h *Host) acquire(ctx context.Context, d protocol.Digest, wasm []byte, metered bool) (*code, error) {
	h.compiling.Lock()
	defer h.compiling.Unlock()
	r, known, err := h.lookUp(ctx, d, metered)
	if err != nil || known != nil {
		return known, err
	}
	module, err := compile(ctx, r, wasm)
	if err != nil {
		return nil, err
	}
	c := &code{digest: d, runtime: r, module: module, users: 1}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.codes[d] = c
	return c, nil
}

// verified returns what Verify says of a module, or said before of the same bytes: that
// differs for another manifest only in the memory that the module may have.
func (h *Host) verified(wasm []byte, d protocol.Digest, m *protocol.Manifest) (Verdict, error) {
	limit := m.Limits.WithDefaults().MemoryMB
	if known := h.known(d); known.SizeB > 0 && known.MemoryMinMB <= limit && limit <= memoryMBMax {
		return known, nil
	}
	v, err := Verify(wasm, m)
	if err == nil && h.cfg.Verdicts != nil {
		h.cfg.Verdicts.Keep(d, v)
	}
	return v, err
}

// known returns the verdict on a module that is in use, or was once; zero for none.
func (h *Host) known(d protocol.Digest) (v Verdict) {
	h.mu.Lock()
	if c := h.codes[d]; c != nil {
		v = c.verdict
	}
	h.mu.Unlock()
	if v.SizeB == 0 && h.cfg.Verdicts != nil {
		v, _ = h.cfg.Verdicts.Verdict(d)
	}
	return v
}

// lookUp returns the runtime for a module, and its code if it is compiled already.
func (h *Host) lookUp(ctx context.Context, d protocol.Digest, metered bool) (wazero.Runtime, *code, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, nil, protocol.Errorf(protocol.CodeUnavailable, "host is closed")
	}
	if c := h.codes[d]; c != nil {
		c.users++
		return c.runtime, c, nil
	}
	if r := h.runtimes[metered]; r != nil {
		return r, nil, nil
	}
	r, err := h.newRuntime(ctx, metered)
	if err != nil {
		return nil, nil, protocol.Errorf(protocol.CodeInternal, "start engine: %w", err)
	}
	h.runtimes[metered] = r
	return r, nil, nil
}

func (h *Host) newRuntime(ctx context.Context, metered bool) (wazero.Runtime, error) {
	cfg := wazero.NewRuntimeConfig()
	if h.cfg.Interpreter {
		cfg = wazero.NewRuntimeConfigInterpreter()
	}
	cfg = cfg.WithCompilationCache(h.cache).WithCloseOnContextDone(!metered).WithDebugInfoEnabled(false)
	r := wazero.NewRuntimeWithConfig(ctx, cfg)
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
		return nil, err
	}
	if metered {
		return r, addFuel(ctx, r)
	}
	return r, nil
}

// compile compiles a module. A defect of the compiler becomes an error.
func compile(ctx context.Context, r wazero.Runtime, wasm []byte) (m wazero.CompiledModule, err error) {
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

// release gives code back; the last user frees it.
func (h *Host) release(ctx context.Context, c *code) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.users--
	if c.users == 0 && h.codes[c.digest] == c {
		delete(h.codes, c.digest)
		_ = c.module.Close(ctx)
	}
}
