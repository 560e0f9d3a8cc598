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
		a := newArchive(s.dir)
		err := gather(a, fsys, func(name string, entry fs.DirEntry) bool {
			if entry.IsDir() {
				return !slices.Contains([]string{"samples", "conformance", "tests", "__pycache__"}, name)
			}
			return slices.Contains(s.ext, path.Ext(name)) && !strings.Contains(name, ".test.")
		})
		if err == nil {
			err = w.write(s.packed, txtar.Format(a))
		}
		if err != nil {
			return fmt.Errorf("collect %s: %w", s.dir, err)
		}
	}
	return nil
}
