package condition

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/condition"
)

var labels = map[string]string{"zone": "north", "e": "x"}

// filled is what a template gives on the device as CBOR, "!" when it has no value. The part
// that the agent decides is put in before, as a hub does.
func filled(t testing.TB, tree condition.Tree) string {
	t.Helper()
	left, value, err := Settle(tree, condition.Vars{
		VarName: protocol.MustMarshal("gw-1"), VarSite: protocol.MustMarshal("plant"), VarLabels: protocol.MustMarshal(labels),
	})
	if err != nil {
		return "!"
	}
	if value != nil {
		return string(value)
	}
	f, err := condition.NewFilling(protocol.MustMarshal(nil), protocol.MustMarshal(condition.Template{
		Holes: []condition.Hole{{Tree: left}},
	}))
	if err != nil {
		t.Fatal(err)
	}
	out, err := f.Fill(condition.Vars{VarEvent: protocol.MustMarshal(event), VarResults: protocol.MustMarshal(results)})
	if err != nil {
		return "!"
	}
	return string(out)
}

// filledByCEL is the same by cel-go. text is one expression.
func filledByCEL(t testing.TB, c *Compiler, text string) string {
	t.Helper()
	parsed, issues := c.template.Compile(text)
	if issues.Err() != nil {
		t.Fatal(issues.Err())
	}
	program, err := c.template.Program(parsed, cel.CostLimit(1_000_000))
	if err != nil {
		t.Fatal(err)
	}
	v, _, err := program.Eval(map[string]any{
		VarEvent: event, VarResults: results, VarName: "gw-1", VarSite: "plant", VarLabels: labels,
	})
	if err != nil {
		return "!"
	}
	plain, ok := plainOf(v)
	if !ok {
		return "!"
	}
	return string(protocol.MustMarshal(plain))
}

// plainOf makes of cel-go's value what a configuration can hold.
func plainOf(v ref.Val) (out any, ok bool) {
	switch v := v.(type) {
	case types.Null:
		return nil, true
	case types.Double:
		return float64(v), !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0)
	case types.Bool, types.Int, types.Uint, types.String:
		return v.Value(), true
	case traits.Mapper:
		m := map[string]any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			k := it.Next()
			key, isText := k.(types.String)
			if !isText {
				return nil, false
			}
			if m[string(key)], ok = plainOf(v.Get(k)); !ok {
				return nil, false
			}
		}
		return m, true
	case traits.Lister:
		list := []any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			x, ok := plainOf(it.Next())
			if !ok {
				return nil, false
			}
			list = append(list, x)
		}
		return list, true
	default:
		return nil, false
	}
}

// Templates give what cel-go gives, of the same type.
func TestTemplatesMeanTheSame(t *testing.T) {
	c := compiler(t)
	for _, x := range []struct {
		text string
		want any // "!" for no value
	}{
		{"event.count", 7},
		{"event.value", 85.5},
		{"event.count * 2.0", "!"},
		{"double(event.count) * 2.0", 14.0},
		{"event.none", nil},
		{"event.huge", uint64(math.MaxUint64)},
		{"event.nested", map[string]any{"a": map[string]any{"b": -1}}},
		{"event.nan", "!"},
		{"event.bytes", "!"},
		{"event.numbers", "!"},
		{"event.missing", "!"},
		{"has(event.missing) ? event.missing : 'default'", "default"},
		{"agent.name + '@' + agent.site", "gw-1@plant"},
		{"agent.labels.zone == 'north' ? event.count : event.missing", 7},
		{"has(agent.labels.none) ? agent.labels.none : event.name", "temp-1"},
		{"agent.labels['zone']", "north"},
		{"agent.labels.none", "!"},
		{"agent.labels.map(k, k)", []any{"e", "zone"}},
		{"event.list.map(x, string(x))", []any{"1", "2", "2", "x"}},
		{"secret('key')", "${key}"},
		{"{'a': [1, event.ok]}", map[string]any{"a": []any{1, true}}},
	} {
		made, err := c.Template("${{ "+x.text+" }}", Scope{Event: true, Earlier: []protocol.StepName{"describe"}})
		if err != nil {
			t.Errorf("%s: %v", x.text, err)
			continue
		}
		want := "!"
		if x.want != "!" {
			want = string(protocol.MustMarshal(x.want))
		}
		got, theirs := filled(t, made.Tree), filledByCEL(t, c, x.text)
		if got != want || got != theirs && !strings.Contains(x.text, "map(k") { // of a map cel-go goes over keys as they come
			t.Errorf("%s: got %x, want %x, cel-go says %x", x.text, got, want, theirs)
		}
	}
}

// A text with expressions in it is a text.
func TestTemplateWithin(t *testing.T) {
	c := compiler(t)
	for text, want := range map[string]string{
		"v=${{ event.value }}, n=${{ event.count }}${{ event.ok }}!": "v=85.5, n=7true!",
		"${{ event.name }} ": "temp-1 ",
		"${x} $${{ 1 }}":     "${x} $1",
	} {
		made, err := c.Template(text, Scope{Event: true})
		if err != nil || made.Kinds != condition.KindString {
			t.Fatalf("%s: %v", text, err)
		}
		if got := filled(t, made.Tree); got != string(protocol.MustMarshal(want)) {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	for _, text := range []string{"x ${{ event.nested }}", "x ${{ event.none }}", "x ${{ event.zz }}"} {
		made, err := c.Template(text, Scope{Event: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := filled(t, made.Tree); got != "!" {
			t.Errorf("%s: got %q", text, got)
		}
	}
}

// FuzzTemplatesAgainstCEL: what the hub puts in and the device fills in is what cel-go says of
// the whole, for expressions that a grammar makes up, alone and within a text.
func FuzzTemplatesAgainstCEL(f *testing.F) {
	c := compiler(f)
	for seed := range uint64(300) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		g := grammar{rand.New(rand.NewPCG(seed, 2))}
		expr := g.agents(g.value(3))
		if seed%3 == 0 {
			expr = "(" + g.agents(g.boolean(2)) + " ? " + expr + " : " + g.agents(g.value(2)) + ")"
		}
		text, theirs := "${{ "+expr+" }}", expr
		if seed%2 == 0 {
			text, theirs = "a ${{ "+expr+" }}", "'a ' + string("+expr+")"
		}
		made, err := c.Template(text, Scope{Event: true, Earlier: []protocol.StepName{"describe"}})
		if err != nil {
			t.Skip() // a type that the checker knows to be wrong
		}
		if _, issues := c.template.Compile(theirs); issues.Err() != nil {
			t.Skip()
		}
		ours, want := filled(t, made.Tree), filledByCEL(t, c, theirs)
		// A part that only the agent decides has to have a value, taken or not.
		if ours != want && !(ours == "!" && strings.Contains(expr, "agent.")) {
			t.Errorf("%s\ngot %x, cel-go says %x", text, ours, want)
		}
	})
}

// agents puts what an agent is in some places of an expression.
func (g grammar) agents(expr string) string {
	for _, old := range []string{"event.name", "event.nested", "'x'"} {
		if g.r.IntN(2) == 0 {
			expr = strings.ReplaceAll(expr, old, g.pick("agent.name", "agent.labels", "agent.labels.zone", "agent.labels.none"))
		}
	}
	return expr
}
