package meter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"
)

// features are those that the meter knows.
const features = api.CoreFeaturesV2 | experimental.CoreFeaturesTailCall |
	experimental.CoreFeaturesExtendedConst

// exits of a guest that the host of these tests ended.
const (
	exitFuel  = 0xf0e1
	exitStack = 0x57ac
)

// world is a runtime with a host that refills in slices until the budget is spent.
type world struct {
	t      testing.TB
	rt     wazero.Runtime
	budget int64
	slice  int64
	spent  int64 // refilled so far
	calls  int
	mods   []api.Module
}

// engines are the two that must agree.
func engines() map[string]wazero.RuntimeConfig {
	return map[string]wazero.RuntimeConfig{
		"compiler":    wazero.NewRuntimeConfigCompiler().WithCoreFeatures(features),
		"interpreter": wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(features),
	}
}

func newWorld(t testing.TB, c wazero.RuntimeConfig, budget, slice int64) *world {
	t.Helper()
	ctx := context.Background()
	w := &world{t: t, rt: wazero.NewRuntimeWithConfig(ctx, c), budget: budget, slice: slice}
	t.Cleanup(func() { _ = w.rt.Close(ctx) })
	_, err := w.rt.NewHostModuleBuilder(ImportModule).NewFunctionBuilder().
		WithFunc(w.out).Export(ImportName).Instantiate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// out is the host function as an agent would write it.
func (w *world) out(_ context.Context, m api.Module) {
	w.calls++
	fuel := m.ExportedGlobal(FuelGlobal).(api.MutableGlobal)
	if int64(m.ExportedGlobal(StackGlobal).Get()) < 0 {
		panic(sys.NewExitError(exitStack))
	}
	debt := -int64(fuel.Get())
	if w.spent+debt > w.budget {
		panic(sys.NewExitError(exitFuel))
	}
	add := min(debt+w.slice, w.budget-w.spent)
	w.spent += add
	fuel.Set(fuel.Get() + uint64(add))
}

// load instantiates a module, and fails the test when that cannot be done.
func (w *world) load(wasm []byte) api.Module {
	w.t.Helper()
	m, err := w.rt.InstantiateWithConfig(context.Background(), wasm, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		w.t.Fatal(err)
	}
	w.mods = append(w.mods, m)
	return m
}

// used is what the guest has spent.
func (w *world) used(m api.Module) int64 {
	return w.spent - int64(m.ExportedGlobal(FuelGlobal).Get())
}

func exitCode(err error) uint32 {
	var exit *sys.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

func mustInstrument(t testing.TB, wasm []byte) []byte {
	t.Helper()
	out, err := Instrument(wasm)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// buildGo builds the guest under testdata once per test binary run.
func buildGo(t testing.TB) []byte {
	t.Helper()
	if testing.Short() {
		t.Skip("builds a Go guest")
	}
	out := filepath.Join(t.TempDir(), "guest.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-o", out, "./testdata/goguest")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, b)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wazeroDir is where the module under go.mod lies, with the WebAssembly spec suite in it.
func wazeroDir(t testing.TB) string {
	t.Helper()
	b, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// validate runs wabt over a module.
func validate(t testing.TB, wasm []byte) {
	t.Helper()
	tool, err := exec.LookPath("wasm-validate")
	if err != nil {
		t.Skip("wasm-validate is not installed (Debian: wabt)")
	}
	path := filepath.Join(t.TempDir(), "m.wasm")
	if err := os.WriteFile(path, wasm, 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := exec.Command(tool, "--enable-tail-call", "--enable-extended-const", path).CombinedOutput()
	if err != nil {
		t.Errorf("wasm-validate: %v\n%s", err, b)
	}
}

func firstLine(err error) string {
	if err == nil {
		return ""
	}
	line, _, _ := strings.Cut(fmt.Sprint(err), "\n")
	return line
}
