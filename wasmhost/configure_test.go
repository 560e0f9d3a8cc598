package wasmhost

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/stavily/stavily/protocol"
)

// told returns requests that ask the probe for the configuration it was told, each with its own.
func told(t testing.TB, configs ...string) []Request {
	t.Helper()
	rs := make([]Request, len(configs))
	for i, c := range configs {
		rs[i] = work(t, `{"told":true}`)
		if c != "" {
			var err error
			if rs[i].Config, err = FromJSON([]byte(c)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return rs
}

// configurable is a probe whose configuration is filled for each request.
func configurable(t testing.TB, env ...string) Spec {
	t.Helper()
	s := specOf("probe", guest(t, "probe"))
	s.Env = append(env, "BATCH=8")
	s.Step.Config = protocol.MustMarshal(map[string]any{"n": nil})
	s.Step.Template = []byte{0xa0} // the host only sees that there is one
	return s
}

// heard is what each answer says: events in the request, configuration, inits in this instance.
func heard(as []Answer) string {
	var out []string
	for _, a := range as {
		if a.Error != nil {
			out = append(out, a.Error.Code.String()+": "+a.Error.Text)
			continue
		}
		out = append(out, strings.NewReplacer(`"inits":`, "", `"of":`, "", `"told":`, "").Replace(jsonOf(a.Data)))
	}
	return strings.Join(out, " ")
}

// A plugin that takes another init gets each configuration in the same instance, one that does
// not in a fresh one; the configuration with nothing in its places is told to none.
func TestConfigure(t *testing.T) {
	for name, c := range map[string]struct {
		env  []string
		want string
	}{
		"another init":   {[]string{"REINIT=1"}, `{1,{"n":1},1} {1,{"n":1},1} {1,{"n":2},2} {1,{"n":1},3}`},
		"fresh instance": {nil, `{1,{"n":1},1} {1,{"n":1},1} {1,{"n":2},1} {1,{"n":1},1}`},
	} {
		p := load(t, newHost(t, Config{}), configurable(t, c.env...))
		if a := p.Call(context.Background(), Request{Kind: Check}); a.Error != nil {
			t.Errorf("%s: check before there is a configuration: %v", name, a.Error)
		}
		var as []Answer
		for _, r := range told(t, `{"n":1}`, `{"n":1}`, `{"n":2}`, `{"n":1}`) {
			as = append(as, p.Call(context.Background(), r))
		}
		if got := heard(as); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, c.want)
		}
	}
}

// Events go together that have one configuration; one that the plugin refuses is its own.
func TestConfigureBatch(t *testing.T) {
	p := load(t, newHost(t, Config{}), configurable(t, "REINIT=1"))
	got := heard(p.CallBatch(context.Background(), told(t, `{"n":1}`, `{"n":1}`, `{"n":2}`, `{"bad":"no"}`,
		`{"bad":"no"}`, `{"bad":"no"}`, `{"bad":"no"}`, `{"n":3}`, `{"n":3}`)))
	want := `{2,{"n":1},1} {2,{"n":1},1} {1,{"n":2},2} ` + strings.Repeat("plugin: start: no ", 4) +
		`{2,{"n":3},1} {2,{"n":3},1}`
	if got != want {
		t.Errorf("\ngot  %s\nwant %s", got, want)
	}
}

// What a configuration led to is shown again with it.
func TestConfigureRecorded(t *testing.T) {
	h, s := newHost(t, Config{}), configurable(t, "REINIT=1")
	as, rec, err := load(t, h, s).Record(context.Background(), 0, told(t, `{"n":1}`, `{"n":2}`)...)
	if err != nil || heard(as) != `{1,{"n":1},1} {1,{"n":2},2}` {
		t.Fatal(heard(as), err)
	}
	if r, err := h.Replay(context.Background(), s, rec); err != nil || !r.Held || len(r.Calls) != 2 {
		t.Errorf("replay: %+v, %v", r, err)
	}
	s = configurable(t)
	as, rec, err = load(t, h, s).Record(context.Background(), 0, told(t, `{"n":1}`, `{"n":2}`)...)
	if err != nil || heard(as) != `{1,{"n":1},1} {1,{"n":2},1}` || rec.Cut != CutFull || len(rec.Calls) != 1 {
		t.Errorf("in two instances: %s, %+v, %v", heard(as), rec, err)
	}
}

// After a guest has ended in the midst of a request, alone or in a batch, the fresh instance is
// told the configuration of the next request as its first, and then others.
func TestConfigureAfterTrap(t *testing.T) {
	for _, mode := range []string{"panic", "exit", "loop", "recursion"} {
		s := configurable(t, "REINIT=1")
		s.Step.Limits.Seconds = 1
		p := load(t, newHost(t, Config{}), s)
		rs := told(t, `{"n":1}`, `{"n":2}`, `{"n":2}`, `{"n":2}`, `{"n":3}`)
		rs[2].Event = work(t, `{"mode":"`+mode+`"}`).Event
		var as []Answer
		for _, r := range rs {
			as = append(as, p.Call(context.Background(), r))
		}
		for _, c := range []struct {
			how, want string
			got       []Answer
		}{
			{"alone", `{1,{"n":1},1} {1,{"n":2},2} {1,{"n":2},1} {1,{"n":3},2}`, as},
			{"in a batch", `{1,{"n":1},3} {1,{"n":2},1} {1,{"n":2},1} {1,{"n":3},2}`, p.CallBatch(context.Background(), rs)},
		} {
			ended := c.got[2].Error
			if got := heard(slices.Delete(c.got, 2, 3)); ended == nil || got != c.want {
				t.Errorf("%s %s: ended with %v, the others:\ngot  %s\nwant %s", mode, c.how, ended, got, c.want)
			}
		}
	}
}
