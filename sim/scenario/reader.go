package scenario

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/stavily/stavily/sim/expr"
)

const (
	// SizeMax bounds a scenario in bytes.
	SizeMax   = 1 << 20
	depthMax  = 24
	errorsMax = 50
)

// Error is one thing that is wrong, and where.
type Error struct {
	File   string
	Line   int // from 1; 0 when unknown
	Column int // from 1, in characters
	Path   string
	Text   string
	Source string // the line at fault

	order Pos // of what led to it in the scenario
}

// Error returns file:line:column: path: text.
func (e *Error) Error() string {
	where := e.File
	if e.Line > 0 {
		where += fmt.Sprintf(":%d:%d", e.Line, e.Column)
	}
	if e.Path != "" {
		where += ": " + e.Path
	}
	return where + ": " + e.Text
}

// Caret returns the line at fault with a caret under the column, or nothing when the
// place is unknown.
func (e *Error) Caret() string {
	if e.Line == 0 || e.Source == "" {
		return ""
	}
	var before strings.Builder
	for i, r := range []rune(e.Source) {
		if i >= e.Column-1 {
			break
		}
		if r != '\t' {
			r = ' '
		}
		before.WriteRune(r)
	}
	return fmt.Sprintf("%5d | %s\n      | %s^", e.Line, e.Source, before.String())
}

// Errors are all that is wrong with a scenario, in the order of the file.
type Errors []*Error

// Error returns one line for each.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

// A reader gathers what is wrong while the file is read.
type reader struct {
	file  string
	lines []string
	files Files
	errs  Errors
	s     *Scenario         // as far as it is read
	taken map[string]string // agent names, with their groups
}

// A value is a place in the file.
type value struct {
	r    *reader
	node *yaml.Node
	path string
}

// parse reads the YAML; nil when that cannot be done.
func (r *reader) parse(text []byte) *yaml.Node {
	if len(text) > SizeMax {
		r.add(&Error{File: r.file, Text: fmt.Sprintf("%d bytes, limit %d", len(text), SizeMax)})
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var top yaml.Node
	if err := dec.Decode(&top); err != nil {
		r.add(r.syntax(err))
		return nil
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		r.add(&Error{File: r.file, Text: "more than one YAML document, want one"})
		return nil
	}
	root := value{r: r, node: top.Content[0]}
	root.check(0)
	return root.node
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntax turns the library's error, which carries a line in its text at best.
func (r *reader) syntax(err error) *Error {
	if errors.Is(err, io.EOF) {
		return &Error{File: r.file, Text: "empty"}
	}
	e := &Error{File: r.file, Text: yamlLine.ReplaceAllString(err.Error(), "")}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil && m[1] != "" {
		e.Line, _ = strconv.Atoi(m[1])
		e.Column = 1
		e.Source = r.line(e.Line)
	}
	return e
}

func (r *reader) line(n int) string {
	if n < 1 || n > len(r.lines) {
		return ""
	}
	return strings.TrimRight(r.lines[n-1], "\r")
}

func (r *reader) add(e *Error) { r.errs = append(r.errs, e) }

// failed returns everything found, in the order of the file.
func (r *reader) failed() error {
	if len(r.errs) == 0 {
		return nil
	}
	slices.SortStableFunc(r.errs, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.order.Line, b.order.Line), cmp.Compare(a.order.Column, b.order.Column))
	})
	r.errs = slices.CompactFunc(r.errs, func(a, b *Error) bool { return a.Error() == b.Error() })
	if n := len(r.errs); n > errorsMax {
		r.errs = append(r.errs[:errorsMax], &Error{File: r.file, Text: fmt.Sprintf("and %d more", n-errorsMax)})
	}
	return r.errs
}

// check refuses what makes a file mean something else than it looks like.
func (v value) check(depth int) {
	if depth > depthMax {
		v.errorf("nested deeper than %d levels", depthMax)
		v.node.Content = nil
		return
	}
	if v.node.Kind == yaml.AliasNode || v.node.Anchor != "" {
		v.errorf("anchors and aliases are not allowed; write the value out")
		v.node.Kind, v.node.Alias, v.node.Anchor = yaml.ScalarNode, nil, ""
	}
	if v.node.Kind == yaml.MappingNode {
		v.checkKeys(depth)
		return
	}
	for i, child := range v.node.Content {
		v.item(i, child).check(depth + 1)
	}
}

func (v value) checkKeys(depth int) {
	seen := map[string]int{}
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key := v.node.Content[i]
		if key.Kind != yaml.ScalarNode || key.Anchor != "" {
			v.r.at(key, v.path, "want a plain key, got %s", kindOf(key))
			continue
		}
		child := v.child(key.Value, v.node.Content[i+1])
		if first, twice := seen[key.Value]; twice {
			v.r.at(key, child.path, "key %q twice, first on line %d", key.Value, first)
		}
		seen[key.Value] = key.Line
		child.check(depth + 1)
	}
}

