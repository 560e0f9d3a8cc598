package conform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// asked opens a session and puts n requests, the first of which has data.
func (s *suite) asked(ctx context.Context, o opening, n int, data protocol.Raw) (
	one *session, first wasmhost.Answer, f *fault,
) {
	one, f = open(ctx, o)
	var a wasmhost.Answer
	for i := 0; i < n && f == nil; i++ {
		if a, f = one.ask(ctx, "answer", s.request(i, a.State, data)); i == 0 {
			first = a
		}
		data = nil
	}
	return one, first, f
}

// because makes an error of a fault.
func because(f *fault) error {
	if f == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", f.check, f.err)
}

// end: when its stdin ends, a plugin ends with 0.
func (s *suite) end(ctx context.Context) finding {
	one, _, f := s.asked(ctx, s.opening(), 1, nil)
	defer one.close(ctx)
	if f != nil {
		return finding{err: because(f)}
	}
	if err := one.finish(ctx); err != nil {
		return finding{err: fmt.Errorf("after its stdin has ended: %w", err)}
	}
	if len(one.said) > 0 && one.guest.Settle() {
		return finding{}
	}
	return finding{err: errors.New("says something after its stdin has ended")}
}

// config: a configuration that cannot be good is taken or refused in words.
func (s *suite) config(ctx context.Context) finding {
	bad := []any{
		map[string]any{"conform-unknown": []any{nil, map[string]any{"x": -1}}},
		map[string]any{"": "", "\u0000": strings.Repeat("ü", 1000), "conform": []int{1, 2, 3}},
	}
	var keys map[string]protocol.Raw
	if len(s.opts.Config) > 0 && protocol.Unmarshal(s.opts.Config, &keys) == nil {
		wrong := map[string]any{}
		for key := range keys {
			wrong[key] = []any{map[string]any{"conform": true}}
		}
		bad = append(bad, wrong)
	}
	taken := 0
	for _, config := range bad {
		o := s.opening()
		o.setup.Config = protocol.MustMarshal(config)
		one, f := open(ctx, o)
		one.close(ctx)
		switch {
		case f == nil:
			taken++
		case f.check != "ready" || !isOwn(f.err):
			return finding{err: fmt.Errorf("%s: %w", clip(wasmhost.ToJSON(o.setup.Config)), because(f))}
		case strings.TrimSpace(f.err.Error()) == "":
			return finding{err: errors.New("refuses a bad configuration without a word")}
		}
	}
	return finding{detail: fmt.Sprintf("%d of %d bad ones refused", len(bad)-taken, len(bad))}
}

func clip(b []byte) string {
	if len(b) > 60 {
		return string(b[:60]) + "..."
	}
	return string(b)
}

// unknownKeys: what a newer host adds within a message is passed over.
func (s *suite) unknownKeys(ctx context.Context) finding {
	o := s.opening()
	o.edit = func(m protocol.Raw) protocol.Raw { return widen(m, "new") }
	one, _, f := s.asked(ctx, o, 3, nil)
	one.close(ctx)
	return finding{err: because(f)}
}

// unknownRequest: a request of a kind that does not exist gets an error, and the next is
// answered.
func (s *suite) unknownRequest(ctx context.Context) finding {
	one, _, f := s.asked(ctx, s.opening(), 1, nil)
	defer one.close(ctx)
	if f != nil {
		return finding{err: because(f)}
	}
	a, f := one.ask(ctx, "answer", wasmhost.Request{Kind: "conform", Now: stamp()})
	switch {
	case f != nil:
		return finding{err: because(f)}
	case a.Error == nil || a.Error.Code != protocol.CodePlugin:
		return finding{err: errors.New("a request of an unknown kind is answered: want an error with code plugin")}
	}
	_, f = one.ask(ctx, "answer", s.request(1, nil, nil))
	return finding{err: because(f), detail: "says " + a.Error.Text}
}

