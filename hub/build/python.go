package build

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/stavily/stavily/hub/build/sdk"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// python is the row for Python: byte code, run by CPython as WebAssembly. The engine
// itself compiles and checks the sources; nothing of them runs on the hub outside it.
func python() *language {
	return &language{
		name: "python", title: "Python",
		needs: []need{{name: "cpython", hint: engineHint, probe: func(context.Context) (string, error) {
			e, err := FindEngine("cpython")
			if err != nil {
				return "", err
			}
			return "Python 3.11.2, cpython " + e.Sum(), nil
		}}},
		locked:    "the folder vendor, pure Python only; the SDK comes from this hub",
		artifacts: "byte code and its engine as wasm, for every platform",
		flags:     func() string { return "pyc sdk " + sdk.PythonSum() },
		fetch:     pythonFetch,
		build:     pythonBuild,
		test:      pythonTest,
	}
}

//go:embed compile.py
var pythonCompile []byte

// pythonEntry is what the engine is started with.
const pythonEntry = `import sys
sys.path[:0] = ["/app", "/app/vendor"]
from main import plugin
plugin.main()
`

// pythonFetch has nothing to fetch: it refuses what would have to be.
func pythonFetch(_ context.Context, w *workspace) error {
	for _, name := range []string{"requirements.txt", "Pipfile", "poetry.lock", "uv.lock", "setup.py"} {
		if _, err := fs.Stat(w.tree, name); err == nil {
			return protocol.Errorf(protocol.CodeIncompatible,
				"%s: packages are not fetched for Python as WebAssembly: commit pure ones in the folder vendor, "+
					"and leave this file out", name)
		}
	}
	return nil
}

// pythonSources returns the Python files of a source with those of the SDK. Tests are
// among them only if asked for.
func pythonSources(tree fs.FS, tests bool) (map[string][]byte, error) {
	out := map[string][]byte{"__main__.py": []byte(pythonEntry)}
	for name, text := range sdk.Python() {
		if strings.HasPrefix(name, "stavily/") && (tests || name != "stavily/testing.py") {
			out[name] = []byte(text)
		}
	}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		isTest := strings.HasPrefix(path.Base(name), "test_")
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "tests" || d.Name() == "test") && !tests:
			return fs.SkipDir
		case d.IsDir(), path.Ext(name) != ".py", isTest && !tests:
			return nil
		case out[name] != nil:
			return protocol.Errorf(protocol.CodeBadInput, "%s: a file of that name comes from the hub", name)
		}
		out[name], err = fs.ReadFile(tree, name)
		return err
	})
	if err == nil && out["main.py"] == nil {
		err = protocol.Errorf(protocol.CodeBadInput, "build: no main.py in the source")
	}
	return out, err
}

// pythonBuild has the engine compile every source, which finds errors of syntax here and
// not on the device, and packs the byte code.
func pythonBuild(ctx context.Context, w *workspace) ([]Output, error) {
	sources, err := pythonSources(w.tree, false)
	if err != nil {
		return nil, err
	}
	engine, err := FindEngine("cpython")
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{"compile.py": pythonCompile}
	for name, b := range sources {
		files["src/"+name] = b
	}
	scratch := filepath.Join(w.dir, "compiled")
	if err := os.MkdirAll(scratch, 0o700); err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}
	said, err := engine.start(ctx, files, wasmhost.Command{
		Args: []string{"-I", "-S", "-B", appPath + "/compile.py"}, Scratch: scratch,
	})
	if err != nil {
		return nil, overtime(ctx, "compile",
			protocol.Errorf(protocol.CodeBadInput, "compile: %w\n%s", err, tail(said)))
	}
	code := map[string][]byte{}
	for name := range sources {
		b, err := os.ReadFile(filepath.Join(scratch, "out", filepath.FromSlash(name)+"c"))
		if err != nil {
			return nil, fmt.Errorf("compile %s: %w", name, err)
		}
		code[name+"c"] = b
	}
	packed, err := zipped(code)
	return []Output{{Platform: protocol.PlatformWASM, Bytes: packed, Engine: engine.Name}}, err
}

// pythonTest runs the suite's files test_*.py by unittest in the engine.
func pythonTest(ctx context.Context, w *workspace, suite string) (tested, error) {
	dir := path.Clean(filepath.ToSlash(suite))
	count := 0
	err := fs.WalkDir(w.tree, dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), "test_") && path.Ext(name) == ".py" {
			count++
		}
		return err
	})
	if err != nil || count == 0 {
		return tested{}, fmt.Errorf("no test_*.py in %s: %w", dir, errors.Join(ErrNoTests, err))
	}
	files, err := pythonSources(w.tree, true)
	if err != nil {
		return tested{}, err
	}
	engine, err := FindEngine("cpython")
	if err != nil {
		return tested{}, err
	}
	at := quoted(path.Join(appPath, dir))
	files["__main__.py"] = []byte("import sys\nsys.path[:0] = ['/app', '/app/vendor']\n" +
		"sys.argv = ['test', 'discover', '-s', " + at + ", '-t', " + at + "]\n" +
		"import unittest\nunittest.main(module=None)\n")
	out, err := engine.run(ctx, files, "-I", "-S", "-B", appPath+"/__main__.py")
	if err != nil {
		return tested{}, overtime(ctx, "test",
			protocol.Errorf(protocol.CodeRefused, "test: %w\n%s", err, tail(out)))
	}
	return tested{said: fmt.Sprintf("passed, %d files", count)}, nil
}
