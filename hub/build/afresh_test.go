package build

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
	"github.com/stavily/stavily/wasmhost/conform"
)

// comesBack holds a conformance plugin, an action, to what a host promises of a guest that ends in the
// midst of a request, by a defect, by its own exit or at its deadline: that request is answered with an
// error and told what it cost, the next one is worked on by a fresh instance that was told its
// configuration, and of a batch only the one that did it is lost.
func comesBack(t *testing.T, target conform.Target) {
	t.Helper()
	p := loaded(t, target)
	ask := func(do string) wasmhost.Request {
		data, err := wasmhost.FromJSON([]byte(do))
		if err != nil {
			t.Fatal(err)
		}
		r := wasmhost.Request{Kind: wasmhost.Run, Key: "k", Event: &protocol.Event{Workflow: "w", Data: data}}
		if do == `{"do":"spin"}` {
			r.TimeoutMS = 500
		}
		return r
	}
	counted := func(a wasmhost.Answer) (n int) {
		if a.Error != nil || protocol.Unmarshal(a.Data, &n) != nil {
			t.Fatalf("count: %v, %x", a.Error, a.Data)
		}
		return n
	}
	count := ask(`{"do":"count"}`)
	for _, c := range []struct {
		do   string
		code protocol.Code
	}{
		{`{"do":"exit","code":3}`, protocol.CodeContract},
		{`{"do":"spin"}`, protocol.CodeDeadline},
		{`{"do":"panic","text":"boom"}`, 0}, // some languages answer for a defect, and go on
	} {
		before := counted(p.Call(t.Context(), count))
		a := p.Call(t.Context(), ask(c.do))
		kept := c.code == 0 && a.Error != nil && a.Error.Code == protocol.CodePlugin
		if a.Error == nil || a.Error.Code != c.code && c.code != 0 || a.Usage.Fuel == 0 {
			t.Errorf("%s: answered %v, used %+v; want %v", c.do, a.Error, a.Usage, c.code)
		}
		if now := counted(p.Call(t.Context(), count)); kept != (now == before+1) || !kept && now != 1 {
			t.Errorf("%s: counts %d after it, %d before", c.do, now, before)
		}
	}
	answers := p.CallBatch(t.Context(), []wasmhost.Request{count, ask(`{"do":"exit","code":3}`), count, count})
	if len(answers) != 4 || answers[1].Error == nil || answers[1].Error.Code != protocol.CodeContract {
		t.Fatalf("a batch: %+v", answers)
	}
	counted(answers[0])
	if first, second := counted(answers[2]), counted(answers[3]); first != 1 || second != 2 {
		t.Errorf("after the end in a batch it counts %d, %d; want 1, 2", first, second)
	}
	a := p.Call(t.Context(), ask(`{"do":"init"}`))
	if text := string(wasmhost.ToJSON(a.Data)); a.Error != nil || !strings.Contains(text, `"value":7`) {
		t.Errorf("the fresh instance was told %s, %v", text, a.Error)
	}
}

// loaded is a conformance plugin in a host like an agent's.
func loaded(t *testing.T, target conform.Target) *wasmhost.Plugin {
	t.Helper()
	wasm, err := wasmhost.Metered(target.Wasm)
	if err != nil {
		t.Fatal(err)
	}
	h, err := wasmhost.New(t.Context(), wasmhost.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close(context.Background()) })
	p, err := h.Load(t.Context(), wasmhost.Spec{
		Manifest: protocol.Manifest{
			Plugin: protocol.PluginInfo{Name: "conformance", Version: "1.0.0", Type: protocol.Action},
			Limits: protocol.Limits{MemoryMB: 256, Seconds: 120},
		},
		Wasm: wasm, Digest: protocol.DigestOf(wasm), Args: target.Args, Mounts: target.Mounts,
		Step: protocol.Step{Name: "s", Config: protocol.MustMarshal(map[string]int{"value": 7})}, Workflow: "w",
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A Go plugin comes back after a trap; those of the other languages where they are built anyway.
func TestGoComesBack(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles a module of 3 MB")
	}
	out := filepath.Join(t.TempDir(), "conformance.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, "./conformance")
	cmd.Dir = "../../plugins/sdk/go"
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOWORK=off")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	wasm, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	comesBack(t, conform.Target{Wasm: wasm})
}
