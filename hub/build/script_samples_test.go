package build

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
	"github.com/stavily/stavily/wasmhost/conform"
)

// scriptSamples are the samples that an engine runs.
var scriptSamples = []struct {
	language, engine, sample string
	files                    map[string]string // in the source, by what they are in the SDK
}{
	{"javascript", "quickjs", "hello", map[string]string{"main.js": "js/samples/hello/main.js"}},
	{"javascript", "quickjs", "threshold", map[string]string{"main.js": "js/samples/threshold/main.js"}},
	{"typescript", "quickjs", "counter", map[string]string{"main.ts": "js/samples/counter/main.ts"}},
	{"python", "cpython", "hello", map[string]string{"main.py": "python/samples/hello/main.py"}},
	{"python", "cpython", "threshold", map[string]string{"main.py": "python/samples/threshold/main.py"}},
	{"python", "cpython", "counter", map[string]string{"main.py": "python/samples/counter/main.py"}},
}

// The samples answer byte for byte what those of the Go SDK answer.
func TestScriptSamplesAnswerLikeGo(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles engines")
	}
	hosts := map[string]*wasmhost.Host{"quickjs": sampleHost(t, true), "cpython": sampleHost(t, false)}
	programs := t.TempDir()
	for _, s := range scriptSamples {
		t.Run(s.language+"/"+s.sample, func(t *testing.T) {
			needEngine(t, s.engine)
			files := map[string]string{}
			for name, at := range s.files {
				files[name] = readText(t, "../../plugins/sdk/"+at)
			}
			target := runnable(t, s.engine, s.language, files)
			golang := goSample(t, filepath.Join(programs, s.sample), s.sample)
			for _, e := range exchanges {
				if e.sample != s.sample {
					continue
				}
				in := strings.Join(e.lines, "\n") + "\n"
				want, got := nativeAnswers(t, golang, in), guestAnswers(t, hosts[s.engine], target, in)
				if want != got {
					t.Errorf("to\n%sGo says\n%s%s says\n%s", in, want, s.language, got)
				}
			}
		})
	}
}

// runnable is what runs a sample: built as a hub does, or for CPython, which is long compiling
// itself to compile a sample, from the sources that it would compile.
func runnable(t *testing.T, engine, language string, files map[string]string) conform.Target {
	t.Helper()
	if engine != "cpython" {
		return engined(t, language, files)
	}
	sources, err := pythonSources(tree(files).MapFS, false)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := zipped(sources)
	if err != nil {
		t.Fatal(err)
	}
	target := started(t, engine, packed)
	target.Args = []string{"python", "-I", "-S", "-B", appPath + "/__main__.py"}
	return target
}

// sampleHost is the engine that is quicker for all of a language's samples: the interpreter
// begins at once, the compiler keeps what it has compiled.
func sampleHost(t *testing.T, interpreted bool) *wasmhost.Host {
	t.Helper()
	h, err := wasmhost.New(t.Context(), wasmhost.Config{
		Clock: time.Now, Interpreter: interpreted, CacheDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func goSample(t *testing.T, out, name string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", out, "./samples/"+name)
	cmd.Dir, cmd.Env = "../../plugins/sdk/go", append(os.Environ(), "GOWORK=off")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	return out
}

func nativeAnswers(t *testing.T, program, in string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Stdin = strings.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	return withoutSDK(t, out)
}

// guestAnswers returns what an engine says with a script.
func guestAnswers(t *testing.T, h *wasmhost.Host, of conform.Target, in string) string {
	t.Helper()
	metered, err := Meter(of.Wasm)
	if err != nil {
		t.Fatal(err)
	}
	manifest := &protocol.Manifest{Limits: protocol.Limits{MemoryMB: 64, CPUCores: 2}}
	m, err := h.Module(t.Context(), metered, manifest)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(t.Context())
	if err := m.See(of.Args, of.Mounts); err != nil {
		t.Fatal(err)
	}
	guest, err := m.Start(manifest.Limits.WithDefaults(), func(l protocol.LogLine) { t.Log(l.Text) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(guest, in); err != nil {
		t.Fatal(err)
	}
	guest.Finish()
	out, err := io.ReadAll(guest)
	if err != nil {
		t.Fatalf("%v after %s", err, out)
	}
	return withoutSDK(t, out)
}

// withoutSDK takes the name of the SDK out of a hello.
func withoutSDK(t *testing.T, out []byte) string {
	t.Helper()
	first, rest, _ := bytes.Cut(out, []byte("\n"))
	var hello struct{ Hello map[string]any }
	if err := json.Unmarshal(first, &hello); err != nil || hello.Hello["sdk"] == "" {
		t.Fatalf("first line %s, %v", first, err)
	}
	delete(hello.Hello, "sdk")
	delete(hello.Hello, "batch") // what it takes at once is its own
	again, err := json.Marshal(hello)
	if err != nil {
		t.Fatal(err)
	}
	return string(again) + "\n" + string(rest)
}
