package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"path"
	"strings"
	"unicode/utf8"
)

// The project's style in numbers. Tests may have long functions: a table is one.
const (
	fileLinesMax  = 600
	funcLinesMax  = 70
	lineWidthMax  = 110 // in characters; a tab is one
	tableWidthMax = 160 // of a test: a case is read best on one line
	parametersMax = 4   // besides a context
)

// sizes reads every Go file under fsys and prints one line for each that breaks one of
// the bounds above. Generated files and test data are passed over.
func sizes(out io.Writer, fsys fs.FS) error {
	found := 0
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && passedOver(name):
			return fs.SkipDir
		case entry.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		source, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		faults, err := checkFile(name, source)
		for _, fault := range faults {
			fmt.Fprintln(out, fault)
		}
		found += len(faults)
		return err
	})
	if err == nil && found > 0 {
		err = fmt.Errorf("%d places are over a bound", found)
	}
	return err
}

// passedOver says which folders hold no source of ours.
func passedOver(dir string) bool {
	base := path.Base(dir)
	return base == "testdata" || base == "node_modules" || base == "target" || base == "dist" ||
		(strings.HasPrefix(base, ".") && dir != ".")
}

// checkFile returns what is over a bound in one file, each as "file:line: what".
func checkFile(name string, source []byte) ([]string, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	if ast.IsGenerated(file) {
		return nil, nil
	}
	c := checker{fset: fset, name: name, test: strings.HasSuffix(name, "_test.go")}
	c.lines(source)
	for _, decl := range file.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok {
			c.function(fn)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			c.text(lit)
		}
		return true
	})
	return c.faults, nil
}

// A checker gathers the faults of one file.
type checker struct {
	fset   *token.FileSet
	name   string
	test   bool
	faults []string
}

func (c *checker) add(line int, format string, args ...any) {
	c.faults = append(c.faults, fmt.Sprintf("%s:%d: ", c.name, line)+fmt.Sprintf(format, args...))
}

func (c *checker) lines(source []byte) {
	lines := bytes.Split(bytes.TrimSuffix(source, []byte("\n")), []byte("\n"))
	if n := len(lines); n > fileLinesMax {
		c.add(n, "file has %d lines: want at most %d", n, fileLinesMax)
	}
	most := lineWidthMax
	if c.test {
		most = tableWidthMax
	}
	for i, line := range lines {
		if n := utf8.RuneCount(line); n > most {
			c.add(i+1, "line has %d characters: want at most %d", n, most)
		}
	}
}

func (c *checker) function(fn *ast.FuncDecl) {
	if c.test {
		return
	}
	first, last := c.fset.Position(fn.Pos()).Line, c.fset.Position(fn.End()).Line
	if n := last - first + 1; n > funcLinesMax {
		c.add(first, "func %s has %d lines: want at most %d", fn.Name.Name, n, funcLinesMax)
	}
	if n := parameters(fn.Type); n > parametersMax {
		c.add(first, "func %s has %d parameters: want at most %d, then a struct", fn.Name.Name, n, parametersMax)
	}
}

// parameters counts a function's parameters without its context.
func parameters(fn *ast.FuncType) int {
	n := 0
	for _, field := range fn.Params.List {
		if sel, ok := field.Type.(*ast.SelectorExpr); ok && sel.Sel.Name == "Context" {
			continue
		}
		n += max(1, len(field.Names))
	}
	return n
}

// An error that says "failed to" reads badly once it is wrapped.
func (c *checker) text(lit *ast.BasicLit) {
	if !c.test && strings.Contains(lit.Value, banned) {
		c.add(c.fset.Position(lit.Pos()).Line, "text says %q: say what was tried, and the cause", banned)
	}
}

const banned = "failed" + " to"
