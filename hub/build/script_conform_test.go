package build

import (
	"os"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost/conform"
)

// engined builds a source and returns what runs it.
func engined(t testing.TB, language string, files map[string]string) conform.Target {
	t.Helper()
	got, err := scriptBuilder(t, nil).Build(t.Context(), scriptRequest(language, files))
	if err != nil {
		t.Fatal(err)
	}
	return started(t, got.Outputs[0].Engine, got.Module)
}

// started is an engine with the files of an archive.
func started(t testing.TB, name string, archive []byte) conform.Target {
	t.Helper()
	engine, err := FindEngine(name)
	if err != nil {
		t.Fatal(err)
	}
	mounts, err := engine.Mounts(archive)
	if err != nil {
		t.Fatal(err)
	}
	return conform.Target{Wasm: engine.Module, Args: engine.Args, Mounts: mounts}
}

func readText(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// conforms wants every check of a conformance plugin to pass.
func conforms(t *testing.T, target conform.Target, kind protocol.PluginType, opts conform.Options) {
	t.Helper()
	opts.Cases, opts.Clock = conform.Cases(), time.Now
	r, err := conform.Run(t.Context(), target, opts)
	if err != nil {
		t.Fatal(err)
	}
	made := 0
	for _, c := range r.Checks {
		t.Logf("%-60s %s %s (%d us)", c.Name, c.Verdict, c.Detail, c.TookUS)
		if c.Verdict == conform.Failed {
			t.Errorf("%s: %s", c.Name, c.Detail)
		}
		if c.Verdict == conform.OK {
			made++
		}
	}
	if made < 60 || !r.Passed() || r.Type != string(kind) || r.Plugin != "conformance" {
		t.Errorf("%d checks made of %s %q", made, r.Type, r.Plugin)
	}
}

// everyRow asks for the rows that say little that is new.
const everyRow = "STAVILY_EVERY_ROW"

// The JavaScript SDK does in every type what ABI.md says.
func TestJavaScriptConforms(t *testing.T) {
	needEngine(t, "quickjs")
	if testing.Short() {
		t.Skip("compiles an engine, which takes long under the race detector")
	}
	text := readText(t, "../../plugins/sdk/js/conformance/main.js")
	for _, kind := range []protocol.PluginType{protocol.Action, protocol.Trigger, protocol.Output} {
		t.Run(string(kind), func(t *testing.T) {
			if kind != protocol.Action && os.Getenv(everyRow) == "" {
				t.Skip("STAVILY_EVERY_ROW=1 runs it")
			}
			files := map[string]string{"main.js": "const KIND = \"" + string(kind) + "\";\n" + text}
			target := engined(t, "javascript", files)
			conforms(t, target, kind, conform.Options{})
			if kind == protocol.Action {
				comesBack(t, target)
			}
		})
	}
}

// The Python SDK does in every type what ABI.md says, where an engine has been made.
func TestPythonConforms(t *testing.T) {
	needEngine(t, "cpython")
	if testing.Short() {
		t.Skip("compiles an engine, which takes long under the race detector")
	}
	every := os.Getenv(everyRow) != ""
	text := readText(t, "../../plugins/sdk/python/conformance/main.py")
	for _, kind := range []protocol.PluginType{protocol.Action, protocol.Trigger, protocol.Output} {
		t.Run(string(kind), func(t *testing.T) {
			if kind != protocol.Action && !every {
				t.Skip("STAVILY_EVERY_ROW=1 runs it, and all in the interpreter")
			}
			files := map[string]string{"main.py": "KIND = \"" + string(kind) + "\"\n" + text}
			// A start takes seconds in the interpreter, more on a busy machine.
			opts := conform.Options{CompiledOnly: !every, Timeout: 2 * time.Minute}
			target := engined(t, "python", files)
			conforms(t, target, kind, opts)
			if kind == protocol.Action {
				comesBack(t, target)
			}
		})
	}
}
