package build

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"

	platform "github.com/stavily/stavily/firmware-targets"
	"github.com/stavily/stavily/hub/build/sdk"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// python is the row for Python: byte code, run by CPython as WebAssembly. The engine
// itself compiles and checks the sources; nothing of them runs on the hub outside it.
func python() *language {
	return &language{
		name: "python", title: "Python", native: true,
		needs: []need{{name: "cpython", hint: engineHint, probe: func(context.Context) (string, error) {
			e, err := FindEngine("cpython")
			if err != nil {
				return "", err
			}
			return "Python 3.11.2, cpython " + e.Sum(), nil
		}}, {name: "pip", hint: pipHint, optional: true, silent: true, probe: pipTool}},
		locked: "the folder vendor, and requirements.lock by sha256; the SDK comes from this hub",
		artifacts: "byte code and its engine as wasm, for every platform; where a package has code for a " +
			"machine, archives for the CPython of " + strings.Join(jailed, ", "),
		coverage: "lines that ran of lines with code, by the interpreter's own tracing",
		flags:    func() string { return "pyc native 1 sdk " + sdk.PythonSum() },
		fetch:    pythonFetch,
		build:    pythonBuild,
		test:     pythonTest,
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

// pythonFetch holds the source's lock to its manifest and brings the packages that it
// names, for every platform that will need them.
func pythonFetch(ctx context.Context, w *workspace) error {
	for _, name := range []string{"Pipfile", "poetry.lock", "uv.lock", "setup.py"} {
		if _, err := fs.Stat(w.tree, name); err == nil {
			return protocol.Errorf(protocol.CodeIncompatible, "%s: not a lock that this hub reads: commit "+
				"requirements.lock, as `pip-compile --generate-hashes` writes it, or pure packages in the folder "+
				"vendor, and leave this file out", name)
		}
	}
	_, err := w.pythonParts(ctx)
	return err
}

// pythonParts is what a Python plugin's artifacts are made of.
type pythonParts struct {
	lock      pipLock
	wheels    []wheel             // of the first platform; where all are pure, of any
	platforms []platform.Platform // that get a native artifact
	// native says why there is no module, empty when there is one.
	native string
	odd    []string // what is to be told of it
}

// pythonParts decides by manifest and lock what is built, once for a workspace.
func (w *workspace) pythonParts(ctx context.Context) (pythonParts, error) {
	if w.parts != nil {
		return *w.parts, nil
	}
	p, err := w.findParts(ctx)
	if err == nil {
		w.parts = &p
	}
	return p, err
}

func (w *workspace) findParts(ctx context.Context) (p pythonParts, err error) {
	if p.lock, err = readPipLock(w.tree); err != nil {
		return p, err
	}
	if p.odd, err = p.lock.satisfies(w.tree, w.m); err != nil {
		return p, err
	}
	p.native = wantsNative(w.m)
	possible, none := nativePlatforms(w.m)
	if none != nil {
		possible = []platform.Platform{here()} // to see what the packages are
	}
	for _, of := range possible {
		wheels, err := w.wheels(ctx, p.lock, of)
		if errors.Is(err, errNoWheel) {
			p.odd = append(p.odd, fmt.Sprintf("none for %s: %v", of.Name, err))
			continue
		}
		if err != nil {
			return p, err
		}
		if len(p.platforms) == 0 {
			p.wheels = wheels
			p.native = cmp.Or(p.native, needsMachine(wheels))
		}
		p.platforms = append(p.platforms, of)
		if p.native == "" && w.m.Runtime.Native != protocol.NativeAlso {
			p.platforms = nil
			return p, nil
		}
	}
	if len(p.platforms) == 0 {
		return p, protocol.Errorf(protocol.CodeBadInput, "%s: no platform has all of its packages: %s", p.lock.file,
			strings.Join(p.odd, "; "))
	}
	return p, none
}

// needsMachine says which package is not pure Python, empty for none.
func needsMachine(wheels []wheel) string {
	for _, one := range wheels {
		if !one.pure {
			return one.file + " has code for a machine"
		}
	}
	return ""
}

// pythonSources returns the Python files of a source with those of the SDK. Tests are
// among them only if asked for.
func pythonSources(tree fs.FS, tests bool) (map[string][]byte, error) {
	out := map[string][]byte{"__main__.py": []byte(pythonEntry)}
	for name, text := range sdk.Python() {
		if strings.HasPrefix(name, "stavily/") && (tests || !strings.HasPrefix(name, "stavily/testing")) {
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

// pythonBuild makes the byte code for the engine, and the archives for the machines' own
// CPython. Either way the engine compiles every source, which finds errors of syntax here
// and not on the device.
func pythonBuild(ctx context.Context, w *workspace) ([]Output, error) {
	parts, err := w.pythonParts(ctx)
	if err != nil {
		return nil, err
	}
	sources, err := pythonSources(w.tree, false)
	if err != nil {
		return nil, err
	}
	var out []Output
	files := maps.Clone(sources)
	if parts.native == "" {
		if err := addWheels(files, parts); err != nil {
			return nil, err
		}
	}
	packed, err := pythonModule(ctx, w, files)
	if err != nil {
		return nil, err
	}
	if parts.native == "" {
		out = append(out, Output{Platform: protocol.PlatformWASM, Bytes: packed, Engine: "cpython"})
	}
	for _, of := range parts.platforms {
		one, err := pythonNative(ctx, w, parts, of)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

// pythonModule has the engine compile the files that are Python, and packs them all.
func pythonModule(ctx context.Context, w *workspace, sources map[string][]byte) ([]byte, error) {
	engine, err := FindEngine("cpython")
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{"compile.py": pythonCompile}
	code := map[string][]byte{}
	for name, b := range sources {
		if path.Ext(name) == ".py" {
			files["src/"+name] = b
		} else {
			code[name] = b
		}
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
	for at := range files {
		name, own := strings.CutPrefix(at, "src/")
		if !own {
			continue
		}
		b, err := os.ReadFile(filepath.Join(scratch, "out", filepath.FromSlash(name)+"c"))
		if err != nil {
			return nil, fmt.Errorf("compile %s: %w", name, err)
		}
		code[name+"c"] = b
	}
	return zipped(code)
}

// pythonNative packs the sources with the packages of their lock, for the CPython of the
// machines of a platform.
func pythonNative(ctx context.Context, w *workspace, parts pythonParts, of platform.Platform) (Output,
	error,
) {
	files, err := pythonSources(w.tree, false)
	if err != nil {
		return Output{}, err
	}
	files["__main__.py"] = []byte(pythonNativeEntry)
	if parts.wheels, err = w.wheels(ctx, parts.lock, of); err != nil {
		return Output{}, err
	}
	if err := addWheels(files, parts); err != nil {
		return Output{}, err
	}
	packed, err := tarred(files)
	note := "for the CPython of the device"
	if parts.native != "" {
		note += " only: " + parts.native
	}
	return Output{Platform: of.Name, Bytes: packed, Note: strings.Join(append([]string{note}, parts.odd...),
		"; ")}, err
}

// pythonNativeEntry is what a machine's CPython is started with.
const pythonNativeEntry = `import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [here, os.path.join(here, "vendor")]
from main import plugin

plugin.main()
`

// addWheels puts the packages beside the sources.
func addWheels(files map[string][]byte, parts pythonParts) error {
	packages, err := wheelFiles(parts.wheels)
	if err != nil {
		return err
	}
	for name, b := range packages {
		at := "vendor/" + name
		if files[at] != nil {
			return protocol.Errorf(protocol.CodeBadInput, "%s: %s lies in the source too", parts.lock.file, at)
		}
		files[at] = b
	}
	return nil
}
