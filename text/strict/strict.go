// Package strict reads the YAML that people write for this system, with everything that is
// wrong at its file, line and column. A key twice, an alias, a second document: each is an
// error, because a document that is half understood does something its writer did not mean.
//
// It knows no keys. Manifests and workflows go on from here by hub/document, scenarios by
// sim/scenario.
package strict

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds are what a document may be at most.
type Bounds struct {
	Size  int // bytes
	Depth int // levels of nesting
}

// File is one file while it is read. It gathers what is wrong with it.
type File struct {
	name  string
	lines []string
	errs  Errors
}

// NewFile returns the file of that text; name stands in errors.
func NewFile(name string, text []byte) *File {
	return &File{name: name, lines: strings.Split(string(text), "\n")}
}

// Name returns the file's name.
func (f *File) Name() string { return f.name }

// Parse reads text, which must hold exactly one YAML document. It returns nil when that
// cannot be done, and otherwise the document, whatever else was wrong: see Failed.
func Parse(f *File, text []byte, b Bounds) *yaml.Node {
	if len(text) > b.Size {
		f.Add(&Error{File: f.name, Text: fmt.Sprintf("%d bytes, limit %d", len(text), b.Size)})
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var top yaml.Node
	if err := dec.Decode(&top); err != nil {
		f.Add(f.syntax(err))
		return nil
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		f.Add(&Error{File: f.name, Text: "more than one YAML document, want one"})
		return nil
	}
	(&checker{f, b.Depth}).node(top.Content[0], "", 0)
	return top.Content[0]
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntax turns the library's error, which carries a line in its text at best.
func (f *File) syntax(err error) *Error {
	if errors.Is(err, io.EOF) {
		return &Error{File: f.name, Text: "empty"}
	}
	e := &Error{File: f.name, Text: yamlLine.ReplaceAllString(err.Error(), "")}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil && m[1] != "" {
		e.Line, _ = strconv.Atoi(m[1])
		e.Column = 1
		e.Source = f.Line(e.Line)
	}
	return e
}

// Lines returns how many lines there are.
func (f *File) Lines() int { return len(f.lines) }

// Line returns a line by its number, from 1; empty for one that is not there.
func (f *File) Line(n int) string {
	if n < 1 || n > len(f.lines) {
		return ""
	}
	return strings.TrimRight(f.lines[n-1], "\r")
}

// At returns an error at a node.
func (f *File) At(n *yaml.Node, path, format string, args ...any) *Error {
	return &Error{
		File: f.name, Line: n.Line, Column: n.Column, Path: path, Text: fmt.Sprintf(format, args...),
		Source: f.Line(n.Line),
	}
}

// Add keeps an error for Failed.
func (f *File) Add(e *Error) { f.errs = append(f.errs, e) }

// Errors returns what was added so far, in that order.
func (f *File) Errors() Errors { return f.errs }

// checker refuses what makes a document mean something else than it looks like, and mends
// it, so that whoever reads on meets a plain tree.
type checker struct {
	f     *File
	depth int
}

func (c *checker) node(n *yaml.Node, path string, depth int) {
	if depth > c.depth {
		c.add(n, path, "nested deeper than %d levels", c.depth)
		n.Content = nil
		return
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		c.add(n, path, "anchors and aliases are not allowed; write the value out")
		n.Kind, n.Alias, n.Anchor = yaml.ScalarNode, nil, ""
	}
	if n.Kind == yaml.MappingNode {
		c.keys(n, path, depth)
		return
	}
	for i, child := range n.Content {
		c.node(child, Item(path, i), depth+1)
	}
}

func (c *checker) keys(n *yaml.Node, path string, depth int) {
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || key.Anchor != "" {
			c.add(key, path, "want a plain key, got %s", KindOf(key))
			continue
		}
		at := Join(path, key.Value)
		if first, twice := seen[key.Value]; twice {
			c.add(key, at, "key %q twice, first on line %d", key.Value, first)
		}
		seen[key.Value] = key.Line
		c.node(n.Content[i+1], at, depth+1)
	}
}

func (c *checker) add(n *yaml.Node, path, format string, args ...any) {
	c.f.Add(c.f.At(n, path, format, args...))
}

// Join returns the path of a key in the mapping at path.
func Join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// Item returns the path of an item of the list at path.
func Item(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// Lookup returns the value of a key, nil where there is none or n is no mapping.
func Lookup(n *yaml.Node, key string) *yaml.Node {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// IsNull reports whether nothing was written after the colon.
func IsNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// KindOf says what somebody wrote, for errors.
func KindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		switch n.Tag {
		case "!!null":
			return "nothing"
		case "!!str":
			return fmt.Sprintf("the text %q", Clip(n.Value))
		case "!!int", "!!float":
			return "the number " + Clip(n.Value)
		case "!!bool":
			return n.Value
		}
		return fmt.Sprintf("%q", Clip(n.Value))
	default:
		return "something else"
	}
}

// clipMax bounds what an error repeats of a value, in bytes.
const clipMax = 60

// Clip shortens what somebody wrote.
func Clip(s string) string {
	if len(s) > clipMax {
		return s[:clipMax] + "..."
	}
	return s
}
