package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/tools/txtar"
)

const (
	rustSource = "plugins/sdk/rust"
	rustPacked = "hub/build/sdk/rust.txtar"
)

// packRust is pack for the Rust SDK: its crate, without the workspace around it.
func packRust(top string, dry bool) ([]string, error) {
	archive, err := collectRust(os.DirFS(filepath.Join(top, filepath.FromSlash(rustSource))))
	if err != nil {
		return nil, err
	}
	w := writer{top: top, dry: dry}
	err = w.write(rustPacked, txtar.Format(archive))
	return w.changed, err
}

func collectRust(fsys fs.FS) (*txtar.Archive, error) {
	a := newArchive(rustSource)
	manifest, err := fs.ReadFile(fsys, "Cargo.toml")
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", rustSource, err)
	}
	crate, _, _ := bytes.Cut(manifest, []byte("\n[workspace]\n"))
	a.Files = append(a.Files, txtar.File{Name: "Cargo.toml", Data: crate})
	err = gather(a, fsys, func(name string, entry fs.DirEntry) bool {
		if entry.IsDir() {
			return name == "src" || strings.HasPrefix(name, "src/")
		}
		return strings.HasPrefix(name, "src/") && path.Ext(name) == ".rs" && name != "src/tests.rs"
	})
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", rustSource, err)
	}
	return a, nil
}
