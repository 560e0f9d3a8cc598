// Package document reads what people write: YAML, strictly, with errors that name the
// file, line and column. Manifests, workflows and allow-lists go through it. An unknown
// key, a key twice, a value of the wrong kind, an alias: each is an error, because a
// document that is half understood does something its writer did not mean.
package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const (
	// SizeMax bounds a document in bytes.
	SizeMax  = 256 << 10
	depthMax = 32
)

// Document is one parsed YAML document, with its positions.
type Document struct {
	name  string
	lines []string
	root  *yaml.Node
}

// Error is what is wrong with a document, and where.
type Error struct {
	File   string `json:"file"`
	Line   int    `json:"line"`   // from 1; 0 when unknown
	Column int    `json:"column"` // from 1
	Path   string `json:"path"`   // such as actions[1].plugin; empty for the whole
	Text   string `json:"text"`
	Source string `json:"source"` // the line at fault
}

// Error returns file:line:column: path: text.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	b.WriteString(": ")
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Text)
	return b.String()
}

// Caret returns the line at fault with a caret under the column, for a terminal, or
// nothing when the place is unknown.
func (e *Error) Caret() string {
	if e.Line == 0 || e.Source == "" {
		return ""
	}
	before := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, e.Source[:min(len(e.Source), e.Column-1)])
	return fmt.Sprintf("%5d | %s\n      | %s^", e.Line, e.Source, before)
}

