package scenario

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/stavily/stavily/text/nearest"
	"github.com/stavily/stavily/text/strict"
)

const (
	// SizeMax bounds a scenario in bytes.
	SizeMax  = 1 << 20
	depthMax = 24
)

type (
	// Error is one thing that is wrong, and where.
	Error = strict.Error
	// Errors are all that is wrong with a scenario, in the order of the file.
	Errors = strict.Errors //nolint:errname // all of them
)

// A reader gathers what is wrong while the file is read.
type reader struct {
	*strict.File
	files Files
	s     *Scenario         // as far as it is read
	taken map[string]string // agent names, with their groups
}

// A value is a place in the file.
type value struct {
	r    *reader
	node *yaml.Node
	path string
}

// failed returns everything found, in the order of the file.
func (r *reader) failed() error {
	if all := r.Failed(); len(all) > 0 {
		return all
	}
	return nil
}

func (v value) child(key string, node *yaml.Node) value {
	return value{r: v.r, node: node, path: strict.Join(v.path, key)}
}

func (v value) item(i int, node *yaml.Node) value {
	return value{r: v.r, node: node, path: strict.Item(v.path, i)}
}

func (v value) pos() Pos { return Pos{Line: v.node.Line, Column: v.node.Column} }

func (v value) errorf(format string, args ...any) { v.r.at(v.node, v.path, format, args...) }

func (r *reader) at(n *yaml.Node, path, format string, args ...any) {
	r.Add(r.At(n, path, format, args...))
}

// inside reports an error so many bytes into a scalar, where that can be found.
func (v value) inside(offset int, format string, args ...any) {
	n := *v.node
	line := []rune(v.r.Line(n.Line))
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
		v.errorf("want a mapping of keys, got %s", strict.KindOf(v.node))
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
		case strict.IsNull(child.node):
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
	return nearest.Suggest(name, names)
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
		v.errorf("want a list, got %s", strict.KindOf(v.node))
		return
	}
	for i, n := range v.node.Content {
		read(i, v.item(i, n))
	}
}

// pairs reads every key of a mapping whose keys are the writer's own.
func (v value) pairs(read func(name string, key *yaml.Node, item value)) {
	if v.node.Kind != yaml.MappingNode {
		v.errorf("want a mapping of keys, got %s", strict.KindOf(v.node))
		return
	}
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		name := v.node.Content[i].Value
		read(name, v.node.Content[i], v.child(name, v.node.Content[i+1]))
	}
}

// scalar returns the value as written, and reports an error when it is not one.
func (v value) scalar(want string) (string, bool) {
	if v.node.Kind != yaml.ScalarNode || strict.IsNull(v.node) {
		v.errorf("want %s, got %s", want, strict.KindOf(v.node))
		return "", false
	}
	return v.node.Value, true
}

func isScalar(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode }
