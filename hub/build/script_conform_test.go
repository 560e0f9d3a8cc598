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
	engine, err := FindEngine(got.Outputs[0].Engine)
	if err != nil {
		t.Fatal(err)
	}
	mounts, err := engine.Mounts(got.Module)
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
func conforms(t *testing.T, target conform.Target, kind protocol.PluginType) {
	t.Helper()
	r, err := conform.Run(t.Context(), target, conform.Options{Cases: conform.Cases(), Clock: time.Now})
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
			conforms(t, engined(t, "javascript", files), kind)
		})
	}
}

// The Python SDK does in every type what ABI.md says.
func TestPythonConforms(t *testing.T) {
	needEngine(t, "cpython")
	if testing.Short() {
		t.Skip("compiles an engine, which takes long under the race detector")
	}
	if os.Getenv(everyRow) == "" {
		t.Skip("compiles CPython and interprets it: STAVILY_EVERY_ROW=1 runs it")
	}
	text := readText(t, "../../plugins/sdk/python/conformance/main.py")
	for _, kind := range []protocol.PluginType{protocol.Action, protocol.Trigger, protocol.Output} {
		t.Run(string(kind), func(t *testing.T) {
			files := map[string]string{"main.py": "KIND = \"" + string(kind) + "\"\n" + text}
			conforms(t, engined(t, "python", files), kind)
		})
	}
}
