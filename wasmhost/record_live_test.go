package wasmhost

import (
	"context"
	"testing"
)

// Calls of a plugin at work are recorded as they come, and replay; the plugin goes on after.
func TestTaping(t *testing.T) {
	ctx := context.Background()
	h, s := newHost(t, Config{}), asking(t, "kv")
	p := load(t, h, s)
	must(t, asError(p.Call(ctx, work(t, `{"calls":[{"name":"kv.put","args":{"key":"a","value":1}}]}`))))
	tape := p.Tape(0)
	if got := p.Tape(0).End(); got != nil {
		t.Errorf("a tape without a call: %+v", got)
	}
	for range 2 {
		must(t, asError(tape.Call(ctx, work(t, `{"calls":[{"name":"kv.get","args":{"key":"a"}}]}`))))
	}
	if tape.Over() {
		t.Error("over after two calls")
	}
	r := tape.End()
	must(t, asError(p.Call(ctx, work(t, `{"mode":"chance"}`))))
	if r == nil || len(r.Calls) != 2 || r.Cut != CutNot {
		t.Fatalf("%+v", r)
	}
	if got, err := h.Replay(ctx, s, r); err != nil || !got.Held {
		t.Errorf("replay: %v, %s", err, got.Difference)
	}
}

// An instance that ends amid a recording ends it; what comes after is answered all the same.
func TestTapingEnds(t *testing.T) {
	ctx := context.Background()
	h, s := newHost(t, Config{}), asking(t, "kv")
	p := load(t, h, s)
	tape := p.Tape(0)
	must(t, asError(tape.Call(ctx, work(t, `{"mode":"chance"}`))))
	p.Rest() // as the pool does when memory is short
	must(t, asError(tape.Call(ctx, work(t, `{"mode":"chance"}`))))
	if !tape.Over() {
		t.Error("goes on in another instance")
	}
	r := tape.End()
	if r == nil || len(r.Calls) != 1 || r.Cut != CutFull {
		t.Fatalf("%d calls, cut %q", len(r.Calls), r.Cut)
	}
	if got, err := h.Replay(ctx, s, r); err != nil || !got.Held {
		t.Errorf("replay: %v, %s", err, got.Difference)
	}
}
