package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"
)

// scripts are the SDKs that go to the hub's builds as they are, file by file.
var scripts = []struct {
	dir, packed string
	ext         []string // of the files that builds need
}{
	{"plugins/sdk/js", "hub/build/sdk/js.txtar", []string{".js", ".ts", ".json"}},
	{"plugins/sdk/python", "hub/build/sdk/python.txtar", []string{".py"}},
}

// packScripts writes the archive of each script SDK that is there.
func packScripts(w *writer) error {
	for _, s := range scripts {
		fsys := os.DirFS(filepath.Join(w.top, filepath.FromSlash(s.dir)))
		if _, err := fs.Stat(fsys, "."); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		a := &txtar.Archive{Comment: []byte("Generated from " + s.dir + " by `make sdk`. Do not edit.\n")}
		err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case entry.IsDir() && slices.Contains([]string{"samples", "conformance", "tests", "__pycache__"}, name):
				return fs.SkipDir
			case entry.IsDir() || !slices.Contains(s.ext, path.Ext(name)) || strings.Contains(name, ".test."):
				return nil
			}
			data, err := fs.ReadFile(fsys, name)
			a.Files = append(a.Files, txtar.File{Name: name, Data: data})
			return err
		})
		if err == nil {
			err = survives(a)
		}
		if err == nil {
			err = w.write(s.packed, txtar.Format(a))
		}
		if err != nil {
			return fmt.Errorf("collect %s: %w", s.dir, err)
		}
	}
	return nil
}
