package hub

import (
	"strings"
	"testing"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/storetest"
	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

const scriptSource = `import { action } from "@stavily/sdk";
export default action("NAME", {
	config: { n: 0 },
	run: (ctx, { event }) => ({ sum: event.data.value + ctx.config.n, by: "NAME" }),
});
`

func (w *world) script(name, language string) protocol.Release {
	w.Helper()
	p := plugin{name: name, version: "1.0.0"}
	main := map[string]string{"javascript": "main.js", "typescript": "main.ts"}[language]
	p.files = map[string]string{
		"main.go": "", "go.mod": "", main: strings.ReplaceAll(scriptSource, "NAME", name),
		"stavily-plugin.yaml": strings.ReplaceAll(p.manifest(), "language: go", "language: "+language),
	}
	r := w.published(p)
	sealed, err := w.hub.files.Get(r.Digest)
	check(w, err)
	payload, err := protocol.Open(protocol.ContextRelease, w.hub.keys.Ring, sealed)
	check(w, err)
	var out protocol.Release
	check(w, protocol.UnmarshalExact(payload, &out))
	return out
}

// P-03: a script goes the same way as a module, and an agent runs it by what the hub
// keeps: the engine's files are there once, whatever number of plugins names them.
func TestPublishScript(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles an engine")
	}
	if _, err := build.FindEngine("quickjs"); err != nil {
		t.Skipf("%v: make engines", err)
	}
	w := newWorld(t)
	one, two := w.script("one", "javascript"), w.script("two", "typescript")
	if n := len(w.filesKept()); n != 5 { // an engine, two scripts, two releases
		t.Errorf("%d files are kept, want 5", n)
	}
	disk := storetest.NewMemory()
	for _, r := range []protocol.Release{one, two} {
		a := r.Artifacts[0]
		check(t, a.Check())
		for _, f := range a.Files() {
			b, err := w.hub.files.Get(f.Digest)
			check(t, err)
			have, _, err := disk.Chunks(f.Digest, f.Size)
			check(t, err)
			for i := have.Missing(0); i < protocol.ChunkCount(f.Size); i++ {
				at := int64(i) * protocol.ChunkSize
				check(t, disk.AddChunk(f.Digest, i, f.Size, b[at:min(at+protocol.ChunkSize, f.Size)]))
			}
		}
	}
	engine, err := wasmhost.New(t.Context(), wasmhost.Config{})
	check(t, err)
	answered := make(chan edge.Answered, 4)
	h := edge.NewHost(t.Context(), edge.HostConfig{
		Engine: engine, Store: disk, Answered: func(a edge.Answered) { answered <- a },
	})
	for _, r := range []protocol.Release{one, two} {
		name := string(r.Manifest.Plugin.Name)
		at := edge.Instance{Workflow: "w", Step: protocol.StepName(name)}
		config := protocol.MustMarshal(map[string]int{"n": 2})
		h.Start(edge.Call{ID: 1, Instance: at, Load: &edge.Load{
			Manifest: r.Manifest, Artifact: r.Artifacts[0], Step: protocol.Step{Name: at.Step, Config: config},
		}})
		if a := <-answered; a.Answer.Error != nil {
			t.Fatalf("load %s: %v", name, a.Answer.Error)
		}
		h.Start(edge.Call{ID: 2, Instance: at, Request: &wasmhost.Request{
			Kind: wasmhost.Run, Event: &protocol.Event{Data: protocol.MustMarshal(map[string]int{"value": 40})},
		}})
		a := <-answered
		want := `{"by":"` + name + `","sum":42}`
		if got := string(wasmhost.ToJSON(a.Answer.Data)); a.Answer.Error != nil || got != want {
			t.Errorf("%s answers %s, %v, want %s", name, got, a.Answer.Error, want)
		}
	}
}
