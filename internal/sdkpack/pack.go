package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"

	"github.com/stavily/stavily/hub/build/sdk"
)

const (
	source = "plugins/sdk/go"
	packed = "hub/build/sdk/go.txtar"
)

// pack writes the archive and the sums under the repository's top, unless dry, and
// returns the files that change, slash-separated.
func pack(top string, dry bool) ([]string, error) {
	archive, err := collect(os.DirFS(filepath.Join(top, filepath.FromSlash(source))))
	if err != nil {
		return nil, err
	}
	m, err := sdk.Pack(archive)
	if err != nil {
		return nil, err
	}
	sums, err := m.Sums()
	if err != nil {
		return nil, err
	}
	w := writer{top: top, dry: dry}
	if err := w.write(packed, txtar.Format(archive)); err != nil {
		return nil, err
	}
	if err := packScripts(&w); err != nil {
		return nil, err
	}
	mods, err := fs.Glob(os.DirFS(top), "plugins/*/go.mod")
	if err != nil {
		return nil, err
	}
	for _, mod := range mods {
		if err := w.writeSums(path.Join(path.Dir(mod), "go.sum"), sums); err != nil {
			return nil, err
		}
	}
	return w.changed, nil
}

// collect reads what builds need of the SDK: its packages without their tests and
// without the samples and the conformance plugin.
func collect(fsys fs.FS) (*txtar.Archive, error) {
	a := newArchive(source)
	err := gather(a, fsys, func(name string, entry fs.DirEntry) bool {
		if entry.IsDir() {
			return name != "samples" && name != "conformance" && path.Base(name) != "testdata"
		}
		return wanted(name)
	})
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", source, err)
	}
	return a, nil
}

// newArchive begins the archive of the SDK in dir.
func newArchive(dir string) *txtar.Archive {
	return &txtar.Archive{Comment: []byte("Generated from " + dir + " by `make sdk`. Do not edit.\n")}
}

// gather adds the files of fsys that are wanted, in folders that are, to a. It refuses
// what a text archive would give back otherwise than it is.
func gather(a *txtar.Archive, fsys fs.FS, wants func(name string, entry fs.DirEntry) bool) error {
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && !wants(name, entry):
			return fs.SkipDir
		case entry.IsDir() || !wants(name, entry):
			return nil
		}
		data, err := fs.ReadFile(fsys, name)
		a.Files = append(a.Files, txtar.File{Name: name, Data: data})
		return err
	})
	if err != nil {
		return err
	}
	return survives(a)
}

func wanted(name string) bool {
	ext := path.Ext(name)
	return path.Base(name) == "go.mod" || ext == ".md" || ext == ".go" && !strings.HasSuffix(name, "_test.go")
}

// survives refuses files that a text archive would give back otherwise than they are: a
// line of one that looks like the head of the next, or no line end at the end.
func survives(a *txtar.Archive) error {
	again := txtar.Parse(txtar.Format(a))
	for i, f := range a.Files {
		if i >= len(again.Files) || again.Files[i].Name != f.Name || !bytes.Equal(again.Files[i].Data, f.Data) {
			return fmt.Errorf("%q cannot be kept in a text archive", f.Name)
		}
	}
	return nil
}

// writer writes files that are not yet as they should be.
type writer struct {
	top     string
	dry     bool
	changed []string
}

func (w *writer) write(name string, data []byte) error {
	at := filepath.Join(w.top, filepath.FromSlash(name))
	old, err := os.ReadFile(at)
	switch {
	case err == nil && bytes.Equal(old, data):
		return nil
	case err != nil && !os.IsNotExist(err):
		return err
	}
	w.changed = append(w.changed, name)
	if w.dry {
		return nil
	}
	return os.WriteFile(at, data, 0o644)
}

// writeSums puts the SDK's sums into a go.sum, in the Go command's order, and leaves the
// sums of other modules.
func (w *writer) writeSums(name, sums string) error {
	old, err := os.ReadFile(filepath.Join(w.top, filepath.FromSlash(name)))
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	lines := slices.Collect(strings.Lines(sums))
	for line := range strings.Lines(string(old)) {
		if !strings.HasPrefix(line, sdk.Module+" ") {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return w.write(name, []byte(strings.Join(lines, "")))
}
