package wasmhost

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stavily/stavily/protocol"
)

// recorded lets a plugin answer requests on record, and sends the recording through its
// encoding.
func recorded(t testing.TB, p *Plugin, most int, asked ...Request) ([]Answer, *Recording) {
	t.Helper()
	answers, r, err := p.Record(context.Background(), most, asked...)
	must(t, err)
	b, err := r.Encode()
	must(t, err)
	again, err := DecodeRecording(b)
	must(t, err)
	return answers, again
}

// TestReplay: what was recorded in one engine is replayed in both, byte for byte and with
// the same fuel, and touches nothing.
func TestReplay(t *testing.T) {
	tree, err := NewTree(map[string][]byte{"a.txt": []byte("hello")})
	must(t, err)
	s := asking(t, "kv", "filesystem.write")
	s.Mounts, s.Args = []Mount{{"/lib", tree}}, []string{"probe"}
	asked := []Request{
		work(t, `{"mode":"chance"}`),
		work(t, `{"calls":[{"name":"kv.put","args":{"key":"a","value":1}},{"name":"kv.get","args":{"key":"a"}},
			{"name":"fs.write","args":{"path":"x","data":"1"}},{"name":"dns.resolve","args":{"name":"x"}},{"name":"log","args":{"text":"x"}}]}`),
		work(t, `{"mode":"mounts"}`),
		work(t, `{"fail":"no","code":"retryable"}`),
		work(t, `"`+strings.Repeat("x", 5_000)+`"`),
	}
	for _, interpreter := range []bool{false, true} {
		p := load(t, newHost(t, Config{DataDir: t.TempDir(), Interpreter: interpreter}), s)
		answers, r := recorded(t, p, 0, asked...)
		for _, again := range []bool{false, true} {
			got, err := newHost(t, Config{Interpreter: again}).Replay(context.Background(), s, r)
			if err != nil || !got.Held {
				t.Fatalf("interpreter %v, then %v: %v, %s", interpreter, again, err, got.Difference)
			}
			for i, a := range answers {
				if now := got.Calls[i].Answer; !bytes.Equal(now.Data, a.Data) || now.Usage.Fuel != a.Usage.Fuel {
					t.Errorf("call %d: %s for %d, want %s for %d", i, jsonOf(now.Data), now.Usage.Fuel, jsonOf(a.Data), a.Usage.Fuel)
				}
			}
			if n := len(got.Calls[1].HostCalls); n != 5 || got.Calls[1].HostCalls[3].Code != protocol.CodeDenied {
				t.Errorf("%d host calls, want 5: %+v", n, got.Calls[1].HostCalls)
			}
		}
	}
}

// TestReplayDiffers: the first difference is named.
func TestReplayDiffers(t *testing.T) {
	h := newHost(t, Config{})
	s := asking(t, "kv")
	p := load(t, h, s)
	_, r := recorded(t, p, 0, work(t, `{"mode":"chance"}`), work(t, `{"calls":[{"name":"kv.get","args":{"key":"a"}}]}`))
	for name, c := range map[string]struct {
		change func(r *Recording)
		want   string
	}{
		"arguments": {
			func(r *Recording) { r.Calls[1].HostCalls[0].Args = rawOf(t, `{"key":"b"}`) },
			`call 2, host call 1: kv.get {"key":"a"}, recorded kv.get {"key":"b"}`,
		},
		"name":        {func(r *Recording) { r.Calls[1].HostCalls[0].Name = "kv.put" }, "recorded kv.put"},
		"one more":    {func(r *Recording) { r.Calls[1].HostCalls = nil }, `host call 1, kv.get {"key":"a"}: not recorded`},
		"reply":       {func(r *Recording) { r.Calls[1].HostCalls[0].OK = rawOf(t, `{"value":7}`) }, "call 2: another answer"},
		"fuel":        {func(r *Recording) { r.Calls[0].Fuel++ }, "of fuel, recorded"},
		"start":       {func(r *Recording) { r.Start++ }, "start: "},
		"memory":      {func(r *Recording) { r.Calls[0].MemoryB++ }, "bytes of memory, recorded"},
		"request":     {func(r *Recording) { r.Calls[0].Request = r.Calls[1].Request }, "call 1: "},
		"short world": {func(r *Recording) { r.World = r.World[:len(r.World)-2] }, "wants more of the world"},
		"other world": {func(r *Recording) { r.World = append([]byte{entryRead, 1}, r.World...) }, "asks for"},
	} {
		other := *r
		other.Calls = slices.Clone(r.Calls)
		for i := range other.Calls {
			other.Calls[i].HostCalls = slices.Clone(r.Calls[i].HostCalls)
		}
		c.change(&other)
		got, err := h.Replay(context.Background(), s, &other)
		if err != nil || got.Held || !strings.Contains(got.Difference, c.want) {
			t.Errorf("%s: %v, held %v: %q, want %q", name, err, got.Held, got.Difference, c.want)
		}
	}
	other := s
	other.Wasm = append(slices.Clone(s.Wasm), 0, 2, 1, 'x')
	other.Digest = protocol.DigestOf(other.Wasm)
	if _, err := h.Replay(context.Background(), other, r); protocol.CodeOf(err) != protocol.CodeDigest {
		t.Errorf("another module: %v", err)
	}
}

