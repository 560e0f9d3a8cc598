package conform

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

var outDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "conform-guests")
	if err != nil {
		panic(err)
	}
	outDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// source is what a guest is built from.
type source struct {
	dir, pkg string
	flags    string // of the linker
	native   bool
}

var builds sync.Map // source -> func() (string, error)

// build returns the file that a source is built to.
func build(t testing.TB, s source) string {
	t.Helper()
	f, _ := builds.LoadOrStore(s, sync.OnceValues(func() (string, error) {
		name := strings.NewReplacer("/", "_", " ", "_", "=", "_", ".", "_").Replace(fmt.Sprint(s))
		out := filepath.Join(outDir, name)
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w "+s.flags, "-o", out, s.pkg)
		cmd.Dir, cmd.Env = s.dir, append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
		if !s.native {
			cmd.Env = append(cmd.Env, "GOOS=wasip1", "GOARCH=wasm")
		}
		if text, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %v: %w\n%s", s, err, text)
		}
		return out, nil
	}))
	once, _ := f.(func() (string, error))
	file, err := once()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// target builds a source into a target without a manifest.
func target(t testing.TB, s source) Target {
	t.Helper()
	file := build(t, s)
	if s.native {
		return Target{Command: []string{file}}
	}
	wasm, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return Target{Wasm: wasm}
}

func run(t testing.TB, target Target, opts Options) Report {
	t.Helper()
	opts.Clock = time.Now
	r, err := Run(context.Background(), target, opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sdks are the conformance plugins: a row for each SDK and encoding.
var sdks = []struct {
	name string
	of   func(kind string, native bool) source
}{
	{"go-json", func(kind string, native bool) source {
		return source{"../../plugins/sdk/go", "./conformance", "-X main.kind=" + kind, native}
	}},
	{"go-cbor", func(kind string, native bool) source {
		flags := "-X main.kind=" + kind + " -X main.encoding=cbor"
		return source{"../../plugins/sdk/go", "./conformance", flags, native}
	}},
}

// everyRow asks for the rows that say little that is new and take minutes.
const everyRow = "STAVILY_EVERY_ROW"

// Every SDK does in every type, encoding, engine and carrier what ABI.md says.
func TestSDKs(t *testing.T) {
	for _, sdk := range sdks {
		for _, kind := range []protocol.PluginType{protocol.Trigger, protocol.Action, protocol.Output} {
			for _, native := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/native=%v", sdk.name, kind, native), func(t *testing.T) {
					t.Parallel()
					if testing.Short() && (kind != protocol.Action || !native) {
						t.Skip("compiles modules, which takes minutes under the race detector")
					}
					if kind != protocol.Action && !native && os.Getenv(everyRow) == "" {
						t.Skip("a build and a minute of interpreting each; STAVILY_EVERY_ROW=1 runs it")
					}
					r := run(t, target(t, sdk.of(string(kind), native)), Options{Cases: Cases()})
					made := 0
					for _, c := range r.Checks {
						t.Logf("%-60s %s %s (%d us)", c.Name, c.Verdict, c.Detail, c.TookUS)
						if c.Verdict == Failed {
							t.Errorf("%s: %s", c.Name, c.Detail)
						}
						if c.Verdict == OK {
							made++
						}
					}
					if made < 60 || !r.Passed() || r.Type != string(kind) || r.Plugin != "conformance" {
						t.Errorf("%d checks made of %s %q", made, r.Type, r.Plugin)
					}
					if want := strings.TrimPrefix(sdk.name, "go-"); r.Encoding != want {
						t.Errorf("encoding %q, want %q", r.Encoding, want)
					}
				})
			}
		}
	}
}
