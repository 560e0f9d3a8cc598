package build

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/parser"
	"github.com/dop251/goja/token"
	"github.com/go-sourcemap/sourcemap"

	"github.com/stavily/stavily/protocol"
)

// jsCover is a bundle of tests that says at its end which statements of the source have run.
type jsCover struct {
	script []byte
	nonce  string  // what the line begins with that says it
	places []place // of each mark
}

// coverJS marks the statements of a bundle that stand in the plugin's own files. The
// error is for a bundle whose syntax the parser does not know: then nothing is measured.
func coverJS(script, mapped []byte, tree fs.FS) (*jsCover, error) {
	const head = "(async()=>{\n" // the parser knows scripts, where nobody awaits at the top
	text := head + string(script) + "\n})()"
	program, err := parser.ParseFile(nil, "", text, parser.IgnoreRegExpErrors, parser.WithDisableSourceMaps)
	if err != nil {
		return nil, err
	}
	origin, err := sourcemap.Parse("", mapped)
	if err != nil {
		return nil, fmt.Errorf("source map: %w", err)
	}
	w := jsWalk{text: text, marks: map[int]jsMark{}}
	w.walk(reflect.ValueOf(program))
	c := &jsCover{nonce: "covered " + rand.Text()}
	var out bytes.Buffer
	fmt.Fprintf(&out, jsCoverHead, c.nonce)
	from := len(head)
	for _, at := range slices.Sorted(maps.Keys(w.marks)) {
		m := w.marks[at]
		line, column := position(text, m.code)
		file, _, number, _, found := origin.Source(line-1, column) // without the head
		if file = path.Clean(file); !found || !jsOwn(tree, file) {
			continue
		}
		out.WriteString(text[from:at])
		fmt.Fprintf(&out, m.form, len(c.places))
		from = at
		c.places = append(c.places, place{file, number})
	}
	out.WriteString(text[from : len(head)+len(script)])
	c.script = out.Bytes()
	return c, nil
}

// position returns the line and column of a place in a text, the line from 1 and the column
// from 0, in bytes.
func position(text string, at int) (line, column int) {
	before := text[:at]
	return 1 + strings.Count(before, "\n"), at - (strings.LastIndexByte(before, '\n') + 1)
}

// jsCoverHead keeps the marks and says them when the tests end the program.
const jsCoverHead = `const __covered = new Set();
const __cover = (n) => { __covered.add(n); };
{ const { exit, logLine } = globalThis;
globalThis.exit = (code) => { logLine("%s " + [...__covered].join(" ")); exit(code); }; }
`

// percent returns how much ran of the lines with statements, as the tests' output says.
func (c *jsCover) percent(said []byte) (float64, error) {
	_, rest, found := bytes.Cut(said, []byte(c.nonce+" "))
	if !found {
		return 0, protocol.Errorf(protocol.CodeRefused, "test: no coverage in the output\n%s", tail(said))
	}
	rest, _, _ = bytes.Cut(rest, []byte("\n"))
	l := lines{ran: map[place]bool{}}
	for _, p := range c.places {
		l.ran[p] = false
	}
	for _, word := range strings.Fields(string(rest)) {
		n, err := strconv.Atoi(word)
		if err != nil || n < 0 || n >= len(c.places) {
			return 0, protocol.Errorf(protocol.CodeRefused, "test: coverage: mark %q: want one below %d", word,
				len(c.places))
		}
		l.ran[c.places[n]] = true
	}
	return l.percent(), nil
}

// jsOwn tells the plugin's own files from its tests, its packages and the SDK.
func jsOwn(tree fs.FS, name string) bool {
	parts := strings.Split(path.Dir(name), "/")
	if slices.Contains(parts, "vendor") || slices.Contains(parts, "node_modules") ||
		strings.HasSuffix(name, ".test.js") || strings.HasSuffix(name, ".test.ts") || !fs.ValidPath(name) {
		return false
	}
	info, err := fs.Stat(tree, name)
	return err == nil && info.Mode().IsRegular()
}

// jsMark is what is put before some code: form with the mark's number.
type jsMark struct {
	code int // where the code begins, for the source map
	form string
}

// jsWalk finds where marks go, by their place in text.
type jsWalk struct {
	text  string
	marks map[int]jsMark
}

