package edge_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/condition"
	"github.com/stavily/stavily/wasmhost"
)

// filledBy is the template "n: event.value".
func filledBy() []byte {
	return protocol.MustMarshal(condition.Template{Holes: []condition.Hole{{
		Path: []string{"n"},
		Tree: condition.Tree{Text: "${{ event.value }}", Nodes: []condition.Node{
			{Op: condition.OpVar, Name: "event"},
			{Op: condition.OpField, Name: "value", Args: []uint16{0}},
		}},
	}}})
}

// atLeast wants "n" to be a number that is not below three.
var atLeast = protocol.MustMarshal(condition.Schema{Properties: []condition.Property{
	{Name: "n", Schema: condition.Schema{Kinds: condition.KindNumber, AtLeast: protocol.MustMarshal(3)}},
}})

// A configuration is filled for each run and held to its schema; what cannot be filled, or does
// not fit, is an error of its step that names the place, and the plugin is not asked (M-28).
func TestTemplates(t *testing.T) {
	for name, c := range map[string]struct {
		event       any
		want, error string
	}{
		"filled":      {map[string]int{"value": 4}, "do ok, say ok.", ""},
		"no value":    {map[string]int{"other": 4}, "do error, say ok.", `step "do": with.n: ${{ event.value }}: no field "value"`},
		"does not do": {map[string]int{"value": 2}, "do error, say ok.", `step "do": with.n: minimum: got 2, want 3`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.hub.standard()
			of := w.hub.workflow("w")
			of.Actions[0].Config = protocol.MustMarshal(map[string]any{"n": nil})
			of.Actions[0].Template, of.Actions[0].Schema = filledBy(), atLeast
			fired, asked := false, 0
			w.plugins.answers["w/when"] = func(edge.Call) wasmhost.Answer {
				if fired {
					return wasmhost.Answer{}
				}
				fired = true
				return wasmhost.Answer{Events: []protocol.Raw{protocol.MustMarshal(c.event)}}
			}
			w.plugins.answers["w/do"] = func(call edge.Call) wasmhost.Answer {
				asked++
				if want := protocol.MustMarshal(map[string]int{"n": 4}); string(call.Request.Config) != string(want) {
					t.Errorf("configuration %x, want %x", call.Request.Config, want)
				}
				return wasmhost.Answer{}
			}
			w.plugins.answers["w/say"] = func(call edge.Call) wasmhost.Answer {
				if call.Request.Config != nil {
					t.Errorf("a step without templates got %x", call.Request.Config)
				}
				return wasmhost.Answer{}
			}
			w.hub.deploy(w.hub.desired(1, of))
			w.boot()
			w.online()
			w.pass(time.Hour)
			if got := w.hub.said(); got != c.want || (asked == 1) != (c.error == "") {
				t.Errorf("results %q, want %q; asked %d times", got, c.want, asked)
			}
			if r := w.hub.results[0]; c.error != "" && (r.Error == nil || r.Error.Text != c.error) {
				t.Errorf("ended with %v, want %s", r.Error, c.error)
			}
		})
	}
}

// A revision whose configuration does not fit, or whose template is none, is refused, and what
// is held runs on (M-28).
func TestConfigurationRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *protocol.Step)
		want   string
	}{
		"does not fit": {func(s *protocol.Step) {
			s.Config, s.Schema = protocol.MustMarshal(map[string]int{"n": 2}), atLeast
		}, `step "do": with.n: minimum: got 2, want 3`},
		"no template":  {func(s *protocol.Step) { s.Template = []byte{1} }, `step "do": `},
		"no schema":    {func(s *protocol.Step) { s.Schema = []byte{1} }, `step "do": `},
		"no such hole": {func(s *protocol.Step) { s.Template = filledBy() }, `step "do": template: the configuration has no place with.n`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.hub.standard()
			of := w.hub.workflow("w")
			w.hub.deploy(w.hub.desired(1, of))
			w.boot()
			w.online()
			w.pass(time.Minute)
			c.change(&of.Actions[0])
			w.hub.deploy(w.hub.desired(2, of))
			w.pass(time.Minute)
			r := w.hub.reported()
			if r.Revision != 1 || r.Refused == nil || !strings.Contains(r.Refused.Error.Text, c.want) {
				t.Errorf("revision %d, refused %+v, want %s", r.Revision, r.Refused, c.want)
			}
		})
	}
}
