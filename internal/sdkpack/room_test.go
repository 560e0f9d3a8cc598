package main

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
	"github.com/stavily/stavily/wasmhost/meter"
)

// Every plugin's own module takes its examples in the room where it will run, and does
// its work there. M-29
func TestPluginsInTheirRoom(t *testing.T) {
	if testing.Short() {
		t.Skip("builds every plugin")
	}
	cache := filepath.Join(t.TempDir(), "cache")
	modules := map[string][]byte{}
	for _, name := range all {
		modules[name] = module(t, name)
	}
	t.Run("examples", func(t *testing.T) { examples(t, cache, modules) })
	t.Run("for real", func(t *testing.T) { forReal(t, cache, modules) })
}

// examples asks a plugin once with each of its examples, on a host that only notes what
// it is called for.
func examples(t *testing.T, cache string, modules map[string][]byte) {
	var asked []string
	record := func(name string, answer any) wasmhost.HostCall {
		return func(_ context.Context, _ wasmhost.Grants, args protocol.Raw) (any, error) {
			var v map[string]any
			err := protocol.Unmarshal(args, &v)
			line, _ := json.Marshal(v)
			asked = append(asked, name+" "+string(line))
			return answer, err
		}
	}
	r := newRoom(t, wasmhost.Config{CacheDir: cache, Calls: map[string]wasmhost.HostCall{
		"metrics.read": record("metrics.read", map[string]any{"values": map[string]any{
			"memory.percent": 42.0, "disk.free": 5, "temperature.cpu": 93.5,
		}}),
		"process.run": record("process.run", map[string]any{
			"exit": 0, "stdout": "up 1 day\n", "stderr": "", "truncated": false, "took_ms": 2,
		}),
		"fs.append": record("fs.append", map[string]any{"size": 3}),
	}})
	for _, name := range all {
		files, _ := fs.Glob(tree(name), "examples/*.yaml")
		for _, example := range files {
			asked = nil
			a := r.ask(t, name, modules[name], exampleOf(t, name, example))
			if a.Error != nil || len(asked) != 1 {
				t.Fatalf("%s: %s: %v, asked %q", name, example, a.Error, asked)
			}
			holds(t, name+"/"+filepath.Base(example), a, asked[0])
		}
	}
}

// holds checks what some examples must do, by name.
func holds(t *testing.T, name string, a wasmhost.Answer, asked string) {
	t.Helper()
	want := ""
	switch name {
	case "system-health/heartbeat.yaml":
		if len(a.Events) != 1 || a.Next.AfterMS != 1000 {
			t.Fatalf("%s: %d events, next %d", name, len(a.Events), a.Next.AfterMS)
		}
		if got := jsonOf(t, a.Events[0]); !strings.Contains(got, `"metric":"memory.percent","since_ms"`) ||
			!strings.Contains(got, `"value":42`) {
			t.Errorf("%s: event %s", name, got)
		}
	case "system-command/count-words.yaml":
		want = `process.run {"argv":["wc","-w"],"output_max":100,"stdin":"one two three","timeout_ms":`
	case "append-file/fast.yaml":
		want = `\"event\":{\"value\":81}`
	}
	if !strings.Contains(asked, want) {
		t.Errorf("%s: asked %s, want %s", name, asked, want)
	}
}

// forReal lets a program run and a file grow. X-05
func forReal(t *testing.T, cache string, modules map[string][]byte) {
	data := t.TempDir()
	r := newRoom(t, wasmhost.Config{CacheDir: cache, DataDir: data})
	for _, test := range []struct{ run, want string }{
		{"cat", `"stdout":"hello"`},
		{"false", `run "false": exit code 1, want one of [0]: nothing on stderr`},
		{"rm", "not in the scopes granted"},
	} {
		a := r.ask(t, "system-command", modules["system-command"],
			map[string]any{"run": []string{test.run}, "stdin": "hello"})
		said := jsonOf(t, a.Data)
		if a.Error != nil {
			said = a.Error.Text
		}
		if !strings.Contains(said, test.want) {
			t.Errorf("%s: %s, want %s", test.run, said, test.want)
		}
	}
	for range 2 {
		if a := r.ask(t, "append-file", modules["append-file"], nil); a.Error != nil {
			t.Fatal(a.Error)
		}
	}
	text, err := os.ReadFile(filepath.Join(data, "append-file", "runs.jsonl"))
	if err != nil || strings.Count(string(text), `"event":{"value":81},"results":[],"key":"k"}`+"\n") != 2 {
		t.Errorf("file: %q, %v", text, err)
	}
}

// room is a host and what it grants.
type room struct{ host *wasmhost.Host }

func newRoom(t *testing.T, cfg wasmhost.Config) room {
	t.Helper()
	host, err := wasmhost.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close(context.Background()) })
	return room{host}
}

// ask loads a plugin with a configuration and asks it once what its type is asked.
func (r room) ask(t *testing.T, name string, wasm []byte, config any) wasmhost.Answer {
	t.Helper()
	m := manifestOf(t, name)
	wishes, err := m.Wishes()
	if err != nil {
		t.Fatal(err)
	}
	for i := range wishes {
		if wishes[i].Capability == protocol.CapProcess {
			wishes[i].Scopes = []string{"cat", "false", "systemctl", "uptime", "wc"}
		}
	}
	p, err := r.host.Load(t.Context(), wasmhost.Spec{
		Manifest: *m, Wasm: wasm, Digest: protocol.DigestOf(wasm), Workflow: "flow",
		Step: protocol.Step{Name: "step", Config: rawOf(t, config), Grants: wishes},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(context.Background())
	return p.Call(t.Context(), request(t, m.Plugin.Type))
}

func request(t *testing.T, typ protocol.PluginType) wasmhost.Request {
	t.Helper()
	now := protocol.Stamp{UnixMS: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()}
	if typ == protocol.Trigger {
		return wasmhost.Request{Kind: wasmhost.Wake, Why: wasmhost.WhyStart, Now: now}
	}
	kind := wasmhost.Run
	if typ == protocol.Output {
		kind = wasmhost.Deliver
	}
	return wasmhost.Request{Kind: kind, Now: now, Key: "k", Event: &protocol.Event{
		Workflow: "flow", Time: now, Data: rawOf(t, map[string]any{"value": 81}),
	}}
}

func rawOf(t *testing.T, v any) protocol.Raw {
	t.Helper()
	b, err := protocol.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func jsonOf(t *testing.T, raw protocol.Raw) string {
	t.Helper()
	if len(raw) == 0 {
		return ""
	}
	var v map[string]any
	if err := protocol.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// module builds a plugin of this tree to what an agent would load.
func module(t *testing.T, name string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "plugin.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, ".")
	cmd.Dir = filepath.Join("..", "..", "plugins", name)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, text)
	}
	wasm, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	metered, err := meter.Instrument(wasm)
	if err != nil {
		t.Fatal(err)
	}
	return metered
}
