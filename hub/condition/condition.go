// Package condition compiles the conditions and templates of workflows: text in the Common Expression
// Language (CEL, https://cel.dev) in, a protocol/condition tree out. It is the one room
// of cel-go, which parses and type-checks; what the device's evaluator does not have is
// refused here, with its place in the text.
package condition

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/condition"
)

// The variables of a condition.
const (
	// VarEvent is the data of the event.
	VarEvent = "event"
	// VarResults maps the name of each earlier action to its result: status ("ok",
	// "error", "dropped", "skipped") and data.
	VarResults = "results"
)

// Error is what is wrong with a condition, and where in its text.
type Error struct {
	Line   int // from 1
	Column int // from 1, in characters
	Text   string
}

// Error returns line:column: text.
func (e *Error) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Text) }

// Compiler compiles conditions and templates. It may be used by many goroutines.
type Compiler struct{ env, template *cel.Env }

// NewCompiler returns a Compiler.
func NewCompiler() (*Compiler, error) {
	env, err := cel.NewEnv(
		cel.Variable(VarEvent, cel.DynType), cel.Variable(VarResults, cel.MapType(cel.StringType, cel.DynType)),
		cel.CrossTypeNumericComparisons(true), cel.ParserRecursionLimit(depthMax),
		cel.ParserExpressionSizeLimit(condition.TextMax),
	)
	if err != nil {
		return nil, fmt.Errorf("condition: language: %w", err)
	}
	template, err := templates()
	if err != nil {
		return nil, fmt.Errorf("template: language: %w", err)
	}
	return &Compiler{env, template}, nil
}

// depthMax bounds how deep the parser goes.
const depthMax = 32

// Compile compiles text. earlier names the actions whose results it may look at. The
// error is an *Error.
func (c *Compiler) Compile(text string, earlier []protocol.StepName) (condition.Tree, error) {
	none := condition.Tree{}
	checked, bad := checked(c.env, text)
	if bad != nil {
		return none, bad
	}
	if t := checked.OutputType(); t != cel.BoolType && t != cel.DynType {
		return none, &Error{1, 1, fmt.Sprintf("it gives %s, want true or false", t)}
	}
	l := lowering{info: checked.NativeRep().SourceInfo(), earlier: earlier}
	l.lower(checked.NativeRep().Expr())
	if l.err != nil {
		return none, l.err
	}
	tree := condition.Tree{Nodes: l.nodes, Text: text}
	if _, err := condition.New(tree); err != nil {
		return none, &Error{1, 1, err.Error()}
	}
	return tree, nil
}

// checked parses one expression and checks its types.
func checked(env *cel.Env, text string) (*cel.Ast, *Error) {
	switch {
	case strings.TrimSpace(text) == "":
		return nil, &Error{1, 1, "empty: want an expression"}
	case len(text) > condition.TextMax:
		return nil, &Error{1, 1, fmt.Sprintf("%d bytes, limit %d", len(text), condition.TextMax)}
	case !utf8.ValidString(text):
		return nil, &Error{1, 1, "not UTF-8"}
	}
	out, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, first(issues)
	}
	if _, err := env.Program(out); err != nil { // what the checker could not know yet
		return nil, &Error{1, 1, err.Error()}
	}
	return out, nil
}

// first returns the first of what the checker found, in one line.
func first(issues *cel.Issues) *Error {
	all := issues.Errors()
	if len(all) == 0 {
		return &Error{1, 1, issues.Err().Error()}
	}
	text, _, _ := strings.Cut(all[0].Message, "\n")
	text = strings.TrimPrefix(text, "Syntax error: ")
	text = strings.ReplaceAll(text, " (in container '')", "")
	return &Error{max(all[0].Location.Line(), 1), max(all[0].Location.Column(), 0) + 1, text}
}

// lowering turns a checked expression into nodes, arguments before what takes them.
type lowering struct {
	info    *ast.SourceInfo
	earlier []protocol.StepName
	nodes   []condition.Node
	err     *Error

	template *Scope    // nil for a condition
	secrets  *[]Secret // with template
	whole    uint16    // with template: what the parts so far give
}

// calls are the functions that a device has, by CEL's names.
var calls = map[string]condition.Op{
	"_&&_": condition.OpAnd, "_||_": condition.OpOr, "!_": condition.OpNot, "_?_:_": condition.OpChoose,
	"_==_": condition.OpEqual, "_!=_": condition.OpUnequal, "_<_": condition.OpLess, "_<=_": condition.OpAtMost,
	"_>_": condition.OpMore, "_>=_": condition.OpAtLeast, "_+_": condition.OpAdd, "_-_": condition.OpSub,
	"_*_": condition.OpMul, "_/_": condition.OpDiv, "_%_": condition.OpMod, "-_": condition.OpNeg,
	"_[_]": condition.OpIndex, "@in": condition.OpIn, "size": condition.OpSize,
	"contains": condition.OpContains, "startsWith": condition.OpStartsWith, "endsWith": condition.OpEndsWith,
	"matches": condition.OpMatches, "int": condition.OpInt, "double": condition.OpDouble,
	"string": condition.OpString, "@not_strictly_false": condition.OpNotFalse,
}

