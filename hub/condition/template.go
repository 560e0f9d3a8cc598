package condition

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/condition"
)

// What a template may look at besides event and results: the agent that runs the step.
const (
	VarName   = "agent.name"
	VarSite   = "agent.site"
	VarLabels = "agent.labels"
)

// What stands around an expression in a configuration's text.
const (
	opens  = "${{"
	closes = "}}"
)

// secret is the function that gives the handle of a secret.
const secret = "secret"

// Template is a text of a configuration with expressions in it, compiled.
type Template struct {
	// Tree gives the value. Its text is the whole one, as it was written.
	Tree condition.Tree
	// Kinds are the types that the value can have, 0 when that is not known before it is there.
	Kinds condition.Kinds
	// Secrets are those whose handles are in it, in the order written.
	Secrets []Secret
}

// Secret is a secret that a template places the handle of, and where it says so.
type Secret struct {
	Name protocol.SecretName
	At   Error // without a text
}

// Scope is what a template may look at.
type Scope struct {
	Event   bool                // there is an event, and results
	Earlier []protocol.StepName // the actions whose results are there
}

// IsTemplate reports whether a text of a configuration has expressions in it.
func IsTemplate(text string) bool { return strings.Contains(text, opens) }

// templates returns the language of templates.
func templates() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable(VarEvent, cel.DynType), cel.Variable(VarResults, cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable(VarName, cel.StringType), cel.Variable(VarSite, cel.StringType),
		cel.Variable(VarLabels, cel.MapType(cel.StringType, cel.StringType)),
		cel.Function(secret, cel.Overload("secret_string", []*cel.Type{cel.StringType}, cel.StringType,
			cel.UnaryBinding(func(name ref.Val) ref.Val { return types.String(handle(fmt.Sprint(name.Value()))) }))),
		cel.CrossTypeNumericComparisons(true), cel.ParserRecursionLimit(depthMax),
		cel.ParserExpressionSizeLimit(condition.TextMax),
	)
}

// handle is what the host puts a secret's value in the place of (wasmhost/ABI.md, Secrets).
func handle(name string) string { return "${" + name + "}" }

// Template compiles a text for which IsTemplate is true. One that is an expression and nothing
// else has the expression's value, of its type; with text around it, it is a text. The error
// is an *Error, at a place in text.
func (c *Compiler) Template(text string, scope Scope) (*Template, error) {
	parts, err := split(text)
	if err != nil {
		return nil, err
	}
	out := &Template{}
	l := lowering{earlier: scope.Earlier, template: &scope, secrets: &out.Secrets}
	for i := range parts {
		p := &parts[i]
		var node uint16
		switch {
		case !p.expr:
			node = l.add(literalOf(p.text))
		default:
			var kinds condition.Kinds
			if node, kinds, err = c.part(&l, p, len(parts) == 1); err != nil {
				return nil, err
			}
			out.Kinds = kinds
		}
		if i > 0 {
			l.nodes = append(l.nodes, condition.Node{Op: condition.OpAdd, Args: []uint16{l.whole, node}})
			node, out.Kinds = uint16(len(l.nodes)-1), condition.KindString
		}
		l.whole = node
	}
	out.Tree = condition.Tree{Nodes: l.nodes, Text: clip(text)}
	if _, err := condition.New(out.Tree); err != nil {
		return nil, &Error{1, 1, err.Error()}
	}
	return out, nil
}

// part lowers one expression, to a text unless it is alone.
func (c *Compiler) part(l *lowering, p *part, alone bool) (node uint16, kinds condition.Kinds, err error) {
	checked, bad := checked(c.template, p.text)
	if bad != nil {
		return 0, 0, p.moved(bad)
	}
	kinds = kindsOf(checked.OutputType())
	if !alone && (kinds&withinText == 0 && kinds != 0 || checked.OutputType() == cel.BytesType) {
		return 0, 0, p.moved(&Error{1, 1, fmt.Sprintf("it gives %s; with text around it, want a text, a number or "+
			"true or false", checked.OutputType())})
	}
	before := len(*l.secrets)
	l.info = checked.NativeRep().SourceInfo()
	node = l.lower(checked.NativeRep().Expr())
	for i := range (*l.secrets)[before:] {
		s := &(*l.secrets)[before+i]
		s.At = *p.moved(&s.At)
	}
	if l.err != nil {
		return 0, 0, p.moved(l.err)
	}
	if !alone && kinds != condition.KindString {
		l.nodes = append(l.nodes, condition.Node{Op: condition.OpString, Args: []uint16{node}})
		node = uint16(len(l.nodes) - 1)
	}
	return node, kinds, nil
}

