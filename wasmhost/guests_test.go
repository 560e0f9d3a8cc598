package wasmhost

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost/meter"
)

// guestDir is where the guests of testdata are built to, once for a run of tests.
var guestDir string

func TestMain(m *testing.M) {
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

// newHost makes a host; without a cache of its own it shares the code of all tests.
func newHost(t testing.TB, cfg Config) *Host {
	t.Helper()
	if cfg.CacheDir == "" {
		cfg.CacheDir = filepath.Join(guestDir, "cache")
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
	t.Cleanup(func() { p.Close(context.Background()) })
	return p
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
