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
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"

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
	// may be able to write there; New creates it with mode 0700. What is not as this
	// program left it is thrown away and compiled again. Empty: memory only.
	CacheDir string
	// CacheKey seals the list of what is in CacheDir. It is kept where those who might write
	// to CacheDir cannot read. Empty: only the directory's mode and owner protect it.
	CacheKey []byte
	// CacheMax bounds CacheDir in bytes; what was used longest ago goes first. 0 means 256 MiB.
	CacheMax int64
	// DataDir is the parent of the plugins' own directories, DataDir/<plugin>. Empty:
	// the capabilities filesystem.read and filesystem.write are unavailable.
	DataDir string
	// Calls are host calls beyond those of this package. The name of a call is the
	// capability that it needs.
	Calls map[string]HostCall
	// Secrets has what secret.use and http.request may use by name. Nil: none.
	Secrets Secrets
	// Network is how plugins reach other machines, within their scopes and limits.
	Network NetworkConfig
	// Verdicts remembers over restarts what Verify found out about modules. Nil: every
	// module that is not in use is verified when it is loaded.
	Verdicts Verdicts
	// AllowUnmetered lets modules run that do not pay fuel. Only for development: an
	// endless recursion in one can hold up the whole process.
	AllowUnmetered bool
	// Compile says how modules are compiled that nobody has compiled before. Zero: in this
	// process, held only by the limits on a module's shape.
	Compile Compile
	// Pool says how long instances are kept that wait for a request.
	Pool Pool
	// Interpreter runs guests in the interpreter even where there is a compiler.
	Interpreter bool
	// Clock tells the time to guests and measures. Nil: the machine's clock.
	Clock func() time.Time
	// Random is the guests' source of randomness. Nil: crypto/rand.
	Random io.Reader

	engine *engine // shared with other hosts; nil for one of its own

	// wasi gives a runtime the functions that guests import; nil for a plugin's. Who needs
	// no other one does not link it.
	wasi func(context.Context, wazero.Runtime) error
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
	cfg    Config
	engine *engine
	held   held // by all instances
	// realTime says that the clock is the machine's.
	realTime bool

	mu      sync.Mutex // guards the fields below
	plugins map[*Plugin]struct{}
	files   map[protocol.PluginName]*files
	budgets map[protocol.PluginName]*budget
	closed  bool
}

// New makes a Host. The error has CodeStorage when CacheDir cannot be used.
func New(_ context.Context, cfg Config) (*Host, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	realTime := cfg.Clock == nil
	if realTime {
		cfg.Clock = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	h := &Host{
		cfg: cfg, engine: cfg.engine, realTime: realTime, plugins: map[*Plugin]struct{}{},
		files: map[protocol.PluginName]*files{}, budgets: map[protocol.PluginName]*budget{},
	}
	if h.engine != nil {
		return h, nil
	}
	var err error
	if h.engine, err = newEngine(&h.cfg); err != nil {
		return nil, err
	}
	return h, nil
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
	for _, f := range h.files {
		f.close()
	}
	if h.cfg.engine != nil {
		return nil
	}
	return h.engine.close(ctx)
}

// acquire returns the compiled form of a module, compiling it if no plugin uses it yet.
func (h *Host) acquire(ctx context.Context, d protocol.Digest, wasm []byte, metered bool) (*code, error) {
	return h.admit(ctx, wasm, d, Verdict{Metered: metered})
}

// admit is acquire for a module on which there is a verdict; what compiling showed is
// kept with it.
func (h *Host) admit(ctx context.Context, wasm []byte, d protocol.Digest, v Verdict) (*code, error) {
	h.mu.Lock()
	closed := h.closed
	h.mu.Unlock()
	if closed {
		return nil, protocol.Errorf(protocol.CodeUnavailable, "host is closed")
	}
	c, err := h.engine.acquire(ctx, module{digest: d, wasm: wasm, metered: v.Metered, proven: v.Compiles})
	if err == nil && c.proven && !v.Compiles && v.SizeB > 0 && h.cfg.Verdicts != nil {
		v.Compiles = true
		h.cfg.Verdicts.Keep(d, v)
	}
	return c, err
}

// release gives code back; the last user frees it.
func (h *Host) release(ctx context.Context, c *code) { h.engine.release(ctx, c) }

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
func (h *Host) known(d protocol.Digest) Verdict {
	v := h.engine.verdict(d)
	if v.SizeB == 0 && h.cfg.Verdicts != nil {
		v, _ = h.cfg.Verdicts.Verdict(d)
	}
	return v
}
