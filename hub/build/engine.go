package build

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing/fstest"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// Engine runs the artifacts of a language whose plugins are scripts.
type Engine struct {
	Name      string
	Module    []byte   // WebAssembly, not metered
	Args      []string // the first is the program's own name
	Path      string   // where it sees the files of an artifact
	Libraries []Library
}

// Library is a zip archive whose files an engine sees at Path.
type Library struct {
	Path  string
	Bytes []byte
}

// engineFiles says what an engine is made of. The files come out of `make engines`.
type engineFiles struct {
	name, module string
	args         []string
	libraries    map[string]string // file by path; at most one so far, so no order is lost
}

// appPath is where every engine sees the files of an artifact.
const appPath = "/app"

var engines = []engineFiles{
	{name: "quickjs", module: "qjs.wasm", args: []string{"qjs", appPath + "/main.js"}},
	{
		name: "cpython", module: "python.wasm",
		args:      []string{"python", "-I", "-S", "-B", appPath + "/__main__.pyc"},
		libraries: map[string]string{"/usr/lib/python3.11": "python311.zip"},
	},
}

// engineHint says how to come by an engine.
const engineHint = "run make engines, or put a release's folder engines into one of the folders named"

// engineDirs are the folders in which engines are looked for: beside the program, where a
// package puts them, and where make engines does.
func engineDirs() []string {
	var out []string
	if exe, err := os.Executable(); err == nil {
		out = append(out, filepath.Join(filepath.Dir(exe), "engines"))
	}
	out = append(out, "/usr/local/lib/stavily/engines", "/usr/lib/stavily/engines")
	if dir, err := os.UserCacheDir(); err == nil {
		out = append(out, filepath.Join(dir, "stavily", "engines"))
	}
	return out
}

// FindEngine reads an engine by name, such as "quickjs", from the first folder that has
// it. The error has CodeUnavailable and names the file that is missing and the folders.
func FindEngine(name string) (*Engine, error) {
	i := slices.IndexFunc(engines, func(e engineFiles) bool { return e.name == name })
	if i < 0 {
		return nil, protocol.Errorf(protocol.CodeUnavailable, "engine %q: not known to this hub", name)
	}
	of := engines[i]
	for _, dir := range engineDirs() {
		e, err := of.read(dir)
		if !errors.Is(err, fs.ErrNotExist) {
			return e, err
		}
	}
	return nil, protocol.Errorf(protocol.CodeUnavailable, "engine %s: no %s in %s", name, of.module,
		strings.Join(engineDirs(), ", "))
}

func (of *engineFiles) read(dir string) (*Engine, error) {
	module, err := os.ReadFile(filepath.Join(dir, of.module))
	if err != nil {
		return nil, fmt.Errorf("engine %s: %w", of.name, err)
	}
	e := &Engine{Name: of.name, Module: module, Args: of.args, Path: appPath}
	for path, file := range of.libraries {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			return nil, fmt.Errorf("engine %s: %w", of.name, err)
		}
		e.Libraries = append(e.Libraries, Library{path, b})
	}
	return e, nil
}

// Sum names everything that the engine is.
func (e *Engine) Sum() string {
	parts := []string{protocol.DigestOf(e.Module).Short()}
	for _, l := range e.Libraries {
		parts = append(parts, protocol.DigestOf(l.Bytes).Short())
	}
	return strings.Join(parts, "+")
}

// Describe returns what a release says of the engine, of which metered is the module as
// agents run it.
func (e *Engine) Describe(metered []byte) *protocol.Engine {
	out := &protocol.Engine{Name: e.Name, Module: protocol.NewFile(metered), Args: e.Args, Path: e.Path}
	for _, l := range e.Libraries {
		out.Libraries = append(out.Libraries, protocol.Library{Path: l.Path, File: protocol.NewFile(l.Bytes)})
	}
	return out
}

// Files returns every file of the engine that agents fetch, with metered in the module's
// place.
func (e *Engine) Files(metered []byte) [][]byte {
	out := [][]byte{metered}
	for _, l := range e.Libraries {
		out = append(out, l.Bytes)
	}
	return out
}

// Mounts returns what a guest of the engine sees: the files of the artifact script, and
// the libraries. The error has CodeBadInput.
func (e *Engine) Mounts(script []byte) ([]wasmhost.Mount, error) {
	tree, err := wasmhost.ZipTree(script)
	if err != nil {
		return nil, err
	}
	out := []wasmhost.Mount{{Path: e.Path, Tree: tree}}
	for _, l := range e.Libraries {
		tree, err := wasmhost.ZipTree(l.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, wasmhost.Mount{Path: l.Path, Tree: tree})
	}
	return out, nil
}

// run runs the engine as a program of the hub's own, such as a check or a test, with files
// at /app, and returns what it said. ctx bounds it. The error has CodePlugin for an exit
// code that is not 0.
func (e *Engine) run(ctx context.Context, files map[string][]byte, args ...string) ([]byte, error) {
	return e.start(ctx, files, wasmhost.Command{Args: args})
}

// check is run for what takes no time.
func (e *Engine) check(ctx context.Context, files map[string][]byte, args ...string) ([]byte, error) {
	return e.start(ctx, files, wasmhost.Command{Args: args, Interpreted: true})
}

func (e *Engine) start(ctx context.Context, files map[string][]byte, c wasmhost.Command) ([]byte, error) {
	world := fstest.MapFS{} // a file system in memory whose files can seek, as C libraries want
	for name, b := range files {
		world[strings.TrimPrefix(appPath, "/")+"/"+name] = &fstest.MapFile{Data: b, Mode: 0o444}
	}
	for _, l := range e.Libraries {
		if err := unzipInto(world, strings.TrimPrefix(l.Path, "/"), l.Bytes); err != nil {
			return nil, err
		}
	}
	c.Wasm, c.Args, c.Files, c.Dir = e.Module, append([]string{e.Args[0]}, c.Args...), world, "."
	c.MemoryMB, c.OutputMax = testMemoryMB, outputMax
	return wasmhost.RunCommand(ctx, c)
}

func unzipInto(world fstest.MapFS, under string, archive []byte) error {
	r, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return fmt.Errorf("library: %w", err)
	}
	for _, f := range r.File {
		if f.FileInfo().IsDir() {
			world[under+"/"+strings.TrimSuffix(f.Name, "/")] = &fstest.MapFile{Mode: fs.ModeDir | 0o555}
			continue
		}
		b, err := fs.ReadFile(r, f.Name)
		if err != nil {
			return fmt.Errorf("library: %w", err)
		}
		world[under+"/"+f.Name] = &fstest.MapFile{Data: b, Mode: 0o444}
	}
	return nil
}

// zipped packs files the same way each time: in the order of their names, with no times.
func zipped(files map[string][]byte) ([]byte, error) {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range names {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
		if err == nil {
			_, err = w.Write(files[name])
		}
		if err != nil {
			return nil, fmt.Errorf("zip %s: %w", name, err)
		}
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("zip: %w", err)
	}
	return b.Bytes(), nil
}
