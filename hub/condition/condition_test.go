package condition

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"cel.dev/cel-go/cel"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/condition"
)

func compiler(t testing.TB) *Compiler {
	t.Helper()
	c, err := NewCompiler()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// event is data of every type that a plugin can answer with.
var event = map[string]any{
	"value": 85.5, "count": int64(7), "name": "temp-1", "ok": true, "none": nil, "huge": uint64(math.MaxUint64),
	"list": []any{int64(1), int64(2), 2.0, "x"}, "nested": map[string]any{"a": map[string]any{"b": int64(-1)}},
	"bytes": []byte{1, 2}, "nan": math.NaN(), "min": int64(math.MinInt64), "text": "grün",
	"numbers": map[any]any{int64(1): "one", "two": int64(2), true: "yes"},
}

var results = map[string]any{
	"describe": map[string]any{"status": "ok", "data": map[string]any{"exit": int64(0), "out": "Linux"}},
}

// texts are conditions with their answer; "!" for one that has to fail on the device.
var texts = []struct{ text, want string }{
	{"event.value < 120", "true"},
	{"event.value >= 85.5 && event.count == 7", "true"},
	{"event.count == 7.0", "true"},
	{"event.count / 2 == 3", "true"},
	{"-event.count % 4 == -3", "true"},
	{"event.missing > 3", "!"},
	{"has(event.missing) && event.missing > 3", "false"},
	{"event.missing > 3 || event.ok", "true"},
	{"event.ok || event.missing > 3", "true"},
	{"event.missing > 3 && event.ok", "!"},
	{"event.name.startsWith('temp') && event.name.endsWith(\"1\") && event.name.contains('-')", "true"},
	{"event.name.matches('^temp-[0-9]+$')", "true"},
	{"size(event.text) == 4", "true"},
	{"2 in event.list && !('y' in event.list)", "true"},
	{"event.list[2] == 2", "true"},
	{"event.list[4] == 2", "!"},
	{"event.nested.a.b == -1", "true"},
	{"event['nested']['a'] == {'b': -1}", "true"},
	{"event.none == null", "true"},
	{"event.ok ? event.value > 1.0 : event.missing", "true"},
	{"event.list.exists(x, x == 'x')", "true"},
	{"event.list.all(x, x == 'x' || x < 3)", "true"},
	{"event.list.filter(x, x != 'x').map(x, x * 1) == [1, 2, 2]", "!"}, // double * int
	{"event.list.exists_one(x, x == 2)", "false"},
	{"event.numbers[1] == 'one' && event.numbers[true] == 'yes'", "true"},
	{"event.numbers.exists(k, k == 'two')", "true"},
	{"event.name + '!' == 'temp-1!'", "true"},
	{"dyn(event.count) + 1 == event.name", "false"},
	{"event.count > 'x'", "!"},
	{"event.min - 1 < 0", "!"},
	{"event.count / 0 == 1", "!"},
	{"event.nan == event.nan", "false"},
	{"event.nan < 1.0", "false"},
	{"event.huge > event.count", "true"},
	{"int(event.value) == 85 && double(event.count) == 7.0 && string(event.count) == '7'", "true"},
	{"event.bytes == b'\\x01\\x02'", "true"},
	{"event.value", "!"},
	{"event.name", "!"},
	{"results.describe.data.exit == 0", "true"},
	{"results['describe'].status == 'ok'", "true"},
	{"!event.ok", "false"},
	{"true", "true"},
	{"[1, 2].map(x, [x, x].exists(y, y == event.count)) == [false, false]", "true"},
}

func TestCompiledMeansTheSame(t *testing.T) {
	c := compiler(t)
	for _, x := range texts {
		got, theirs := both(t, c, x.text)
		if got != x.want {
			t.Errorf("%s: got %s, want %s", x.text, got, x.want)
		}
		if got != theirs {
			t.Errorf("%s: got %s, cel-go says %s", x.text, got, theirs)
		}
	}
}

// both evaluates text by the device's evaluator and by cel-go: true, false, or "!".
func both(t testing.TB, c *Compiler, text string) (ours, theirs string) {
	t.Helper()
	tree, err := c.Compile(text, []protocol.StepName{"describe"})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return onDevice(t, tree), byCEL(t, c, text)
}

func onDevice(t testing.TB, tree condition.Tree) string {
	t.Helper()
	read, err := condition.Parse(protocol.MustMarshal(tree)) // as it travels
	if err != nil {
		t.Fatal(err)
	}
	ok, err := read.Eval(condition.Vars{
		VarEvent: protocol.MustMarshal(event), VarResults: protocol.MustMarshal(results),
	})
	return verdict(ok, err)
}

func byCEL(t testing.TB, c *Compiler, text string) string {
	t.Helper()
	parsed, issues := c.env.Compile(text)
	if issues.Err() != nil {
		t.Fatal(issues.Err())
	}
	program, err := c.env.Program(parsed, cel.CostLimit(1_000_000))
	if err != nil {
		t.Fatal(err)
	}
	v, _, err := program.Eval(map[string]any{VarEvent: event, VarResults: results})
	if err != nil {
		return "!"
	}
	b, isBool := v.Value().(bool)
	if !isBool {
		return "!"
	}
	return verdict(b, nil)
}

func verdict(ok bool, err error) string {
	switch {
	case err != nil:
		return "!"
	case ok:
		return "true"
	default:
		return "false"
	}
}

func TestCompileRefuses(t *testing.T) {
	c := compiler(t)
	for _, x := range []struct{ text, want string }{
		{"", "1:1: empty"},
		{"event.value <", "1:14: "},
		{"evnt.value < 3", "1:1: undeclared reference to 'evnt'"},
		{"event.value < 3 &&\n  evnt.ok", "2:3: undeclared reference to 'evnt'"},
		{"1 + 'x' == 2", "1:3: found no matching overload for '_+_'"},
		{"1 + 1", "1:1: it gives int, want true or false"},
		{"event.at > timestamp('2026-01-01T00:00:00Z')", "1:21: function timestamp is not available"},
		{"duration('1s') == duration('1s')", "1:9: function duration is not available"},
		{"event.count > 3u", "1:15: a value of type uint is not available"},
		{"event.name.matches(event.pattern)", "1:19: matches: want the pattern as a text"},
		{"event.name.matches('(')", "1:20: matches: error parsing regexp"},
		{"results.descrbe.status == 'ok'", `1:8: results: "descrbe" is no action before this: want one of ["describe"]`},
		{"results['x'].status == 'ok'", `results: "x" is no action before this`},
		{strings.Repeat("a", condition.TextMax+1), "1:1: 1025 bytes, limit 1024"},
		{strings.Repeat("(", 200) + "true" + strings.Repeat(")", 200), "1:1: "},
		{strings.Repeat("true&&", 160) + "true", "1:1: more than 256 parts"},
		{"\xff", "1:1: not UTF-8"},
	} {
		_, err := c.Compile(x.text, []protocol.StepName{"describe"})
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%.40q: got %v, want %s", x.text, err, x.want)
		}
	}
}