// Parse reads text, which must hold exactly one YAML document whose top is a mapping.
// name stands in errors.
func Parse(name string, text []byte) (*Document, error) {
	d := &Document{name: name, lines: strings.Split(string(text), "\n")}
	if len(text) > SizeMax {
		return nil, &Error{File: name, Text: fmt.Sprintf("%d bytes, limit %d", len(text), SizeMax)}
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var top yaml.Node
	if err := dec.Decode(&top); err != nil {
		return nil, d.syntaxError(err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, &Error{File: name, Text: "more than one YAML document, want one"}
	}
	d.root = top.Content[0]
	if d.root.Kind != yaml.MappingNode {
		return nil, d.at(d.root, "", "want a mapping of keys, got %s", kindOf(d.root))
	}
	return d, d.check(d.root, "", 0)
}

// check refuses what makes a document mean something else than it looks like.
func (d *Document) check(n *yaml.Node, path string, depth int) error {
	switch {
	case depth > depthMax:
		return d.at(n, path, "nested deeper than %d levels", depthMax)
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return d.at(n, path, "anchors and aliases are not allowed; write the value out")
	}
	seen := map[string]int{}
	for i, child := range n.Content {
		at := path
		switch {
		case n.Kind == yaml.SequenceNode:
			at = fmt.Sprintf("%s[%d]", path, i)
		case n.Kind == yaml.MappingNode && i%2 == 0:
			at = join(path, child.Value)
			if child.Kind != yaml.ScalarNode {
				return d.at(child, path, "want a plain key, got %s", kindOf(child))
			}
			if first, twice := seen[child.Value]; twice {
				return d.at(child, at, "key %q twice, first on line %d", child.Value, first)
			}
			seen[child.Value] = child.Line
		case n.Kind == yaml.MappingNode:
			at = join(path, n.Content[i-1].Value)
		}
		if err := d.check(child, at, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// Require returns an error for the first of paths that is not in the document. A path
// is keys joined by dots.
func (d *Document) Require(paths ...string) error {
	for _, path := range paths {
		if d.find(path) == nil {
			parent := d.root
			if i := strings.LastIndexByte(path, '.'); i >= 0 && d.find(path[:i]) != nil {
				parent = d.find(path[:i])
			}
			return d.at(parent, path, "missing")
		}
	}
	return nil
}

// Has reports whether path is in the document.
func (d *Document) Has(path string) bool { return d.find(path) != nil }

// Errorf returns an error at path, or at the nearest place above it that exists.
func (d *Document) Errorf(path, format string, args ...any) *Error {
	for at := path; ; {
		if n := d.find(at); n != nil {
			return d.at(n, path, format, args...)
		}
		i := strings.LastIndexAny(at, ".[")
		if i < 0 {
			return d.at(d.root, path, format, args...)
		}
		at = at[:i]
	}
}

// Place is a place in a text: line and column, in characters, from 1.
type Place struct{ Line, Column int }

// ErrorWithin returns an error at a place in the text that stands at path. Where the text
// is quoted with escapes, folded, or otherwise not as in the document, the place is said
// in words.
func (d *Document) ErrorWithin(path string, at Place, message string) *Error {
	e, line, column := d.Errorf(path, "%s", message), at.Line, at.Column
	n := d.find(path)
	if n == nil || n.Kind != yaml.ScalarNode {
		return e
	}
	text, first := strings.Split(n.Value, "\n"), n.Line
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		first++
	}
	row := first + line - 1
	if line < 1 || line > len(text) || row < 1 || row > len(d.lines) {
		return e
	}
	source := strings.TrimRight(d.lines[row-1], "\r")
	begin := strings.LastIndex(source, text[line-1])
	if text[line-1] == "" || begin < 0 {
		if line > 1 || column > 1 {
			e.Text = fmt.Sprintf("at %d:%d of the text: %s", line, column, e.Text)
		}
		return e
	}
	before := min(column-1, utf8.RuneCountInString(text[line-1]))
	e.Line, e.Source = row, source
	e.Column = utf8.RuneCountInString(source[:begin]) + max(before, 0) + 1
	return e
}

// find returns the value node at path, nil when there is none.
func (d *Document) find(path string) *yaml.Node {
	n := d.root
	for path != "" && n != nil {
		var key string
		path = strings.TrimPrefix(path, ".")
		if whole := lookup(n, path); whole != nil { // a key may hold dots
			return whole
		}
		if strings.HasPrefix(path, "[") {
			end := strings.IndexByte(path, ']')
			i, err := strconv.Atoi(path[1:max(end, 1)])
			if err != nil || n.Kind != yaml.SequenceNode || i < 0 || i >= len(n.Content) {
				return nil
			}
			n, path = n.Content[i], path[end+1:]
			continue
		}
		if i := strings.IndexAny(path, ".["); i >= 0 {
			key, path = path[:i], path[i:]
		} else {
			key, path = path, ""
		}
		n = lookup(n, key)
	}
	return n
}

func lookup(n *yaml.Node, key string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func (d *Document) at(n *yaml.Node, path, format string, args ...any) *Error {
	e := &Error{File: d.name, Line: n.Line, Column: n.Column, Path: path, Text: fmt.Sprintf(format, args...)}
	if n.Line >= 1 && n.Line <= len(d.lines) {
		e.Source = strings.TrimRight(d.lines[n.Line-1], "\r")
	}
	return e
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntaxError turns the library's error, which carries a line in its text at best.
func (d *Document) syntaxError(err error) *Error {
	if errors.Is(err, io.EOF) {
		return &Error{File: d.name, Text: "empty"}
	}
	text := err.Error()
	e := &Error{File: d.name, Text: yamlLine.ReplaceAllString(text, "")}
	if m := yamlLine.FindStringSubmatch(text); m != nil && m[1] != "" {
		e.Line, _ = strconv.Atoi(m[1])
		e.Column = 1
		if e.Line >= 1 && e.Line <= len(d.lines) {
			e.Source = d.lines[e.Line-1]
		}
	}
	return e
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func kindOf(n *yaml.Node) string {
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
			return fmt.Sprintf("the text %q", clip(n.Value))
		case "!!int", "!!float":
			return "the number " + clip(n.Value)
		case "!!bool":
			return n.Value
		}
		return fmt.Sprintf("%q", clip(n.Value))
	default:
		return "something else"
	}
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}
