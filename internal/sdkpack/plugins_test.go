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

	"go.yaml.in/yaml/v3"

	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/hub/deploy"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
	"github.com/stavily/stavily/wasmhost/meter"
)

var all = []string{"append-file", "system-command", "system-health"}

func tree(name string) fs.FS { return os.DirFS(filepath.Join("..", "..", "plugins", name)) }

func manifestOf(t *testing.T, name string) *protocol.Manifest {
	t.Helper()
	m, warnings, err := build.ReadManifest(tree(name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for _, w := range warnings { // that programs run outside of the sandbox is worth one
		if name != "system-command" || !strings.Contains(w, "process.execute") {
			t.Errorf("%s: %s", name, w)
		}
	}
	return m
}

// Manifests, schemas and examples are what the hub wants of any plugin. M-01 to M-31
func TestPluginsAreInOrder(t *testing.T) {
	for _, name := range all {
		m := manifestOf(t, name)
		if string(m.Plugin.Name) != name {
			t.Errorf("%s: is named %q", name, m.Plugin.Name)
		}
		text, err := build.ReadSchema(tree(name), m)
		if err != nil {
			t.Fatal(err)
		}
		schema, err := deploy.CompileSchema(name, text)
		if err != nil {
			t.Fatal(err)
		}
		examples, err := fs.Glob(tree(name), "examples/*.yaml")
		if err != nil || len(examples) < 2 {
			t.Errorf("%s: %d examples, %v", name, len(examples), err)
		}
		for _, example := range examples {
			if err := schema.Validate(exampleOf(t, name, example)); err != nil {
				t.Errorf("%s: %s: %v", name, example, err)
			}
		}
	}
}

// What the plugin refuses, the schema refuses before it is sent.
func TestSchemasRefuse(t *testing.T) {
	for name, configs := range map[string][]string{
		"system-health": {
			`{}`, `{metric: load.1}`, `{metric: load.1, above: 1, below: 1}`, `{metric: cpu, above: 1}`,
			`{metric: load.1, above: 1, for: 30}`, `{metric: load.1, above: 1, for: -1s}`,
			`{metric: load.1, above: 1, hysteresis: -1}`, `{metric: load.1, above: 1, x: 1}`,
		},
		"system-command": {
			`{}`, `{run: []}`, `{run: ls}`, `{run: [""]}`, `{run: [a], output_max: 0}`, `{run: [a], output_max: 20000}`,
			`{run: [a], ok_exit: []}`, `{run: [a], ok_exit: [256]}`, `{run: [a], timeout: soon}`, `{run: [a], shell: true}`,
		},
		"append-file": {
			`{file: ""}`, `{file: /etc/x}`, `{file: ../x}`, `{file: a/../x}`, `{file: .}`, `{file: a//b}`, `{file: a/}`,
			`{file: 'a\b'}`, `{file: "a\0"}`, `{sync: 1}`, `{path: x}`,
		},
	} {
		text, err := fs.ReadFile(tree(name), "config-schema.json")
		if err != nil {
			t.Fatal(err)
		}
		schema, err := deploy.CompileSchema(name, text)
		if err != nil {
			t.Fatal(err)
		}
		for _, config := range configs {
			var v any
			if err := yaml.Unmarshal([]byte(config), &v); err != nil {
				t.Fatal(err)
			}
			if schema.Validate(v) == nil {
				t.Errorf("%s: %s: not refused", name, config)
			}
		}
	}
}

func exampleOf(t *testing.T, name, example string) any {
	t.Helper()
	text, err := fs.ReadFile(tree(name), example)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// Every example is taken by the plugin's own module in the room where it will run, and
// the plugin answers there. M-29
func TestPluginsInTheirRoom(t *testing.T) {
	if testing.Short() {
		t.Skip("builds every plugin")
	}
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
	host, err := wasmhost.New(t.Context(), wasmhost.Config{Calls: map[string]wasmhost.HostCall{
		"metrics.read": record("metrics.read", map[string]any{"values": map[string]any{
			"memory.percent": 42.0, "disk.free": 5, "temperature.cpu": 93.5,
		}}),
		"process.run": record("process.run", map[string]any{
			"exit": 0, "stdout": "up 1 day\n", "stderr": "", "truncated": false, "took_ms": 2,
		}),
		"fs.append": record("fs.append", map[string]any{"size": 3}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = host.Close(context.Background()) }()
	for _, name := range all {
		m, wasm := manifestOf(t, name), module(t, name)
		examples, _ := fs.Glob(tree(name), "examples/*.yaml")
		for _, example := range examples {
			asked = nil
			a := inRoom(t, host, m, wasm, exampleOf(t, name, example))
			if a.Error != nil || len(asked) != 1 {
				t.Errorf("%s: %s: %v, asked %q", name, example, a.Error, asked)
			}
			holds(t, name+"/"+filepath.Base(example), a, asked)
		}
	}
}

// holds checks what some examples must do, by name.
func holds(t *testing.T, name string, a wasmhost.Answer, asked []string) {
	t.Helper()
	switch name {
	case "system-health/heartbeat.yaml":
		var e struct {
			Value float64 `cbor:"value"`
		}
		if len(a.Events) != 1 || protocol.Unmarshal(a.Events[0], &e) != nil || e.Value != 42 || a.Next.AfterMS != 1000 {
			t.Errorf("%s: %d events, value %v, next %d", name, len(a.Events), e.Value, a.Next.AfterMS)
		}
	case "system-command/count-words.yaml":
		want := `process.run {"argv":["wc","-w"],"output_max":100,"stdin":"one two three","timeout_ms":`
		if !strings.HasPrefix(asked[0], want) {
			t.Errorf("%s: asked %s", name, asked)
		}
	case "append-file/fast.yaml":
		if !strings.Contains(asked[0], `"path":"log/heartbeats.jsonl","sync":false`) ||
			!strings.Contains(asked[0], `\"event\":{\"value\":81}`) {
			t.Errorf("%s: asked %s", name, asked)
		}
	}
}

// inRoom loads a plugin with a configuration and asks it once what its type is asked. The
// plugin stays until the host closes, so that its code is compiled once.
func inRoom(t *testing.T, host *wasmhost.Host, m *protocol.Manifest, wasm []byte, config any) wasmhost.Answer {
	t.Helper()
	raw := func(v any) protocol.Raw {
		b, err := protocol.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	wishes, err := m.Wishes()
	if err != nil {
		t.Fatal(err)
	}
	for i := range wishes {
		if wishes[i].Capability == protocol.CapProcess {
			wishes[i].Scopes = []string{"uptime", "wc", "systemctl"}
		}
	}
	p, err := host.Load(t.Context(), wasmhost.Spec{
		Manifest: *m, Wasm: wasm, Digest: protocol.DigestOf(wasm), Workflow: "flow",
		Step: protocol.Step{Name: "step", Config: raw(config), Grants: wishes},
	})
	if err != nil {
		t.Fatal(err)
	}
	now := protocol.Stamp{UnixMS: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()}
	r := wasmhost.Request{Kind: wasmhost.Wake, Why: wasmhost.WhyStart, Now: now, Key: "k"}
	switch m.Plugin.Type {
	case protocol.Action:
		r.Kind = wasmhost.Run
	case protocol.Output:
		r.Kind = wasmhost.Deliver
	}
	if r.Kind != wasmhost.Wake {
		r.Event = &protocol.Event{Workflow: "flow", Time: now, Data: raw(map[string]any{"value": 81})}
	}
	return p.Call(t.Context(), r)
}

// module builds a plugin of this tree to what an agent would load.
func module(t *testing.T, name string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "plugin.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", out, ".")
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
