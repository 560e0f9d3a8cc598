package document

import (
	"errors"
	"strings"
	"testing"
	"time"
)

type sample struct {
	Name  string            `json:"name"`
	Count uint32            `json:"count"`
	Every time.Duration     `json:"every"`
	On    bool              `json:"on"`
	List  []string          `json:"list"`
	Map   map[string]string `json:"map"`
	With  any               `json:"with"`
	Inner *struct {
		Ratio float64 `json:"ratio"`
	} `json:"inner"`
}

func TestDecodeReadsEveryKind(t *testing.T) {
	d, err := Parse("s.yaml", []byte(`
name: a
count: 3
every: 1m30s
on: true
list: [x, y]
map: {k: v}
with: {big: 9007199254740993, half: 0.5, none: null, list: [1, two]}
inner: {ratio: 0.25}
`))
	if err != nil {
		t.Fatal(err)
	}
	var s sample
	if err := d.Decode(&s); err != nil {
		t.Fatal(err)
	}
	with, _ := s.With.(map[string]any)
	if s.Name != "a" || s.Count != 3 || s.Every != 90*time.Second || !s.On || len(s.List) != 2 ||
		s.Map["k"] != "v" || s.Inner.Ratio != 0.25 {
		t.Errorf("got %+v", s)
	}
	if with["big"] != int64(9007199254740993) || with["half"] != 0.5 || with["none"] != nil {
		t.Errorf("with: %#v", with)
	}
}

func TestErrorsNameThePlace(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown key", "name: a\ncuont: 3\n", `s.yaml:2:1: cuont: unknown key "cuont"; did you mean "count"?`},
		{"far unknown key", "zzzzzz: 3\n", `s.yaml:1:1: zzzzzz: unknown key "zzzzzz"; known are count, every`},
		{"duplicate", "name: a\nname: b\n", `s.yaml:2:1: name: key "name" twice, first on line 1`},
		{"nested duplicate", "map:\n  k: a\n  k: b\n", `s.yaml:3:3: map.k: key "k" twice, first on line 2`},
		{"wrong kind", "count: many\n", `s.yaml:1:8: count: want a whole number, 0 or more, got the text "many"`},
		{"negative", "count: -1\n", "s.yaml:1:8: count: want a whole number, 0 or more, got the number -1"},
		{"number as text", "name: 12\n", "s.yaml:1:7: name: want text, got the number 12"},
		{"not a list", "list: x\n", `s.yaml:1:7: list: want a list, got the text "x"`},
		{"item", "list: [a, {b: c}]\n", "s.yaml:1:11: list[1]: want text, got a mapping"},
		{"duration", "every: soon\n", "s.yaml:1:8: every: want a duration such as 30s or 5m"},
		{"nothing", "name:\n", "s.yaml:1:6: name: nothing after the colon, want text"},
		{"alias", "name: &a x\nlist: [*a]\n", "s.yaml:1:7: name: anchors and aliases are not allowed"},
		{"not finite", "inner: {ratio: .nan}\n", "s.yaml:1:16: inner.ratio: want a finite number"},
		{"list at top", "- a\n", "s.yaml:1:1: want a mapping of keys, got a list"},
		{"two documents", "name: a\n---\nname: b\n", "s.yaml: more than one YAML document"},
		{"empty", "", "s.yaml: empty"},
		{"syntax", "name: [a\n", "s.yaml:"},
		{"too deep", "with: " + strings.Repeat("[", 40) + strings.Repeat("]", 40), "nested deeper than 32 levels"},
		{"too large", "name: " + strings.Repeat("x", SizeMax), "limit 262144"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := Parse("s.yaml", []byte(c.text))
			if err == nil {
				err = d.Decode(new(sample))
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

// All that is wrong comes at once, in the order of the file.
func TestErrorsComeTogether(t *testing.T) {
	d, err := Parse("s.yaml", []byte("count: many\nlist: [a, 1, {b: c}]\ncuont: 3\ninner: {ratio: .nan}\n"))
	if err != nil {
		t.Fatal(err)
	}
	err = d.Decode(new(sample))
	want := []string{
		"s.yaml:1:8: count: want a whole number", "s.yaml:2:11: list[1]: want text", "s.yaml:2:14: list[2]: want text",
		`s.yaml:3:1: cuont: unknown key "cuont"`, "s.yaml:4:16: inner.ratio: want a finite number",
	}
	var all Errors
	if !errors.As(err, &all) || len(all) != len(want) {
		t.Fatalf("got %v", err)
	}
	for i, e := range all {
		if !strings.HasPrefix(e.Error(), want[i]) {
			t.Errorf("got %v, want %s", e, want[i])
		}
	}
	var first *Error
	if !errors.As(err, &first) || first != all[0] {
		t.Errorf("the first is %v", first)
	}
}

func TestRequireNamesWhatIsMissing(t *testing.T) {
	d, err := Parse("s.yaml", []byte("name: a\ninner:\n  ratio: 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Require("name", "inner.ratio"); err != nil {
		t.Error(err)
	}
	err = d.Require("inner.depth")
	if want := "s.yaml:3:3: inner.depth: missing"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestCaretPointsAtTheColumn(t *testing.T) {
	d, err := Parse("s.yaml", []byte("list: [a, {b: c}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	var e *Error
	if !errors.As(d.Decode(new(sample)), &e) {
		t.Fatal("want an *Error")
	}
	if want := "    1 | list: [a, {b: c}]\n      |           ^"; e.Caret() != want {
		t.Errorf("got\n%s\nwant\n%s", e.Caret(), want)
	}
	if got := d.Errorf("list[1].b", "x").Column; got != 15 {
		t.Errorf("column %d, want 15", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("name: a\nwith: {x: [1, 2.5, null]}\n"))
	f.Add([]byte("a: &x [*x]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := Parse("f.yaml", text)
		if err != nil {
			return
		}
		var v struct {
			With any `json:"with"`
		}
		_ = d.Decode(&v)
		_ = d.Errorf("with.x[0]", "place")
	})
}