// TestRecordingIsBounded: what does not fit is cut, and the rest replays.
func TestRecordingIsBounded(t *testing.T) {
	h := newHost(t, Config{})
	s := asking(t, "kv")
	p := load(t, h, s)
	many := `{"calls":[` + strings.Repeat(`{"name":"kv.put","args":{"key":"a","value":"0123456789012345678901234567890123456789"}},`, 99) +
		`{"name":"kv.get","args":{"key":"a"}}]}`
	for _, most := range []int{1, 3000, 12_000, 24_000} {
		answers, r := recorded(t, p, most, work(t, many), work(t, `{"mode":"chance"}`))
		b, err := r.Encode()
		must(t, err)
		if r.Cut != CutFull || len(b) > most+2*recordingHead || answers[0].Error != nil || answers[1].Error != nil {
			t.Errorf("most %d: cut %q, %d bytes, answers %v %v", most, r.Cut, len(b), answers[0].Error, answers[1].Error)
		}
		if got, err := h.Replay(context.Background(), s, r); err != nil || !got.Held {
			t.Errorf("most %d: %v, %s", most, err, got.Difference)
		}
	}
}

// TestRecordingHasNoSecret: it ends before the plugin is told one.
func TestRecordingHasNoSecret(t *testing.T) {
	tell := func(context.Context, Grants, protocol.Raw) (any, error) {
		return map[string]string{"value": "hunter2"}, nil
	}
	s := asking(t, "kv", "secret.use:mail")
	h := newHost(t, Config{Calls: map[string]HostCall{protocol.CapSecret: tell}})
	answers, r := recorded(t, load(t, h, s), 0, work(t, `{"calls":[{"name":"kv.get","args":{"key":"a"}},
		{"name":"secret.use","args":{"name":"mail"}},{"name":"kv.put","args":{"key":"a","value":"hunter2"}}]}`))
	if !strings.Contains(jsonOf(answers[0].Data), "hunter2") {
		t.Fatalf("the plugin was not told: %s", jsonOf(answers[0].Data))
	}
	b, err := r.Encode()
	must(t, err)
	// What the plugin does with it later is in the request here, and only there.
	if r.Cut != CutSecret || bytes.Count(b, []byte("hunter2")) != 1 || len(r.Calls[0].HostCalls) != 1 {
		t.Errorf("cut %q, %d host calls, the secret %d times", r.Cut, len(r.Calls[0].HostCalls), bytes.Count(b, []byte("hunter2")))
	}
	if got, err := h.Replay(context.Background(), s, r); err != nil || !got.Held || len(got.Calls[0].HostCalls) != 1 {
		t.Errorf("%v, %s", err, got.Difference)
	}
}

// A plugin that is ended is recorded until then, and one that is not is called on afterwards.
func TestRecordOfTheEnded(t *testing.T) {
	h := newHost(t, Config{})
	s := asking(t)
	p := load(t, h, s)
	for _, c := range []struct {
		data string
		code protocol.Code
	}{
		{`{"mode":"exit"}`, protocol.CodeContract},
		{`{"mode":"calls"}`, protocol.CodeLimit},
		{`{"mode":"twice"}`, protocol.CodeContract},
		{`{"mode":"sleep"}`, protocol.CodeDeadline},
		{`{"mode":"loop"}`, protocol.CodeDeadline},
	} {
		r := work(t, c.data)
		r.TimeoutMS = 300
		if c.code != protocol.CodeDeadline {
			r.TimeoutMS = 0
		}
		answers, rec := recorded(t, p, 0, r, work(t, `1`))
		if protocol.CodeOf(asError(answers[0])) != c.code || answers[1].Error != nil || len(rec.Calls) != 1 {
			t.Errorf("%s: %v, then %v; %d calls on record", c.data, answers[0].Error, answers[1].Error, len(rec.Calls))
		}
		if got, err := h.Replay(context.Background(), s, rec); err != nil || !got.Held {
			t.Errorf("%s: %v, %s", c.data, err, got.Difference)
		}
	}
	if _, _, err := p.Record(context.Background(), 0); protocol.CodeOf(err) != protocol.CodeLimit {
		t.Errorf("nothing asked: %v", err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("over"))
	p.turn <- struct{}{}
	if _, _, err := p.Record(ctx, 0, work(t, `1`)); protocol.CodeOf(err) != protocol.CodeUnavailable {
		t.Errorf("cancelled: %v", err)
	}
	<-p.turn
}

// FuzzRecording: no bytes crash the decoder, and what it takes it gives back.
func FuzzRecording(f *testing.F) {
	r := &Recording{
		Version: RecordingVersion, Plugin: "p", Type: protocol.Action, World: []byte{0, 2, 2, 1, 9, 4, 0},
		Calls: []RecordedCall{{Request: []byte{0xa0}, HostCalls: []RecordedHost{{Name: "kv.get", OK: []byte{0xa0}}}, Answer: []byte{0xa0}}},
	}
	b, err := r.Encode()
	must(f, err)
	f.Add(b)
	f.Add([]byte{0xa0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeRecording(b)
		if err != nil {
			return
		}
		again, err := r.Encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%v: %x became %x", err, b, again)
		}
	})
}
