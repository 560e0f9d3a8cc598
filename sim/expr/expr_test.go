package expr

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

var names = &Names{
	Fields: map[string]Field{
		"site": {Kind: Text}, "group": {Kind: Text}, "n": {Kind: Number}, "outbox.max_age": {Kind: Duration},
		"fleet.online": {Kind: Share}, "agent.bytes": {Kind: Bytes}, "agent.up": {Kind: Bool},
	},
	Funcs:  map[string]Func{"fleet.active": {Kind: Share, Arg: "workflow"}, "label": {Kind: Text, Arg: "key"}},
	Sample: true,
}

// given is a source made of a table.
type given map[string]Value

func (g given) Field(name string) Value     { return g[name] }
func (g given) Call(name, arg string) Value { return g[name+":"+arg] }

var world = given{
	"site": {Text: "store-1"}, "group": {Text: "stores"}, "n": {Num: 7}, "outbox.max_age": {Num: 90},
	"fleet.online": {Num: 0.995}, "agent.bytes": {Num: 4e6}, "agent.up": {Num: 1},
	"fleet.active:freezer": {Num: 1}, "label:env": {Text: "prod"},
}

func TestHolds(t *testing.T) {
	for text, want := range map[string]bool{
		"site == 'store-1'":                      true,
		`site == "store-1"`:                      true,
		"site != 'store-1'":                      false,
		"site in ['store-2', 'store-1']":         true,
		"site in ['store-2']":                    false,
		"n in [1, 7]":                            true,
		"group == 'stores' && n > 6":             true,
		"group == 'stores' && n > 7":             false,
		"n > 7 || n < 8":                         true,
		"!(n > 7)":                               true,
		"!agent.up":                              false,
		"agent.up":                               true,
		"agent.up == true":                       true,
		"n + 1 * 2 == 9":                         true,
		"(n + 1) * 2 == 16":                      true,
		"n - 3 - 2 == 2":                         true,
		"-n < 0":                                 true,
		"n / 2 == 3.5":                           true,
		"n / 0 == 0":                             true,
		"outbox.max_age == 90s":                  true,
		"outbox.max_age == 1m30s":                true,
		"outbox.max_age / 2 == 45000ms":          true,
		"outbox.max_age / 30s == 3":              true,
		"fleet.online >= 99.5%":                  true,
		"fleet.online > 99.5%":                   false,
		"agent.bytes == 4MB":                     true,
		"agent.bytes <= 4MiB * 50%":              false,
		"agent.bytes < 1GiB && agent.bytes > 1B": true,
		"fleet.active('freezer') == 100%":        true,
		"label('env') == 'prod' && sample(3)":    true,
		"n > 100 || n > 1 && n < 100":            true,
	} {
		e, err := Parse(text, names)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := e.Holds(world); got != want {
			t.Errorf("%s: got %v", text, got)
		}
		again, err := Parse(e.String(), names)
		if err != nil || again.String() != e.String() || again.Holds(world) != want {
			t.Errorf("%s: written as %s: %v", text, e, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		text string
		at   int
		want string
	}{
		{"", 0, "ends too early"},
		{"n >", 3, "ends too early; want a figure"},
		{"sit == 'a'", 0, `unknown figure "sit"; did you mean "site"?`},
		{"fleet.activ('a') > 1%", 0, `did you mean "fleet.active('workflow')"?`},
		{"n > 1 and n < 2", 6, `unexpected "and"; did you mean "&&"?`},
		{"n = 1", 2, `did you mean "=="?`},
		{"n", 0, "n is a number, want a comparison such as n > 0"},
		{"n > 1s", 4, `n is a number and 1s is a duration: ">" needs two of a kind`},
		{"outbox.max_age == 0", 18, "needs two of a kind"},
		{"site > 'a'", 5, "site is text, which has no order"},
		{"site in ['a', 3]", 14, "needs two of a kind"},
		{"site in [n]", 9, "n in a list, want texts"},
		{"site in 'a'", 8, `want "["`},
		{"site in ['a'", 12, `want , or ]`},
		{"n > 1 n", 6, `unexpected "n"`},
		{"(n > 1", 6, `want ")"`},
		{"n > 12parsecs", 4, `"12parsecs" is no number with a unit`},
		{"n > 1.2.3", 4, "is no number"},
		{"site == 'a", 8, "a text without its closing '"},
		{"n + site == 1", 4, "needs two of a kind"},
		{"site + 'a' == 'b'", 5, "+ between text and text"},
		{"!n", 0, "! before a number"},
		{"-site == 'a'", 0, "minus before text"},
		{"agent.bytes * outbox.max_age > 1", 12, "makes no sense of them"},
		{"n > 1 && site", 9, "site beside && is text, want a condition"},
		{"sample(0)", 7, "want a count such as 3 or a share"},
		{"sample(n)", 7, "want a count"},
		{"sample(2) == true", 10, "sample stands beside && and || only"},
		{"label(n) == 'a'", 6, "want the key in quotes"},
		{"n > 1 ☃", 6, `unexpected "☃"`},
		{strings.Repeat("(", 50) + "n > 1", 32, "nested deeper than 32 levels"},
		{strings.Repeat(" ", SizeMax) + "n", 0, "limit 4096"},
	} {
		_, err := Parse(c.text, names)
		var wrong *Error
		if !errors.As(err, &wrong) || wrong.Offset != c.at || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %+v\nwant %d %s", c.text, wrong, c.at, c.want)
		}
	}
}

func TestValuesAreTold(t *testing.T) {
	e, err := Parse("outbox.max_age > 1m && fleet.active('freezer') > 5% && n > 1 && n < 9 && agent.up && site == 'a'", names)
	if err != nil {
		t.Fatal(err)
	}
	want := []Named{
		{"outbox.max_age", "1m30s"},
		{"fleet.active('freezer')", "100%"},
		{"n", "7"},
		{"agent.up", "true"},
		{"site", "'store-1'"},
	}
	if got := e.Values(world); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if !e.Mentions(func(name string) bool { return strings.HasPrefix(name, "agent.") }) {
		t.Error("does not mention agent.up")
	}
}

// sample takes from what the rest of its && has left, wherever it stands.
func TestSelect(t *testing.T) {
	draw := rand.New(rand.NewPCG(1, 2)).IntN
	source := func(i int) Source {
		group := "stores"
		if i >= 60 {
			group = "depots"
		}
		return given{"n": {Num: float64(i)}, "group": {Text: group}}
	}
	for _, c := range []struct {
		text string
		size int
		all  func(i int) bool
	}{
		{"n < 10", 10, func(i int) bool { return i < 10 }},
		{"sample(3)", 3, func(int) bool { return true }},
		{"sample(5%)", 5, func(int) bool { return true }},
		{"sample(0.1%)", 1, func(int) bool { return true }},
		{"sample(1000)", 100, func(int) bool { return true }},
		{"group == 'depots' && sample(3)", 3, func(i int) bool { return i >= 60 }},
		{"sample(3) && group == 'depots' && n > 70", 3, func(i int) bool { return i > 70 }},
		{"!(group == 'depots' && sample(10))", 90, func(int) bool { return true }},
		{"n < 10 || group == 'depots' && sample(50%)", 30, func(i int) bool { return i < 10 || i >= 60 }},
		{"group == 'none' && sample(3)", 0, func(int) bool { return true }},
	} {
		e, err := Parse(c.text, names)
		if err != nil {
			t.Fatal(err)
		}
		got := e.Select(100, source, draw)
		if len(got) != c.size || !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != c.size {
			t.Errorf("%s: got %v, want %d of them", c.text, got, c.size)
		}
		if slices.ContainsFunc(got, func(i int) bool { return !c.all(i) }) {
			t.Errorf("%s: got %v", c.text, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"site in ['a', 'b'] && sample(3)", "!(n > 1) || outbox.max_age == 1h30m", "fleet.active('x') >= 99.5%",
		"-n + 3 * 2 / 1 < 4", "((((", "agent.bytes <= 4MiB * 50%",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := Parse(text, names)
		if err != nil {
			return
		}
		again, err := Parse(e.String(), names)
		if err != nil {
			if len(e.String()) > SizeMax || strings.Contains(err.Error(), "nested deeper") {
				return // parentheses made it longer and deeper
			}
			t.Fatalf("%q written as %q: %v", text, e, err)
		}
		if again.String() != e.String() || again.Holds(world) != e.Holds(world) {
			t.Fatalf("%q written as %q reads as %q", text, e, again)
		}
		e.Select(5, func(int) Source { return world }, func(int) int { return 0 })
		e.Values(world)
	})
}
