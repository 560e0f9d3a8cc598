package edge_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// publishScript publishes a plugin that an engine with a library runs.
func (h *hubSide) publishScript(name string, script []byte, e protocol.Engine) {
	h.t.Helper()
	art := protocol.NewArtifact(protocol.PlatformWASM, script)
	art.Metered, art.Engine = true, &e
	h.put(script)
	r := protocol.Release{
		Manifest: protocol.Manifest{
			Plugin: protocol.PluginInfo{
				Name: protocol.PluginName(name), Version: "1.0.0", Type: protocol.Action, Description: "x",
			},
			Runtime: protocol.Runtime{Language: "javascript"},
		},
		Artifacts: []protocol.Artifact{art},
	}
	ref := h.sealRelease(r)
	h.release[name], h.art[ref.Plugin] = ref, art
}

// An agent fetches a plugin's engine with it, once for all plugins of the language, and
// keeps both as long as a generation names them.
func TestEngineIsFetchedOnce(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	engine, library := bytes.Repeat([]byte("engine"), 40_000), []byte("library")
	e := protocol.Engine{
		Name: "example", Module: protocol.NewFile(engine), Args: []string{"example"}, Path: "/app",
		Libraries: []protocol.Library{{Path: "/lib", File: protocol.NewFile(library)}},
	}
	w.hub.put(engine)
	w.hub.put(library)
	w.hub.publishScript("work", []byte("script one"), e)
	w.boot()
	w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
	w.online()
	w.pass(10 * time.Second)
	if r := w.hub.reported(); r.Revision != 1 || r.Refused != nil {
		t.Fatalf("reported %+v", r)
	}
	w.holds(t, engine, library, []byte("script one"))

	delete(w.hub.files, protocol.DigestOf(engine)) // nobody asks for it again
	w.hub.publishScript("work", []byte("script two"), e)
	w.hub.deploy(w.hub.desired(2, w.hub.workflow("w")))
	w.hub.sayHint()
	w.pass(10 * time.Second)
	if r := w.hub.reported(); r.Revision != 2 || r.Refused != nil {
		t.Fatalf("reported %+v", r)
	}
	w.holds(t, engine, library, []byte("script two"))
}

func (w *world) holds(t *testing.T, files ...[]byte) {
	t.Helper()
	for _, f := range files {
		if got, err := w.store.ReadFile(protocol.DigestOf(f)); err != nil || !bytes.Equal(got, f) {
			t.Errorf("file %q...: %v", f[:7], err)
		}
	}
}

// A release whose engine is beyond a bound is refused before anything of it is fetched.
func TestEngineBeyondBounds(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	w.hub.publishScript("work", []byte("script"), protocol.Engine{
		Name: "example", Module: protocol.NewFile([]byte("engine")), Args: []string{"example"}, Path: "/app/../etc",
	})
	w.boot()
	w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
	w.online()
	w.pass(10 * time.Second)
	if r := w.hub.reported(); r.Refused == nil || r.Refused.Error.Code != protocol.CodeBadMessage {
		t.Fatalf("reported %+v", r)
	}
}

// What a Host cannot make a tree of is not loaded.
func TestEngineScriptIsNoArchive(t *testing.T) {
	w := newWorld(t)
	for _, b := range [][]byte{[]byte("no archive"), []byte("engine")} {
		for i, chunk := range [][]byte{b} {
			if err := w.store.AddChunk(protocol.DigestOf(b), uint32(i), int64(len(b)), chunk); err != nil {
				t.Fatal(err)
			}
		}
	}
	engine, err := wasmhost.New(t.Context(), wasmhost.Config{})
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan edge.Answered, 1)
	h := edge.NewHost(t.Context(), edge.HostConfig{
		Engine: engine, Store: w.store, Answered: func(a edge.Answered) { answered <- a },
	})
	art := protocol.NewArtifact(protocol.PlatformWASM, []byte("no archive"))
	art.Engine = &protocol.Engine{Name: "example", Module: protocol.NewFile([]byte("engine")), Path: "/app"}
	h.Start(edge.Call{ID: 1, Load: &edge.Load{Artifact: art}})
	if a := <-answered; a.Answer.Error == nil || a.Answer.Error.Code != protocol.CodeUnverified {
		t.Errorf("answered %v, want %s", a.Answer.Error, protocol.CodeUnverified)
	}
}
