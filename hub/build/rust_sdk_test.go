package build

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/wasmhost/conform"
)

const rustSDK = "../../plugins/sdk/rust"

// The Rust SDK does what ABI.md says, built by its row of the table, in CBOR.
func TestRustSDKConforms(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(rustSDK, "conformance/src/main.rs"))
	if err != nil {
		t.Fatal(err)
	}
	plugin := crate.with("src/main.rs", string(text)).
		with("Cargo.toml", crateText+"\n[features]\njson = [\"stavily/json\"]\ntrigger = []\noutput = []\n")
	r, err := newBuilder(t).Build(t.Context(), rust(t, plugin))
	if err != nil {
		t.Fatal(err)
	}
	rustConforms(t, conform.Target{Wasm: r.Module}, "cbor", conform.Cases())
	comesBack(t, conform.Target{Wasm: r.Module})
}

func rustConforms(t *testing.T, target conform.Target, encoding string, cases []conform.Case) {
	t.Helper()
	report, err := conform.Run(t.Context(), target, conform.Options{Cases: cases, Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range report.Checks {
		if c.Verdict == conform.Failed {
			t.Errorf("%s: %s", c.Name, c.Detail)
		}
	}
	if !report.Passed() || report.Encoding != encoding || len(report.Checks) < 20 {
		t.Errorf("%s: %d checks of %s", report.SDK, len(report.Checks), report.Encoding)
	}
}

// The modules of wasmhost/testdata/rust, which the simulator and the benchmarks use, keep
// the contract.
func TestRustGuestsConform(t *testing.T) {
	for _, name := range []string{"trigger", "action", "output", "threshold"} {
		rustConforms(t, conform.Target{Wasm: rustGuest(t, name)}, "cbor", nil)
	}
}

func rustGuest(t *testing.T, name string) []byte {
	t.Helper()
	wasm, err := os.ReadFile("../../wasmhost/testdata/rust/" + name + ".wasm")
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

// exchange is a session: what the host says to a sample, line by line.
var exchanges = []struct {
	sample string
	lines  []string
}{
	{"hello", []string{
		`{"init":{"config":{"name":"Ada \"ü\""},"workflow":"w","step":"s"}}`,
		`{"id":1,"run":{"event":{"run":"000102030405060708090a0b0c0d0e0f","workflow":"w","time_ms":1,"data":null},"results":[],"key":"k"}}`,
		`{"reply":{"n":1,"ok":{}}}`,
		`{"id":2,"check":{"now_ms":1}}`,
	}},
	{"hello", []string{`{"init":{"config":{"who":"Ada"}}}`}},
	{"hello", []string{`{"init":{"config":{"name":"` + strings.Repeat("a", 81) + `"}}}`}},
	{"threshold", []string{
		`{"init":{"config":{"max":10}}}`,
		`{"id":1,"run":{"event":{"run":"00","workflow":"w","time_ms":1,"data":{"value":12.0}},"results":[],"key":"k","deadline_ms":1,"now_ms":1}}`,
		`{"reply":{"n":1,"ok":{"value":null}}}`, `{"reply":{"n":2,"ok":{}}}`,
		`{"id":2,"run":{"event":{"run":"00","workflow":"w","time_ms":1,"data":{"value":7.25}},"results":[],"key":"k","deadline_ms":1,"now_ms":1}}`,
		`{"reply":{"n":1,"ok":{"value":12}}}`, `{"reply":{"n":2,"error":{"code":"unavailable","text":"full"}}}`,
		`{"id":3,"run":{"event":{"run":"00","workflow":"w","time_ms":1,"data":{}},"results":[],"key":"k","deadline_ms":1,"now_ms":1}}`,
		`{"id":4,"run":{"event":{"run":"00","workflow":"w","time_ms":1,"data":{"value":1e-7}},"results":[],"key":"k","deadline_ms":1,"now_ms":1}}`,
		`{"reply":{"n":1,"error":{"code":"denied","text":"no"}}}`,
	}},
	{"counter", []string{
		`{"init":{"config":{"every":"1m30s"}}}`,
		`{"id":1,"wake":{"why":"start","now_ms":1,"state":null}}`,
		`{"id":2,"wake":{"why":"timer","now_ms":1,"state":{"count":41}}}`,
		`{"id":3,"wake":{"why":"start","now_ms":1,"state":null,"steady_ms":7000,"clock":true}}`,
		`{"id":4,"wake":{"why":"timer","now_ms":1,"state":{"count":2,"since_ms":7000},"steady_ms":9500,"clock":false}}`,
	}},
	{"counter", []string{`{"init":{"config":{"every":"1ms"}}}`}},
}

// The samples answer what those of the Go SDK answer. In which order an answer's keys come is
// each SDK's own: Rust's is that of deterministic CBOR, in JSON too.
func TestRustSamplesAnswerLikeGo(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles crates")
	}
	cargo, err := exec.LookPath("cargo")
	if err != nil {
		t.Skip("no cargo: " + rustHint)
	}
	target := t.TempDir()
	cmd := exec.CommandContext(t.Context(), cargo, "build", "-q", "--locked", "--offline", "--features", "json",
		"-p", "hello", "-p", "threshold", "-p", "counter")
	cmd.Dir, cmd.Env = rustSDK, append(os.Environ(), "CARGO_TARGET_DIR="+target, "CARGO_INCREMENTAL=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	for _, e := range exchanges {
		golang := filepath.Join(target, "go-"+e.sample)
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", golang, "./samples/"+e.sample)
		cmd.Dir, cmd.Env = "../../plugins/sdk/go", append(os.Environ(), "GOWORK=off")
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		in := strings.Join(e.lines, "\n") + "\n"
		want, got := answers(t, golang, in), answers(t, filepath.Join(target, "debug", e.sample), in)
		if want != got {
			t.Errorf("%s: Go says\n%sRust says\n%s", e.sample, want, got)
		}
	}
}

// answers returns what a program says, but for its name of the SDK.
func answers(t *testing.T, program, in string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Stdin = strings.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	first, rest, _ := bytes.Cut(out, []byte("\n"))
	var hello struct{ Hello map[string]any }
	if err := json.Unmarshal(first, &hello); err != nil || hello.Hello["sdk"] == "" {
		t.Fatalf("%s: %s, %v", program, first, err)
	}
	delete(hello.Hello, "sdk")
	said := []any{hello}
	for line := range bytes.Lines(rest) {
		var one any
		if err := json.Unmarshal(line, &one); err != nil {
			t.Fatalf("%s: %s: %v", program, line, err)
		}
		said = append(said, one)
	}
	var same strings.Builder
	for _, one := range said {
		text, err := json.Marshal(one) // keys in ascending order
		if err != nil {
			t.Fatal(err)
		}
		same.Write(append(text, '\n'))
	}
	return same.String()
}
