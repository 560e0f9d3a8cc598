// Package sdk serves the Go SDK to builds that have no network: it holds the module as
// text in the hub's own program and lays it out as the Go command wants to find it.
package sdk

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/zip"
	"golang.org/x/tools/txtar"
)

// Module and Version are what a plugin's go.mod requires.
const (
	Module  = "github.com/stavily/stavily/plugins/sdk/go"
	Version = "v0.1.0"
)

//go:embed go.txtar
var archive []byte

// WriteProxy writes the SDK under dir, which is made if need be, so that the Go command
// finds it there with GOPROXY=file://dir. Go's checksum database does not know a module
// that comes from here: builds set GONOSUMDB for it, and their go.sum still holds.
func WriteProxy(dir string) error {
	m, err := Pack(txtar.Parse(archive))
	if err != nil {
		return err
	}
	at := filepath.Join(dir, filepath.FromSlash(Module), "@v")
	if err := os.MkdirAll(at, 0o755); err != nil {
		return fmt.Errorf("write proxy: %w", err)
	}
	info, err := json.Marshal(struct{ Version string }{Version})
	if err != nil {
		return fmt.Errorf("write proxy: %w", err)
	}
	for _, f := range []struct {
		name string
		data []byte
	}{
		{"list", []byte(Version + "\n")},
		{Version + ".info", info},
		{Version + ".mod", m.Mod},
		{Version + ".zip", m.Zip},
	} {
		if err := os.WriteFile(filepath.Join(at, f.name), f.data, 0o644); err != nil {
			return fmt.Errorf("write proxy: %w", err)
		}
	}
	return nil
}

// Packed is a module as the Go command fetches it.
type Packed struct {
	Mod []byte // go.mod
	Zip []byte
}

// Pack makes a module of the files of an archive, go.mod among them.
func Pack(a *txtar.Archive) (Packed, error) {
	var m Packed
	var files []zip.File
	for _, f := range a.Files {
		files = append(files, file{f})
		if f.Name == "go.mod" {
			m.Mod = f.Data
		}
	}
	if m.Mod == nil {
		return m, fmt.Errorf("pack %s: no go.mod", Module)
	}
	var b bytes.Buffer
	if err := zip.Create(&b, module.Version{Path: Module, Version: Version}, files); err != nil {
		return m, fmt.Errorf("pack %s: %w", Module, err)
	}
	m.Zip = b.Bytes()
	return m, nil
}

// Sums returns the two lines of go.sum that hold the module, each with its line end.
func (m Packed) Sums() (string, error) {
	whole, err := m.zipSum()
	if err != nil {
		return "", fmt.Errorf("sum %s: %w", Module, err)
	}
	mod, err := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(m.Mod)), nil
	})
	if err != nil {
		return "", fmt.Errorf("sum %s: go.mod: %w", Module, err)
	}
	return fmt.Sprintf("%s %s %s\n%s %s/go.mod %s\n", Module, Version, whole, Module, Version, mod), nil
}