// lower appends e and all below it, and returns its index.
func (l *lowering) lower(e ast.Expr) uint16 {
	if l.err != nil {
		return 0
	}
	switch e.Kind() {
	case ast.LiteralKind:
		return l.literal(e)
	case ast.IdentKind:
		return l.named(e)
	case ast.SelectKind:
		return l.selection(e)
	case ast.CallKind:
		return l.call(e)
	case ast.ListKind:
		if len(e.AsList().OptionalIndices()) > 0 {
			return l.fail(e, "optional elements are not available in conditions")
		}
		return l.add(condition.Node{Op: condition.OpList}, e.AsList().Elements()...)
	case ast.MapKind:
		return l.mapping(e)
	case ast.ComprehensionKind:
		return l.fold(e)
	default:
		return l.fail(e, "a message type is not available in conditions")
	}
}

// add appends n behind its arguments.
func (l *lowering) add(n condition.Node, args ...ast.Expr) uint16 {
	for _, a := range args {
		n.Args = append(n.Args, l.lower(a))
	}
	if len(l.nodes) >= condition.NodesMax && l.err == nil {
		l.err = &Error{1, 1, fmt.Sprintf("more than %d parts; make it simpler", condition.NodesMax)}
	}
	l.nodes = append(l.nodes, n)
	return uint16(len(l.nodes) - 1)
}

func (l *lowering) fail(e ast.Expr, format string, args ...any) uint16 {
	if l.err == nil {
		at := l.info.GetStartLocation(e.ID())
		l.err = &Error{max(at.Line(), 1), max(at.Column(), 0) + 1, fmt.Sprintf(format, args...)}
	}
	return 0
}

func (l *lowering) literal(e ast.Expr) uint16 {
	v := e.AsLiteral()
	switch v.(type) {
	case types.Bool, types.Int, types.Double, types.String, types.Bytes:
		return l.add(condition.Node{Op: condition.OpLiteral, Value: protocol.MustMarshal(v.Value())})
	case types.Null:
		return l.add(condition.Node{Op: condition.OpLiteral, Value: protocol.MustMarshal(nil)})
	default:
		return l.fail(e, "a value of type %s is not available in conditions", v.Type().TypeName())
	}
}

func (l *lowering) selection(e ast.Expr) uint16 {
	s := e.AsSelect()
	l.known(s.Operand(), s.FieldName(), e)
	op := condition.OpField
	if s.IsTestOnly() {
		op = condition.OpHas
	}
	return l.add(condition.Node{Op: op, Name: s.FieldName()}, s.Operand())
}

// known refuses the result of a step that is not an earlier action.
func (l *lowering) known(of ast.Expr, name string, at ast.Expr) {
	if of.Kind() != ast.IdentKind || of.AsIdent() != VarResults ||
		slices.Contains(l.earlier, protocol.StepName(name)) {
		return
	}
	have := "there is none"
	if len(l.earlier) > 0 {
		have = fmt.Sprintf("want one of %q", l.earlier)
	}
	l.fail(at, "results: %q is no action before this: %s", name, have)
}

func (l *lowering) call(e ast.Expr) uint16 {
	c := e.AsCall()
	if c.FunctionName() == "dyn" { // tells the checker something, and the device nothing
		return l.lower(c.Args()[0])
	}
	if c.FunctionName() == secret && l.template != nil {
		return l.secret(e)
	}
	op, ok := calls[c.FunctionName()]
	if !ok {
		return l.fail(e, "function %s is not available in conditions", strings.Trim(c.FunctionName(), "_@"))
	}
	args := c.Args()
	if c.IsMemberFunction() {
		args = append([]ast.Expr{c.Target()}, args...)
	}
	switch op {
	case condition.OpMatches:
		return l.matches(e, args)
	case condition.OpIndex:
		if name, ok := constant(args[1]); ok {
			l.known(args[0], name, e)
		}
	default:
	}
	return l.add(condition.Node{Op: op}, args...)
}

func constant(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

// matches wants its pattern written out, so that it is compiled once and checked here.
func (l *lowering) matches(e ast.Expr, args []ast.Expr) uint16 {
	pattern, ok := constant(args[1])
	if !ok {
		return l.fail(e, "matches: want the pattern as a text in quotes")
	}
	if _, err := regexp.Compile(pattern); err != nil {
		return l.fail(args[1], "matches: %v", errors.Unwrap(fmt.Errorf("%w", err)))
	}
	return l.add(condition.Node{Op: condition.OpMatches, Name: pattern}, args[0])
}

func (l *lowering) mapping(e ast.Expr) uint16 {
	var args []ast.Expr
	for _, entry := range e.AsMap().Entries() {
		m := entry.AsMapEntry()
		if m.IsOptional() {
			return l.fail(e, "optional entries are not available in conditions")
		}
		args = append(args, m.Key(), m.Value())
	}
	return l.add(condition.Node{Op: condition.OpMap}, args...)
}

func (l *lowering) fold(e ast.Expr) uint16 {
	c := e.AsComprehension()
	if c.HasIterVar2() {
		return l.fail(e, "a macro with two variables is not available in conditions")
	}
	if l.template != nil && hides(c.IterVar()) {
		return l.fail(e, "a macro's variable named %q would hide what is meant by it elsewhere", c.IterVar())
	}
	return l.add(condition.Node{Op: condition.OpFold, Name: c.IterVar(), Sum: c.AccuVar()},
		c.IterRange(), c.AccuInit(), c.LoopCondition(), c.LoopStep(), c.Result())
}