// given hands a value to the plugin where strangers' values come: in the event's data,
// or, to a trigger, which gets no data, within a message under a new key.
func (s *suite) given(ctx context.Context, value any) (*session, wasmhost.Answer, *fault) {
	o := s.opening()
	if s.manifest.Plugin.Type == protocol.Trigger {
		o.edit = func(m protocol.Raw) protocol.Raw { return widen(m, value) }
		return s.asked(ctx, o, 2, nil)
	}
	return s.asked(ctx, o, 2, protocol.MustMarshal(map[string]any{"conform": value}))
}

// large: the largest data that a host sends is read whole.
func (s *suite) large(ctx context.Context) finding {
	empty := len(protocol.MustMarshal(map[string]any{"conform": strings.Repeat("x", 1<<10)})) - 1<<10
	one, a, f := s.given(ctx, strings.Repeat("x", protocol.DataMax-empty))
	one.close(ctx)
	return finding{err: because(f), detail: describe(a)}
}

// unicode: text comes back as it was, if it comes back.
func (s *suite) unicode(ctx context.Context) finding {
	const mark = "conform:"
	sent := mark + "\u0000\u001f\"\\/\u007f ü € \u2028 \ufffd 😀 e\u0301 \U0010ffff"
	one, a, f := s.given(ctx, []any{sent, map[string]any{sent: true}})
	one.close(ctx)
	var err error
	back := 0
	each(a, func(v any) {
		if text, ok := v.(string); ok && strings.HasPrefix(text, mark) {
			if back++; text != sent && err == nil {
				err = fmt.Errorf("%+q came back as %+q", sent, text)
			}
		}
	})
	if f != nil {
		err = because(f)
	}
	return finding{err: err, detail: seen(back)}
}

// integers: they stay exact up to 2^53, if they come back.
func (s *suite) integers(ctx context.Context) finding {
	const top = 1 << 53
	sent := []int64{0, -1, 1 << 31, 1 << 32, top - 1, top - 3, -top + 1, -top + 3}
	one, a, f := s.given(ctx, sent)
	one.close(ctx)
	var err error
	back := 0
	each(a, func(v any) {
		n, near := nearTop(v)
		if !near {
			return
		}
		if back++; !slices.Contains(sent, n) && err == nil {
			err = fmt.Errorf("%v came back, which was not sent: want integers exact up to 2^53", v)
		}
	})
	if f != nil {
		err = because(f)
	}
	return finding{err: err, detail: seen(back)}
}

// nearTop returns the integer that v is, if it is near 2^53 or -2^53.
func nearTop(v any) (int64, bool) {
	f, n := 0.0, int64(0)
	switch v := v.(type) {
	case uint64:
		f, n = float64(v), int64(v)
	case int64:
		f, n = float64(v), v
	case float64:
		f, n = v, int64(v)
	}
	return n, math.Abs(math.Abs(f)-1<<53) < 1<<32
}

func seen(n int) string {
	if n == 0 {
		return "answered, but not shown again"
	}
	return fmt.Sprintf("%d came back", n)
}

// each calls f for every value and key in an answer.
func each(a wasmhost.Answer, f func(v any)) {
	for _, raw := range append(slices.Clone(a.Events), a.State, a.Data) {
		var v any
		if len(raw) > 0 && protocol.Unmarshal(raw, &v) == nil {
			walk(v, f)
		}
	}
}

func walk(v any, f func(v any)) {
	f(v)
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			walk(e, f)
		}
	case map[any]any:
		for key, e := range v {
			f(key)
			walk(e, f)
		}
	}
}

// denied: a plugin that may do nothing still answers.
func (s *suite) denied(ctx context.Context) finding {
	if !slices.ContainsFunc(s.calls, func(name string) bool { return name != "log" }) {
		return finding{skip: "makes no host call that could be denied"}
	}
	o := s.opening()
	o.desk.deny = true
	one, a, f := s.asked(ctx, o, 2, nil)
	one.close(ctx)
	return finding{err: because(f), detail: describe(a)}
}

