// Package expr is the small language of conditions in scenarios: comparisons of figures
// that have a unit, joined by && || and !. A text is parsed and checked against the
// names that there are before anything runs; what is left for later is arithmetic on
// numbers, which cannot fail.
//
// A selector is a condition about one agent, besides sample(N), which takes some of
// those that the rest of its && has left.
package expr

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

const (
	// SizeMax bounds an expression in bytes.
	SizeMax  = 4096
	depthMax = 32
)

// Kind is what a value is. Values of two kinds are never compared.
type Kind uint8

// The kinds, each with the unit in which a Value has it.
const (
	Bool     Kind = iota + 1 // 0 or 1
	Number                   // as it is
	Duration                 // in seconds
	Share                    // 0.5 is 50%
	Bytes                    // in bytes
	Text                     // in Value.Text
)

// String returns the kind's word for errors.
func (k Kind) String() string {
	return [...]string{"nothing", "a truth", "a number", "a duration", "a share", "a size in bytes", "text"}[k]
}

// Value is one value; its kind is known to the expression.
type Value struct {
	Num  float64
	Text string
}

// Field is a figure that an expression may name.
type Field struct {
	Kind Kind
	Doc  string // a few words
}

// Func is a figure that needs one text to say which, as in fleet.active('freezer').
type Func struct {
	Kind Kind
	Arg  string // what the text is, such as workflow
	Doc  string
}

// Names are what an expression may speak of.
type Names struct {
	Fields map[string]Field
	Funcs  map[string]Func
	Sample bool // sample(3) and sample(5%) are known
}

// A Source gives the figures. It is asked only for names that Names has.
type Source interface {
	Field(name string) Value
	Call(name, arg string) Value
}

// Expr is a checked expression. Its value is a truth.
type Expr struct {
	text string
	root *node
}

// Error is what is wrong with an expression, and where.
type Error struct {
	Offset int // bytes from the beginning of the text
	Text   string
}

// Error returns what is wrong.
func (e *Error) Error() string { return e.Text }

// Parse reads and checks an expression. The error is an *Error.
func Parse(text string, names *Names) (*Expr, error) {
	if len(text) > SizeMax {
		return nil, &Error{Text: fmt.Sprintf("condition of %d bytes, limit %d", len(text), SizeMax)}
	}
	p := &parser{text: text, names: names}
	root, err := p.whole()
	if err != nil {
		return nil, err
	}
	return &Expr{text: text, root: root}, nil
}

// Source returns the expression as it was written.
func (e *Expr) Source() string { return e.text }

// String returns the expression in one form: equal expressions have equal strings, and
// the string parses to the same.
func (e *Expr) String() string { return e.root.String() }

// Holds reports whether the expression is true of src. sample(N) is true.
func (e *Expr) Holds(src Source) bool { return e.root.value(src).Num != 0 }

// Named is a figure with its value.
type Named struct {
	Name  string // as written, with its argument
	Value string // with its unit
}

// Values returns the figures that the expression speaks of, each once, as src has them.
func (e *Expr) Values(src Source) []Named {
	var out []Named
	e.root.each(func(n *node) {
		if n.op != opField && n.op != opCall {
			return
		}
		named := Named{Name: n.String(), Value: format(n.kind, n.value(src))}
		if !slices.Contains(out, named) {
			out = append(out, named)
		}
	})
	return out
}

// Mentions reports whether the expression speaks of a name that is meant.
func (e *Expr) Mentions(meant func(name string) bool) bool {
	found := false
	e.root.each(func(n *node) {
		found = found || (n.op == opField || n.op == opCall) && meant(n.name)
	})
	return found
}

// Calls calls f with every call's name and argument, and where the argument stands.
func (e *Expr) Calls(f func(name, arg string, offset int)) {
	e.root.each(func(n *node) {
		if n.op == opCall {
			f(n.name, n.arg, n.at)
		}
	})
}

// format writes a value for people.
func format(k Kind, v Value) string {
	num := strconv.FormatFloat(v.Num, 'g', 6, 64)
	switch k {
	case Text:
		return quote(v.Text)
	case Bool:
		return strconv.FormatBool(v.Num != 0)
	case Duration:
		return time.Duration(v.Num * float64(time.Second)).Round(time.Millisecond).String()
	case Share:
		return strconv.FormatFloat(v.Num*100, 'g', 6, 64) + "%"
	case Bytes:
		return num + "B"
	default:
		return num
	}
}