// The device's evaluator and cel-go agree on conditions that a grammar makes up.
func FuzzAgainstCEL(f *testing.F) {
	c := compiler(f)
	for seed := range uint64(300) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		g := grammar{rand.New(rand.NewPCG(seed, 1))}
		text := g.boolean(3)
		tree, err := c.Compile(text, []protocol.StepName{"describe"})
		if err != nil {
			t.Skip() // a type that the checker knows to be wrong
		}
		if ours, theirs := onDevice(t, tree), byCEL(t, c, text); ours != theirs {
			t.Errorf("%s\ngot %s, cel-go says %s", text, ours, theirs)
		}
	})
}

// grammar makes expressions up, many of them wrong when they are evaluated.
type grammar struct{ r *rand.Rand }

func (g grammar) one(of ...func() string) string { return of[g.r.IntN(len(of))]() }

func (g grammar) pick(of ...string) string { return of[g.r.IntN(len(of))] }

func (g grammar) boolean(depth int) string {
	if depth == 0 {
		return g.pick("true", "false", "event.ok", "has(event.value)", "has(event.zz)", "event.zz")
	}
	sub := func() string { return g.boolean(depth - 1) }
	v := func() string { return g.value(depth - 1) }
	return g.one(
		func() string { return "(" + sub() + g.pick(" && ", " || ") + sub() + ")" },
		func() string { return "!" + sub() },
		func() string {
			return "(" + v() + g.pick(" == ", " != ", " < ", " <= ", " > ", " >= ", " in ") + v() + ")"
		},
		func() string { return "(" + sub() + " ? " + sub() + " : " + sub() + ")" },
		func() string {
			return v() + "." + g.pick("all", "exists", "exists_one") + "(x, (x" + g.pick(" == ", " < ", " != ") + v() + "))"
		},
		func() string {
			return "dyn(" + v() + ")." + g.pick("startsWith", "endsWith", "contains", "matches") + "('e')"
		},
	)
}

func (g grammar) value(depth int) string {
	if depth == 0 {
		return g.pick("0", "1", "-3", "2.0", "0.5", "'x'", "'temp-1'", "null", "true", "b'a'", "event.value", "event.count",
			"event.name", "event.list", "event.nested", "event.huge", "event.nan", "event.min", "event.none", "event.text",
			"event.numbers", "event.bytes", "event", "results.describe", "9223372036854775807", "[]", "{}")
	}
	v := func() string { return g.value(depth - 1) }
	return g.one(
		v,
		func() string {
			return "(dyn(" + v() + ")" + g.pick(" + ", " - ", " * ", " / ", " % ") + "dyn(" + v() + "))"
		},
		func() string { return "-dyn(" + v() + ")" },
		func() string { return "dyn(" + v() + ")[" + v() + "]" },
		func() string { return "dyn(" + v() + ")." + g.pick("a", "b", "value", "data") },
		func() string { return g.pick("size", "int", "double", "string") + "(dyn(" + v() + "))" },
		func() string { return "[" + v() + ", " + v() + "]" },
		func() string { return "{" + g.pick("'a'", "1", "true") + ": " + v() + "}" },
		func() string { return v() + ".map(x, [x, " + v() + "])" },
		func() string { return v() + ".filter(x, " + g.boolean(depth-1) + ")" },
	)
}
