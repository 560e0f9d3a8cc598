package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/tools/txtar"
)

const (
	rustSource  = "plugins/sdk/rust"
	rustPacked  = "hub/build/sdk/rust.txtar"
	rustComment = "Generated from " + rustSource + " by `make sdk`. Do not edit.\n"
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
	a := &txtar.Archive{Comment: []byte(rustComment)}
	manifest, err := fs.ReadFile(fsys, "Cargo.toml")
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", rustSource, err)
	}
	crate, _, _ := bytes.Cut(manifest, []byte("\n[workspace]\n"))
	a.Files = append(a.Files, txtar.File{Name: "Cargo.toml", Data: crate})
	err = fs.WalkDir(fsys, "src", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Ext(name) != ".rs" || name == "src/tests.rs" {
			return err
		}
		data, err := fs.ReadFile(fsys, name)
		a.Files = append(a.Files, txtar.File{Name: name, Data: data})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", rustSource, err)
	}
	return a, survives(a)
}