// withinText are the types that stand within a text.
const withinText = condition.KindString | condition.KindInteger | condition.KindNumber | condition.KindBoolean

func kindsOf(t *cel.Type) condition.Kinds {
	switch t.Kind() {
	case types.BoolKind:
		return condition.KindBoolean
	case types.IntKind, types.UintKind, types.DoubleKind: // 2.0 is an integer too
		return condition.KindInteger | condition.KindNumber
	case types.StringKind:
		return condition.KindString
	case types.ListKind:
		return condition.KindArray
	case types.MapKind:
		return condition.KindObject
	case types.NullTypeKind:
		return condition.KindNull
	default:
		return 0
	}
}

func literalOf(text string) condition.Node {
	return condition.Node{Op: condition.OpLiteral, Value: protocol.MustMarshal(text)}
}

// clip bounds a text that is for messages only.
func clip(text string) string {
	if len(text) <= condition.TextMax {
		return text
	}
	return strings.ToValidUTF8(text[:condition.TextMax-3], "") + "..."
}

// named refuses what a template may not look at, and a variable of a macro that hides what it
// may.
func (l *lowering) named(e ast.Expr) uint16 {
	name := e.AsIdent()
	if l.template != nil && !l.template.Event && (name == VarEvent || name == VarResults) {
		return l.fail(e, "%s: a trigger has no event yet; it may look at agent and secret", name)
	}
	return l.add(condition.Node{Op: condition.OpVar, Name: name})
}

// hides reports whether a macro's variable has the name of something else.
func hides(name string) bool {
	return slices.Contains([]string{VarEvent, VarResults, "agent", secret}, name)
}

// secret puts a secret's handle in.
func (l *lowering) secret(e ast.Expr) uint16 {
	name, ok := constant(e.AsCall().Args()[0])
	if !ok {
		return l.fail(e, "secret: want its name as a text in quotes")
	}
	if err := protocol.SecretName(name).Check(); err != nil {
		return l.fail(e, "%v", err)
	}
	at := l.info.GetStartLocation(e.ID())
	*l.secrets = append(*l.secrets, Secret{
		protocol.SecretName(name), Error{Line: max(at.Line(), 1), Column: max(at.Column(), 0) + 1},
	})
	return l.add(literalOf(handle(name)))
}

// part is a text, or an expression within one.
type part struct {
	text         string
	expr         bool
	line, column int // where it begins, from 1
}

// moved returns e, which is at a place in the part, at its place in the whole.
func (p *part) moved(e *Error) *Error {
	out := &Error{Line: p.line + e.Line - 1, Column: e.Column, Text: e.Text}
	if e.Line == 1 {
		out.Column += p.column - 1
	}
	return out
}

// split takes a text apart.
func split(text string) (out []part, err error) {
	at := 0
	for at < len(text) {
		begin := strings.Index(text[at:], opens)
		if begin < 0 {
			return append(out, partOf(text, at, len(text), false)), nil
		}
		if begin > 0 {
			out = append(out, partOf(text, at, at+begin, false))
		}
		from := at + begin + len(opens)
		end := endOf(text[from:])
		if end < 0 {
			p := partOf(text, at+begin, len(text), true)
			return nil, &Error{p.line, p.column, fmt.Sprintf("%s without %s", opens, closes)}
		}
		out = append(out, partOf(text, from, from+end, true))
		at = from + end + len(closes)
	}
	return out, nil
}

func partOf(text string, from, to int, expr bool) part {
	before := text[:from]
	line := strings.Count(before, "\n") + 1
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	return part{text[from:to], expr, line, column}
}

// endOf returns where an expression ends: at the first "}}" that is neither within quotes nor
// closes a brace of the expression's own; -1 for nowhere.
func endOf(text string) int {
	var quote byte
	depth := 0
	for i := 0; i < len(text); i++ {
		switch b := text[i]; {
		case quote != 0 && b == '\\':
			i++
		case quote != 0 && b == quote:
			quote = 0
		case quote != 0:
		case b == '\'' || b == '"':
			quote = b
		case b == '{':
			depth++
		case b == '}' && depth > 0:
			depth--
		case b == '}' && strings.HasPrefix(text[i:], closes):
			return i
		}
	}
	return -1
}