// walk goes through all that a node holds. The parser's package has no way through its own
// trees, so this one is by reflection.
func (w *jsWalk) walk(v reflect.Value) {
	switch v.Kind() {
	case reflect.Interface:
		w.walk(v.Elem())
	case reflect.Pointer:
		if v.IsNil() {
			return
		}
		if node, is := v.Interface().(ast.Node); is {
			w.node(node)
		}
		if v.Elem().Kind() == reflect.Struct && strings.HasSuffix(v.Elem().Type().PkgPath(), "/ast") {
			w.fields(v.Elem())
		}
	case reflect.Struct:
		if strings.HasSuffix(v.Type().PkgPath(), "/ast") {
			w.fields(v)
		}
	case reflect.Slice:
		list, _ := v.Interface().([]ast.Statement)
		for _, s := range list {
			w.listed(s)
		}
		for i := range v.Len() {
			w.walk(v.Index(i))
		}
	default: // nothing hangs below it
	}
}

func (w *jsWalk) fields(v reflect.Value) {
	for i := range v.NumField() {
		if v.Type().Field(i).IsExported() {
			w.walk(v.Field(i))
		}
	}
}

// mark puts a mark at a place, for the code that begins at another. Of some nodes the parser
// does not say where they stand; those have no mark.
func (w *jsWalk) mark(at, code int, form string) {
	if at > 0 && code > 0 {
		w.marks[at] = jsMark{code: code, form: form}
	}
}

// listed marks a statement of a list.
func (w *jsWalk) listed(s ast.Statement) {
	code := int(s.Idx0()) - 1
	switch s := s.(type) {
	case *ast.BlockStatement, *ast.FunctionDeclaration, *ast.ClassDeclaration, *ast.EmptyStatement:
		return
	case *ast.VariableStatement: // the map knows the name for sure
		code = int(s.List[0].Idx0()) - 1
	case *ast.LexicalDeclaration:
		code = int(s.List[0].Idx0()) - 1
	}
	w.mark(w.begin(s), code, "__cover(%d); ")
}

// begin returns where a statement begins, which may be at a parenthesis that the tree knows
// nothing of.
func (w *jsWalk) begin(s ast.Statement) int {
	at := int(s.Idx0()) - 1
	for at > 0 && w.text[at-1] == '(' {
		at--
	}
	return at
}

// node marks what stands for itself: the branches that have no block, and functions that
// are one expression.
func (w *jsWalk) node(n ast.Node) {
	switch n := n.(type) {
	case *ast.IfStatement:
		w.single(n.Consequent)
		w.single(n.Alternate)
	case *ast.ForStatement:
		w.single(n.Body)
	case *ast.ForInStatement:
		w.single(n.Body)
	case *ast.ForOfStatement:
		w.single(n.Body)
	case *ast.WhileStatement:
		w.single(n.Body)
	case *ast.ArrowFunctionLiteral:
		if body, is := n.Body.(*ast.ExpressionBody); is {
			w.arrow(body.Expression)
		}
	}
}

// single marks a statement that is all of a branch: as a part of its expression, since a
// statement more would need a block.
func (w *jsWalk) single(s ast.Statement) {
	if s == nil {
		return
	}
	at := int(s.Idx0()) - 1
	switch s := s.(type) {
	case *ast.ExpressionStatement:
		w.mark(w.begin(s), at, "__cover(%d), ")
	case *ast.ReturnStatement:
		form := " __cover(%d),"
		if s.Argument == nil {
			form = " __cover(%d)"
		}
		w.mark(at+len("return"), at, form)
	case *ast.ThrowStatement:
		w.mark(at+len("throw"), at, " __cover(%d),")
	}
}

// arrow marks the expression that a function is. What binds less than || has no mark.
func (w *jsWalk) arrow(e ast.Expression) {
	switch e := e.(type) {
	case *ast.AssignExpression, *ast.ArrowFunctionLiteral, *ast.YieldExpression, *ast.SequenceExpression:
		return
	case *ast.BinaryExpression:
		if e.Operator == token.COALESCE {
			return
		}
	}
	at := int(e.Idx0()) - 1
	w.mark(at, at, "__cover(%d) || ")
}