// hundred: one instance lives through a hundred requests.
func (s *suite) hundred(ctx context.Context) finding {
	one, f := open(ctx, s.opening())
	defer one.close(ctx)
	var a wasmhost.Answer
	for i := 0; i < 100 && f == nil; i++ {
		if a, f = one.ask(ctx, "answer", s.request(i, a.State, nil)); f != nil {
			return finding{err: fmt.Errorf("request %d: %w", i+1, because(f))}
		}
	}
	s.lasts = f == nil
	return finding{err: because(f)}
}

// growthMax is what linear memory may grow between the 100th and the 500th request: a
// collector lets garbage lie until it is worth its while.
const growthMax = 8 << 20

// memory: linear memory does not grow with the number of requests.
func (s *suite) memory(ctx context.Context) finding {
	switch {
	case s.native():
		return finding{skip: "not measured in a native program"}
	case !s.lasts:
		return finding{skip: "see hundred"}
	}
	one, f := open(ctx, s.opening())
	defer one.close(ctx)
	var sizes []uint64
	var a wasmhost.Answer
	for i := 0; i < 500 && f == nil; i++ {
		if a, f = one.ask(ctx, "answer", s.request(i, a.State, nil)); f != nil {
			return finding{err: fmt.Errorf("request %d: %w", i+1, because(f))}
		}
		if m, ok := one.guest.(interface{ MemoryB() uint64 }); ok && i%100 == 99 {
			sizes = append(sizes, m.MemoryB())
		}
	}
	switch {
	case f != nil:
		return finding{err: because(f)}
	case sizes[4] > sizes[0]+growthMax:
		return finding{err: fmt.Errorf("%d bytes after 100 requests, %d after 500: want growth of at most %d",
			sizes[0], sizes[4], growthMax)}
	}
	return finding{detail: fmt.Sprintf("%d bytes after 500 requests", sizes[4])}
}

// interpreter: the interpreter and the compiler give the same bytes.
func (s *suite) interpreter(ctx context.Context) finding {
	return s.differs(ctx, engine{interpreted: true})
}

// unmetered: the fuel meter changes no byte.
func (s *suite) unmetered(ctx context.Context) finding {
	if !s.native() && bytes.Equal(s.metered, s.target.Wasm) {
		return finding{skip: "the file is metered already: what it was before is not known"}
	}
	return s.differs(ctx, engine{unmetered: true})
}

// differs compares what the plugin says in another engine.
func (s *suite) differs(ctx context.Context, e engine) finding {
	if s.native() {
		return finding{skip: "a native program"}
	}
	want, f := s.transcript(ctx, s.main)
	if f != nil {
		return finding{err: because(f)}
	}
	again, f := s.transcript(ctx, s.main)
	switch {
	case f != nil:
		return finding{err: because(f)}
	case !bytes.Equal(want, again):
		return finding{skip: "its answers are not the same twice: it takes the time or chance from elsewhere"}
	}
	other, err := s.openWasm(ctx, e)
	if err != nil {
		return finding{err: err}
	}
	defer other.close(context.WithoutCancel(ctx))
	got, f := s.transcript(ctx, other)
	switch {
	case f != nil:
		return finding{err: because(f)}
	case !bytes.Equal(want, got):
		return finding{err: fmt.Errorf("says %q, elsewhere %q", clip(tail(got, want)), clip(tail(want, got)))}
	}
	return finding{detail: fmt.Sprintf("the same %d bytes", len(got))}
}

// tail returns a from where it differs from b.
func tail(a, b []byte) []byte {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	return a[i:]
}

// transcript is all that the plugin says in a short session.
func (s *suite) transcript(ctx context.Context, r room) ([]byte, *fault) {
	o := s.opening()
	o.room = r
	one, _, f := s.asked(ctx, o, 3, nil)
	defer one.close(ctx)
	if f != nil {
		return nil, f
	}
	return one.said, nil
}
