package strict

import (
	"errors"
	"strings"
	"testing"
)

var bounds = Bounds{Size: 1 << 10, Depth: 8}

// Everything that is wrong comes at once, each at its place.
func TestParse(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"nothing wrong", "a: {b: [1, x]}\n", ""},
		{"keys twice", "a: 1\nb: {c: 1, c: 2}\na: 2\n", "f:2:11: b.c: key \"c\" twice, first on line 2\nf:3:1: a: key \"a\" twice, first on line 1"},
		{
			"aliases", "a: &x 1\nb: [*x]\n",
			"f:1:4: a: anchors and aliases are not allowed; write the value out\nf:2:5: b[0]: anchors and aliases are not allowed; write the value out",
		},
		{"no plain key", "{a: 1}: 2\n", "f:1:1: want a plain key, got a mapping"},
		{"two documents", "a: 1\n---\nb: 2\n", "f: more than one YAML document, want one"},
		{"empty", "", "f: empty"},
		{"syntax", "a: [b\n", "f:1:1: did not find expected ',' or ']'"},
		{"deep", "a: " + strings.Repeat("[", 9) + strings.Repeat("]", 9), "f:1:12: a[0][0][0][0][0][0][0][0]: nested deeper than 8 levels"},
		{"large", strings.Repeat("x", 1<<10+1), "f: 1025 bytes, limit 1024"},
	} {
		f := NewFile("f", []byte(c.text))
		Parse(f, []byte(c.text), bounds)
		if got := f.Failed().Error(); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

func TestErrors(t *testing.T) {
	text := []byte("a: é&\n\tb\n")
	f := NewFile("f", text)
	for range errorsMax + 5 {
		f.Add(&Error{File: "f", Line: 2, Column: 2, Source: "\tb", Text: strings.Repeat("x", len(f.Errors()))})
	}
	f.Add(&Error{File: "trace.csv", Line: 9, Column: 1, Text: "hole", From: [2]int{1, 4}})
	all := f.Failed()
	if len(all) != errorsMax+1 || all[0].File != "trace.csv" || all[errorsMax].Text != "and 6 more" {
		t.Errorf("%d errors, first %v, last %v", len(all), all[0], all[len(all)-1])
	}
	if got := all[1].Caret(); got != "    2 | \tb\n      | \t^" {
		t.Errorf("caret:\n%s", got)
	}
	var one *Error
	if !errors.As(error(all), &one) || one != all[0] {
		t.Errorf("the first is %v", one)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("a: {b: [1, x]}\n"))
	f.Add([]byte("a: &x [*x]\n? {b: c}\n: d\n"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		file := NewFile("f", text)
		if n := Parse(file, text, bounds); n != nil {
			_ = KindOf(n)
			_ = Lookup(n, "a")
		}
		for _, e := range file.Failed() {
			_ = e.Caret()
		}
	})
}
