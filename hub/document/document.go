// Package document reads what people write: YAML, strictly, with errors that name the
// file, line and column. Manifests, workflows and allow-lists go through it. An unknown
// key, a key twice, a value of the wrong kind, an alias: each is an error, because a
// document that is half understood does something its writer did not mean.
package document

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/stavily/stavily/text/strict"
)

const (
	// SizeMax bounds a document in bytes.
	SizeMax  = 256 << 10
	depthMax = 32
)

// Document is one parsed YAML document, with its positions.
type Document struct {
	file *strict.File
	root *yaml.Node
}

type (
	// Error is what is wrong with a document, and where.
	Error = strict.Error
	// Errors are all that is wrong with one; errors.As finds the first as an *Error.
	Errors = strict.Errors //nolint:errname // all of them
)

// Parse reads text, which must hold exactly one YAML document whose top is a mapping.
// name stands in errors, which are an *Error, or Errors when there are several.
func Parse(name string, text []byte) (*Document, error) {
	d := &Document{file: strict.NewFile(name, text)}
	d.root = strict.Parse(d.file, text, strict.Bounds{Size: SizeMax, Depth: depthMax})
	if d.root != nil && d.root.Kind != yaml.MappingNode {
		d.file.Add(d.at(d.root, "", "want a mapping of keys, got %s", strict.KindOf(d.root)))
	}
	return d, d.failed()
}

// failed returns what was found so far.
func (d *Document) failed() error {
	switch all := d.file.Failed(); len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	default:
		return all
	}
}

// Require returns what of paths is not in the document, of a place and what it holds only
// the place. A path is keys joined by dots.
func (d *Document) Require(paths ...string) error {
	var missing Found
	for _, path := range paths {
		if d.find(path) == nil {
			parent := d.root
			if i := strings.LastIndexByte(path, '.'); i >= 0 && d.find(path[:i]) != nil {
				parent = d.find(path[:i])
			}
			missing.Add(d.at(parent, path, "missing"))
		}
	}
	return missing.Err()
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
	source := d.file.Line(row)
	if line < 1 || line > len(text) || source == "" {
		return e
	}
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
		if whole := strict.Lookup(n, path); whole != nil { // a key may hold dots
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
		n = strict.Lookup(n, key)
	}
	return n
}

func (d *Document) at(n *yaml.Node, path, format string, args ...any) *Error {
	return d.file.At(n, path, format, args...)
}
