package build

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/stavily/stavily/hub/build/sdk"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

//go:embed cover.py
var pythonCover []byte

// coverReport is where cover.py writes what it measured, below the folder that it may write.
const coverReport = "cover.json"

// pythonTest runs the suite's files test_*.py by unittest and counts the lines that ran: in
// the engine, or by this machine's own CPython where a package has code for a machine.
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
	parts, err := w.pythonParts(ctx)
	if err != nil {
		return tested{}, err
	}
	files, err := pythonSources(w.tree, true)
	if err != nil {
		return tested{}, err
	}
	t := pythonTests{dir: dir, files: files, measured: measuredFiles(files, dir)}
	run, by := t.inEngine, "the engine"
	if parts.native != "" {
		parts.wheels, err = w.wheels(ctx, parts.lock, here())
		run, by = t.inRoom, "CPython of this hub"
	}
	if err == nil {
		err = addWheels(t.files, parts)
	}
	if err != nil {
		return tested{}, err
	}
	report, err := run(ctx, w)
	if err != nil {
		return tested{}, err
	}
	coverage, err := pythonCoverage(report)
	return tested{said: fmt.Sprintf("passed, %d files, by %s", count, by), measured: true, coverage: coverage},
		err
}

// pythonTests is a suite with all that it imports.
type pythonTests struct {
	dir      string // of the suite, below the sources
	files    map[string][]byte
	measured []string
}

// measuredFiles are the plugin's own sources.
func measuredFiles(files map[string][]byte, suite string) []string {
	own := sdk.Python()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(files)), func(name string) bool {
		_, ours := own[name]
		in := suite != "." && strings.HasPrefix(name, suite+"/")
		return ours || in || name == "__main__.py" || strings.HasPrefix(path.Base(name), "test_") ||
			slices.ContainsFunc(strings.Split(path.Dir(name), "/"), func(part string) bool {
				return part == "tests" || part == "test" || part == "vendor"
			})
	})
}

// args are those of cover.py where the files lie in app and it may write in out.
func (t pythonTests) args(app, out string) []string {
	return append([]string{app + "/cover.py", app, path.Join(app, t.dir), out + "/" + coverReport},
		t.measured...)
}

func (t pythonTests) inEngine(ctx context.Context, w *workspace) ([]byte, error) {
	engine, err := FindEngine("cpython")
	if err != nil {
		return nil, err
	}
	scratch := filepath.Join(w.dir, "tested")
	if err := os.MkdirAll(scratch, 0o700); err != nil {
		return nil, fmt.Errorf("test: %w", err)
	}
	t.files["cover.py"] = pythonCover
	out, err := engine.start(ctx, t.files, wasmhost.Command{
		Args: append([]string{"-I", "-S", "-B"}, t.args(appPath, "/tmp")...), Scratch: scratch,
	})
	if err != nil {
		return nil, overtime(ctx, "test", protocol.Errorf(protocol.CodeRefused, "test: %w\n%s", err, tail(out)))
	}
	return w.read(filepath.Join("tested", coverReport), 1<<20)
}

// inRoom runs the suite natively: its code runs on this hub, so that it is confined.
func (t pythonTests) inRoom(ctx context.Context, w *workspace) ([]byte, error) {
	if platforms, err := nativePlatforms(w.m); err != nil || !slices.Contains(platforms, here()) {
		return nil, protocol.Errorf(protocol.CodeUnavailable, "test: the tests are native and this hub is %s-%s, "+
			"which the plugin does not support; %v", runtime.GOOS, runtime.GOARCH, err)
	}
	if err := w.mayRun("the tests of a native plugin run"); err != nil {
		return nil, err
	}
	python, err := findPython(ctx, func(_ context.Context, p cpython) error {
		return fits(w.m, "CPython "+p.version)
	})
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeUnavailable, "test: the tests need CPython: %w; %s", err, pipHint)
	}
	app := filepath.Join(w.dir, "app")
	t.files["cover.py"] = pythonCover
	for name, b := range t.files {
		at := filepath.Join(app, filepath.FromSlash(name))
		if err := writeFile(at, bytes.NewReader(b)); err != nil {
			return nil, fmt.Errorf("test: %w", err)
		}
	}
	out := filepath.Join(w.dir, "tested")
	if err := os.MkdirAll(out, 0o700); err != nil {
		return nil, fmt.Errorf("test: %w", err)
	}
	err = w.run(ctx, command{
		what: "test", argv: append([]string{python.program, "-I", "-S", "-B"}, t.args(w.inside(app),
			w.inside(out))...),
		env: []string{"PATH=/usr/bin:/bin", "HOME=" + w.inside(out), "TMPDIR=" + w.inside(out), "LC_ALL=C.UTF-8"},
		dir: w.inside(app), reads: unseen(python.folders()...),
	})
	if err != nil {
		return nil, protocol.Errorf(refusedOr(err), "%w", err)
	}
	return w.read(filepath.Join("tested", coverReport), 1<<20)
}

// refusedOr is the code of a test that failed: bad input is what the source's own tests
// found.
func refusedOr(err error) protocol.Code {
	if code := protocol.CodeOf(err); code != protocol.CodeBadInput {
		return code
	}
	return protocol.CodeRefused
}

// pythonCoverage reads what cover.py measured, in percent of all lines with code.
func pythonCoverage(report []byte) (float64, error) {
	var files map[string]struct {
		Lines  int   `json:"lines"`
		Missed []int `json:"missed"`
	}
	if err := json.Unmarshal(report, &files); err != nil {
		return 0, protocol.Errorf(protocol.CodeRefused, "test: coverage: %w", err)
	}
	lines, missed := 0, 0
	for _, f := range files {
		lines, missed = lines+f.Lines, missed+len(f.Missed)
	}
	if lines == 0 || missed > lines {
		return 0, protocol.Errorf(protocol.CodeRefused, "test: coverage: %d lines, %d of them missed", lines,
			missed)
	}
	return 100 * float64(lines-missed) / float64(lines), nil
}
