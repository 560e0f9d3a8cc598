package wasmhost

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost/meter"
)

// guestDir is where the guests of testdata are built to, once for a run of tests.
var guestDir string

// TestMain is a child of Compile too: the tests' hosts start this program again.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == CompileCommand {
		os.Exit(CompileChild(os.Args[2:], os.Stdin, os.Stdout))
	}
	dir, err := os.MkdirTemp("", "wasmhost-guests")
	if err != nil {
		panic(err)
	}
	guestDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

var builds sync.Map // name -> func() ([]byte, error)

var meterings sync.Map // name -> []byte

// guest returns the metered module of testdata/guests/<name>.
func guest(t testing.TB, name string) []byte {
	t.Helper()
	if known, ok := meterings.Load(name); ok {
		if wasm, ok := known.([]byte); ok {
			return wasm
		}
	}
	metered, err := meter.Instrument(plainGuest(t, name))
	if err != nil {
		t.Fatal(err)
	}
	meterings.Store(name, metered)
	return metered
}

// plainGuest returns the module of testdata/guests/<name> as the compiler left it.
func plainGuest(t testing.TB, name string) []byte {
	t.Helper()
	build, _ := builds.LoadOrStore(name, sync.OnceValues(func() ([]byte, error) {
		out := filepath.Join(guestDir, name+".wasm")
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "./testdata/guests/"+name)
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build guest %s: %w\n%s", name, err, text)
		}
		return os.ReadFile(out)
	}))
	f, _ := build.(func() ([]byte, error))
	wasm, err := f()
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

// newHost makes a host; without a cache of its own it shares engine and code with all tests.
func newHost(t testing.TB, cfg Config) *Host {
	t.Helper()
	if cfg.CacheDir == "" {
		cfg.engine = sharedEngine(t, cfg.Interpreter)
	}
	h, err := New(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return h
}

// engines holds the engines that tests share.
var engines = struct {
	mu  sync.Mutex // guards the field below
	all map[bool]*engine
}{all: map[bool]*engine{}}

// sharedEngine returns the engine of all tests. What it compiles shows that real modules
// fit the bounds that nobody set.
func sharedEngine(t testing.TB, interpreter bool) *engine {
	t.Helper()
	engines.mu.Lock()
	defer engines.mu.Unlock()
	e := engines.all[interpreter]
	if e == nil {
		var err error
		e, err = newEngine(&Config{
			CacheDir: filepath.Join(guestDir, "cache"), Interpreter: interpreter, Log: slog.New(slog.DiscardHandler),
			Clock: time.Now, Compile: Compile{Command: compileCommand(t), Wall: 5 * time.Minute},
		})
		if err != nil {
			t.Fatal(err)
		}
		engines.all[interpreter] = e
	}
	return e
}

// compileCommand starts a child of Compile. Under the race detector it is this program
// built without it: code is compiled ten times faster and is the same.
func compileCommand(t testing.TB) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if raceDetector {
		if self, err = withoutRace(); err != nil {
			t.Fatal(err)
		}
	}
	return []string{self, CompileCommand}
}

var withoutRace = sync.OnceValues(func() (string, error) {
	out := filepath.Join(guestDir, "withoutrace.test")
	if text, err := exec.Command("go", "test", "-c", "-o", out, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the tests without the race detector: %w\n%s", err, text)
	}
	return out, nil
})

// specOf returns a spec for a module of an action by that name.
func specOf(name string, wasm []byte) Spec {
	return Spec{
		Manifest: protocol.Manifest{
			Plugin: protocol.PluginInfo{Name: protocol.PluginName(name), Version: "1.0.0", Type: protocol.Action},
			Limits: protocol.Limits{Seconds: 60, CPUCores: 1},
		},
		Wasm: wasm, Digest: protocol.DigestOf(wasm),
		Step:     protocol.Step{Name: "step"},
		Workflow: "flow",
	}
}

func load(t testing.TB, h *Host, s Spec) *Plugin {
	t.Helper()
	p, err := h.Load(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	if r, ok := p.room.(*moduleRoom); ok {
		pin(r.code, h.engine)
	}
	t.Cleanup(func() { p.Close(context.Background()) })
	return p
}

var pinned sync.Map // *code -> true

// pin makes an engine that is shared hold on to the code.
func pin(c *code, e *engine) {
	if _, done := pinned.LoadOrStore(c, true); done {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	c.users++
}

// users returns how many users an engine's code has in all.
func users(e *engine) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.codes {
		n += c.users
	}
	return n
}

// work is a run request with this data, in JSON.
func work(t testing.TB, data string) Request {
	t.Helper()
	return Request{
		Kind: Run, Key: "k", Now: protocol.Stamp{UnixMS: 1_790_000_000_000},
		Event: &protocol.Event{Workflow: "flow", Data: rawOf(t, data)},
	}
}

func rawOf(t testing.TB, json string) protocol.Raw {
	t.Helper()
	var w writer
	if err := fromJSON(&w, []byte(json), dataDepthMax); err != nil {
		t.Fatalf("%s: %v", json, err)
	}
	return w.b
}

func jsonOf(v protocol.Raw) string { return string(toJSON(nil, v)) }
