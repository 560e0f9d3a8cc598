package wasmhost

import (
	"context"
	"os"
	"testing"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost/meter"
)

// cGuest returns the spec of a guest of testdata/c, metered.
func cGuest(t testing.TB, kind protocol.PluginType) Spec {
	t.Helper()
	plain, err := os.ReadFile("testdata/c/" + string(kind) + ".wasm")
	if err != nil {
		t.Fatal(err)
	}
	wasm, err := meter.Instrument(plain)
	if err != nil {
		t.Fatal(err)
	}
	s := specOf("bench-"+string(kind), wasm)
	s.Manifest.Plugin.Type = kind
	s.Step.Config = rawOf(t, `{"events":2,"every_ms":5,"above":79.5}`)
	return s
}

// A plugin of a few kilobytes without a runtime holds the conversation.
func TestCGuests(t *testing.T) {
	h, ctx := newHost(t, Config{}), context.Background()
	woken := load(t, h, cGuest(t, protocol.Trigger)).Call(ctx, Request{Kind: Wake, Why: WhyStart})
	if woken.Error != nil || len(woken.Events) != 2 || woken.Next.AfterMS != 5 {
		t.Fatalf("wake: got %+v, want 2 events and 5 ms", woken)
	}
	action, output := load(t, h, cGuest(t, protocol.Action)), load(t, h, cGuest(t, protocol.Output))
	for i, want := range []string{`{"above":false,"value":79.0}`, `{"above":true,"value":80.0}`} {
		r := Request{Kind: Run, Event: &protocol.Event{Workflow: "flow", Data: woken.Events[i]}, Key: "k"}
		ran := action.Call(ctx, r)
		if ran.Error != nil || jsonOf(ran.Data) != want {
			t.Errorf("event %d: got %s, %v; want %s", i, jsonOf(ran.Data), ran.Error, want)
		}
		r.Kind = Deliver
		r.Results = []protocol.Result{{Step: "a", Status: protocol.StatusOK, Data: ran.Data}}
		if told := output.Call(ctx, r); told.Error != nil {
			t.Errorf("event %d: %v", i, told.Error)
		}
	}
	batch := []Request{work(t, `{"value":80}`), work(t, `{"no":1}`), work(t, `{"value":-1}`)}
	said := action.CallBatch(ctx, batch)
	if jsonOf(said[0].Data) != `{"above":true,"value":80.0}` || protocol.CodeOf(said[1].Error) != protocol.CodePlugin ||
		jsonOf(said[2].Data) != `{"above":false,"value":-1.0}` {
		t.Errorf("batch: got %+v", said)
	}
	if a := action.Call(ctx, work(t, `{"no":1}`)); protocol.CodeOf(a.Error) != protocol.CodePlugin {
		t.Errorf("event without a value: got %v, want %s", a.Error, protocol.CodePlugin)
	}
}
