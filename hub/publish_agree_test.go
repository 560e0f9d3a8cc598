package hub

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/hub/source"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// rustGuest returns a metered guest of wasmhost's testdata as an agent loads it.
func rustGuest(t *testing.T, name string, of protocol.PluginType) wasmhost.Spec {
	t.Helper()
	wasm, err := os.ReadFile(filepath.Join("..", "wasmhost", "testdata", "rust", name+".wasm"))
	check(t, err)
	wasm, err = build.Meter(wasm)
	check(t, err)
	m := protocol.Manifest{Plugin: protocol.PluginInfo{Name: protocol.PluginName(name), Version: "1.0.0", Type: of}}
	return wasmhost.Spec{
		Workflow: "publish", Step: protocol.Step{Name: "example"}, Manifest: m, Wasm: wasm,
		Digest: protocol.DigestOf(wasm),
	}
}

// F11: what the compiler makes of a module is held to the interpreter before anything is
// sealed, and a module that answers another way is refused.
func TestEnginesAgree(t *testing.T) {
	if testing.Short() {
		t.Skip("runs plugins in the interpreter")
	}
	p := &Publisher{Config: DefaultConfig(t.TempDir())}
	for name, of := range map[string]protocol.PluginType{
		"trigger": protocol.Trigger, "action": protocol.Action, "output": protocol.Output,
	} {
		spec := rustGuest(t, name, of)
		out, err := p.agreeOn(t.Context(), spec, append(asked(of), generated(of, nil)...))
		if err != nil || out.fuel == 0 || out.calls < 2+agreeGenerated || out.refused != "" {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
	}
	// One that does not start has to say the same in both.
	mute := rustGuest(t, "action", protocol.Action)
	mute.Manifest.Plugin.Name = "another"
	out, err := p.agreeOn(t.Context(), mute, asked(protocol.Action))
	if err != nil || !strings.Contains(out.refused, `hello: action "action", the manifest says action "another"`) {
		t.Errorf("a plugin of another name: %+v, %v", out, err)
	}
	host, err := wasmhost.New(t.Context(), wasmhost.Config{Interpreter: true})
	check(t, err)
	defer host.Close(t.Context())
	err = sameRefusal(t.Context(), host, mute, protocol.Errorf(protocol.CodeContract, "something else"))
	refused(t, err, protocol.CodeUnverified, "compiler and interpreter differ: one refuses to start")
	err = sameRefusal(t.Context(), host, rustGuest(t, "action", protocol.Action), protocol.Errorf(protocol.CodeContract, "no"))
	refused(t, err, protocol.CodeUnverified, "only the compiled one refuses to start: no")
}

// A verdict is kept, and one that was kept is not found out again.
func TestAgreementIsKept(t *testing.T) {
	if testing.Short() {
		t.Skip("runs plugins in the interpreter")
	}
	p := &Publisher{Config: DefaultConfig(t.TempDir())}
	spec := rustGuest(t, "action", protocol.Action)
	c := &candidate{module: spec.Wasm}
	c.release.Manifest = spec.Manifest
	first, err := p.agree(t.Context(), c)
	check(t, err)
	kept, err := filepath.Glob(filepath.Join(p.Config.cacheDir(), "agreed", "*"))
	if err != nil || len(kept) != 1 || !strings.HasPrefix(first, "1 of its configurations, ") {
		t.Fatalf("%q, kept %v, %v", first, kept, err)
	}
	check(t, os.WriteFile(kept[0], []byte("as it was"), 0o600))
	if again, err := p.agree(t.Context(), c); err != nil || again != "as it was" {
		t.Errorf("again: %q, %v", again, err)
	}
	c.release.Manifest.Plugin.Version = "1.0.1"
	if other, err := p.agree(t.Context(), c); err != nil || other != first {
		t.Errorf("another release: %q, %v", other, err)
	}
}

// A release without examples is asked what its schema, its cases and a seed give, the same each time.
func TestQuestions(t *testing.T) {
	c := &candidate{tree: &source.Tree{}}
	c.release.Manifest = rustGuest(t, "action", protocol.Action).Manifest
	c.release.Manifest.Configuration.Schema = "schema.json"
	c.release.Schema = []byte(`{"type":"object","required":["url","tries"],"additionalProperties":false,"properties":{
		"url":{"type":"string","minLength":70},"tries":{"type":"integer","minimum":3},"mode":{"enum":["a","b"]},
		"deep":{"type":"object","properties":{"list":{"type":"array","minItems":2,"items":{"type":"number"}}}}}}`)
	q, err := questionsOf(c)
	if err != nil || len(q.configs) != 1 || q.configs[0] != nil {
		t.Fatalf("what does not fit its schema is not tried: %d configurations, %v", len(q.configs), err)
	}
	c.release.Schema = bytes.Replace(c.release.Schema, []byte("70"), []byte("40"), 1)
	if q, err = questionsOf(c); err != nil || len(q.configs) != 2 {
		t.Fatalf("%d configurations, %v", len(q.configs), err)
	}
	url := "example, and more of it than the least t"
	for i, want := range []map[string]any{
		{"deep": map[string]any{"list": []int{0, 0}}, "mode": "a", "tries": 3, "url": url},
		{"tries": 3, "url": url},
	} {
		if !bytes.Equal(q.configs[i], protocol.MustMarshal(want)) {
			t.Errorf("configuration %d: %x, want %v", i, []byte(q.configs[i]), want)
		}
	}
	again, err := questionsOf(c)
	check(t, err)
	spec := rustGuest(t, "action", protocol.Action)
	if len(q.asked) != 2+agreeGenerated || agreeKey(&spec, q) != agreeKey(&spec, again) {
		t.Errorf("%d requests, or others the second time", len(q.asked))
	}
}

// What ends an instance ends it in both engines, and the rest is asked of another one.
func TestEnginesAgreeOnTraps(t *testing.T) {
	wasm, err := os.ReadFile(filepath.Join("..", "wasmhost", "testdata", "hostile", "traps.wasm"))
	check(t, err)
	wasm, err = build.Meter(wasm)
	check(t, err)
	spec := rustGuest(t, "action", protocol.Action)
	spec.Wasm, spec.Digest, spec.Manifest.Plugin.Name = wasm, protocol.DigestOf(wasm), "hostile"
	p := &Publisher{Config: DefaultConfig(t.TempDir())}
	out, err := p.agreeOn(t.Context(), spec, generated(protocol.Action, nil))
	if err != nil || out.calls != agreeGenerated || out.refused != "" {
		t.Errorf("%+v, %v", out, err)
	}
}