func (v value) child(key string, node *yaml.Node) value {
	path := key
	if v.path != "" {
		path = v.path + "." + key
	}
	return value{r: v.r, node: node, path: path}
}

func (v value) item(i int, node *yaml.Node) value {
	return value{r: v.r, node: node, path: fmt.Sprintf("%s[%d]", v.path, i)}
}

func (v value) pos() Pos { return Pos{Line: v.node.Line, Column: v.node.Column} }

func (v value) errorf(format string, args ...any) { v.r.at(v.node, v.path, format, args...) }

func (r *reader) at(n *yaml.Node, path, format string, args ...any) {
	r.add(&Error{
		File: r.file, Line: n.Line, Column: n.Column, Path: path, Text: fmt.Sprintf(format, args...),
		Source: r.line(n.Line), order: Pos{n.Line, n.Column},
	})
}

// inside reports an error so many bytes into a scalar, where that can be found.
func (v value) inside(offset int, format string, args ...any) {
	n := *v.node
	line := []rune(v.r.line(n.Line))
	skip := 0
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		skip = 1
	}
	from := n.Column - 1 + skip
	if from <= len(line) && strings.HasPrefix(string(line[from:]), n.Value) {
		n.Column += skip + len([]rune(n.Value[:min(offset, len(n.Value))]))
	}
	v.r.at(&n, v.path, format, args...)
}

// A key is one key of a mapping: its name, what it is, and how it is read.
type key[T any] struct {
	name string
	doc  string
	form *form
	need bool
	read func(v value, into *T)
}

// fields reads a mapping by its table, in the table's order.
func fields[T any](v value, keys []key[T], into *T) {
	if v.node.Kind != yaml.MappingNode {
		v.errorf("want a mapping of keys, got %s", kindOf(v.node))
		return
	}
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		name := v.node.Content[i].Value
		if !slices.ContainsFunc(keys, func(k key[T]) bool { return k.name == name }) {
			v.r.at(v.node.Content[i], v.child(name, v.node).path, "unknown key %q%s", name, suggestKey(name, keys))
		}
	}
	for _, k := range keys {
		child, ok := v.lookup(k.name)
		switch {
		case !ok && k.need:
			v.errorf("key %q is missing: %s", k.name, k.doc)
		case !ok:
		case isNull(child.node):
			child.errorf("nothing after the colon")
		default:
			k.read(child, into)
		}
	}
}

// lookup returns the value of a key of a mapping.
func (v value) lookup(name string) (value, bool) {
	for i := 0; v.node.Kind == yaml.MappingNode && i+1 < len(v.node.Content); i += 2 {
		if v.node.Content[i].Value == name {
			return v.child(name, v.node.Content[i+1]), true
		}
	}
	return value{}, false
}

// set reads a single value into a field.
func set[T, F any](parse func(string) (F, error), field func(*T) *F) func(value, *T) {
	return func(v value, into *T) {
		text, ok := v.scalar("a single value")
		if !ok {
			return
		}
		got, err := parse(text)
		if err != nil {
			v.errorf("%v", err)
			return
		}
		*field(into) = got
	}
}

func suggestKey[T any](name string, keys []key[T]) string {
	if text, later := notYet[name]; later {
		return ": " + text
	}
	names := make([]string, len(keys))
	for i := range keys {
		names[i] = keys[i].name
	}
	return expr.Suggest(name, names)
}

// notYet are keys that people know from plans and other tools.
var notYet = map[string]string{
	"waves":      "deployments in waves are not built yet; all agents change at once",
	"abort_when": "deployments in waves are not built yet, and so nothing aborts one",
	"boards":     "boards in QEMU are not built yet",
	"profile":    "this version has profiles for links only",
}

// each reads every item of a list.
func (v value) each(read func(i int, item value)) {
	if v.node.Kind != yaml.SequenceNode {
		v.errorf("want a list, got %s", kindOf(v.node))
		return
	}
	for i, n := range v.node.Content {
		read(i, v.item(i, n))
	}
}

// pairs reads every key of a mapping whose keys are the writer's own.
func (v value) pairs(read func(name string, key *yaml.Node, item value)) {
	if v.node.Kind != yaml.MappingNode {
		v.errorf("want a mapping of keys, got %s", kindOf(v.node))
		return
	}
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		name := v.node.Content[i].Value
		read(name, v.node.Content[i], v.child(name, v.node.Content[i+1]))
	}
}

// scalar returns the value as written, and reports an error when it is not one.
func (v value) scalar(want string) (string, bool) {
	if v.node.Kind != yaml.ScalarNode || isNull(v.node) {
		v.errorf("want %s, got %s", want, kindOf(v.node))
		return "", false
	}
	return v.node.Value, true
}

func isScalar(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode }

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

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
		case "!!int", "!!float":
			return "the number " + clip(n.Value)
		}
		return fmt.Sprintf("%q", clip(n.Value))
	default:
		return "something else"
	}
}

func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}
