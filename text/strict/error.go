package strict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// errorsMax bounds the errors that one file is told of.
const errorsMax = 50

// Error is one thing that is wrong, and where.
type Error struct {
	File   string `json:"file"`
	Line   int    `json:"line"`   // from 1; 0 when unknown
	Column int    `json:"column"` // from 1, in characters
	Path   string `json:"path"`   // such as actions[1].plugin; empty for the whole
	Text   string `json:"text"`
	Source string `json:"source"` // the line at fault

	// From is the line and column of what led to an error in another file, zero for none:
	// errors are told in its order.
	From [2]int `json:"-"`

	// Meant is the place that was meant instead, as far as one can tell: that nothing stands
	// there follows.
	Meant string `json:"-"`
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

// Caret returns the line at fault with a caret under the column, for a terminal, or
// nothing when the place is unknown.
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

// place is where an error stands among the others of its file.
func (e *Error) place() [2]int {
	if e.From != [2]int{} {
		return e.From
	}
	return [2]int{e.Line, e.Column}
}

// Errors are all that is wrong with a file, in its order.
type Errors []*Error

// Error returns one line for each.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns each, so that errors.As finds the first.
func (e Errors) Unwrap() []error {
	out := make([]error, len(e))
	for i := range e {
		out[i] = e[i]
	}
	return out
}

// Failed returns all that was added, in the order of the file, each once; nil for nothing.
func (f *File) Failed() Errors {
	if len(f.errs) == 0 {
		return nil
	}
	slices.SortStableFunc(f.errs, func(a, b *Error) int {
		p, q := a.place(), b.place()
		return cmp.Or(cmp.Compare(p[0], q[0]), cmp.Compare(p[1], q[1]))
	})
	f.errs = slices.CompactFunc(f.errs, func(a, b *Error) bool { return a.Error() == b.Error() })
	if n := len(f.errs); n > errorsMax {
		f.errs = append(f.errs[:errorsMax], &Error{File: f.name, Text: fmt.Sprintf("and %d more", n-errorsMax)})
	}
	return f.errs
}

var _ error = Errors(nil)
