//go:build linux && (amd64 || arm64 || riscv64)

package edge_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
	"github.com/stavily/stavily/wasmhost/native"
)

// program builds a package as a native program.
func program(t *testing.T, pkg string, flags string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), filepath.Base(pkg))
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w "+flags, "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, text)
	}
	return out
}

// publishNative makes a release with an artifact for this machine beside a module that is
// none: an agent that takes that one fails.
func (h *hubSide) publishNative(name string, of protocol.PluginType, body []byte) {
	h.t.Helper()
	module := []byte("no module: " + name)
	art := protocol.NewArtifact("linux-"+runtime.GOARCH, body)
	h.put(body)
	h.put(module)
	ref := h.sealRelease(protocol.Release{
		Manifest: protocol.Manifest{
			Plugin:  protocol.PluginInfo{Name: protocol.PluginName(name), Version: "1.0.0", Type: of, Description: "x"},
			Runtime: protocol.Runtime{Language: "go"}, Sandbox: true,
		},
		Artifacts: []protocol.Artifact{protocol.NewArtifact(protocol.PlatformWASM, module), art},
	})
	h.release[name], h.art[ref.Plugin] = ref, art
}

// U-03: an agent that may runs each release's native artifact in a jail, which its own
// program sets up, through the whole way of TestRealPlugins. A plugin that rests ends its
// process; its next question gets another one.
func TestNativePlugins(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the agent and three programs")
	}
	self := program(t, "./stavily-edge", "")
	hub := newHubSide(t)
	for _, p := range []struct {
		name string
		of   protocol.PluginType
	}{{"tick", protocol.Trigger}, {"work", protocol.Action}, {"tell", protocol.Output}} {
		body, err := os.ReadFile(program(t, "./testdata/guest", "-X main.name="+p.name+" -X main.kind="+string(p.of)))
		if err != nil {
			t.Fatal(err)
		}
		hub.publishNative(p.name, p.of, body)
	}
	w := hub.workflow("w")
	for _, s := range []*protocol.Step{&w.Trigger, &w.Actions[0], &w.Outputs[0]} {
		s.Platform = "linux-" + runtime.GOARCH
	}
	hub.deploy(hub.desired(1, w))
	hub.out = nil

	dir := t.TempDir()
	var mu sync.Mutex
	var confined []native.Confinement
	jails := func(engine *wasmhost.Host) loads {
		host, err := native.New(t.Context(), native.Config{Calls: engine, Dir: filepath.Join(dir, "native"), Self: self})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = host.Close(context.Background()) })
		return func(ctx context.Context, s wasmhost.Spec) (wasmhost.Loaded, error) {
			p, err := host.Load(ctx, s)
			if err != nil {
				return nil, err
			}
			mu.Lock()
			defer mu.Unlock()
			confined = append(confined, p.Confinement())
			return p, nil
		}
	}
	if host := probeJail(t, self); host != "" {
		t.Skipf("no jail here: %s", host)
	}
	real{dir: dir, hub: hub, native: jails, done: func() bool { return len(hub.results) >= 6 && len(hub.events) >= 3 }}.run(t)
	checkEachRun(t, hub, 3)
	mu.Lock()
	defer mu.Unlock()
	enforced := func(c native.Confinement) bool {
		return c.Of(native.LayerNamespaces).Enforced && c.Of(native.LayerSeccomp).Enforced
	}
	if len(confined) < 3 || slices.ContainsFunc(confined, func(c native.Confinement) bool { return !enforced(c) }) {
		t.Errorf("%d processes, confined as %v", len(confined), confined)
	}
}

// probeJail says why this machine has no jail, empty when it has one.
func probeJail(t *testing.T, self string) string {
	t.Helper()
	engine, err := wasmhost.New(t.Context(), wasmhost.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close(context.Background())
	host, err := native.New(t.Context(), native.Config{Calls: engine, Dir: filepath.Join(t.TempDir(), "n"), Self: self})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close(context.Background())
	for _, r := range host.Layers() {
		if !r.Enforced && (r.Field == native.LayerNamespaces || r.Field == native.LayerSeccomp) {
			return r.Field + ": " + r.By
		}
	}
	return ""
}
