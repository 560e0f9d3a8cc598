package sdk

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/tools/txtar"
)

// RustCrate is what a plugin's Cargo.toml names.
const RustCrate = "stavily"

//go:embed rust.txtar
var rustArchive []byte

// RustSum names the Rust SDK's content: builds that used another have other inputs.
func RustSum() string {
	sum := sha256.Sum256(rustArchive)
	return hex.EncodeToString(sum[:])
}

// WriteRust writes the Rust SDK's crate under dir, which is made if need be.
func WriteRust(dir string) error {
	for _, f := range txtar.Parse(rustArchive).Files {
		at := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return fmt.Errorf("write crate: %w", err)
		}
		if err := os.WriteFile(at, f.Data, 0o644); err != nil {
			return fmt.Errorf("write crate: %w", err)
		}
	}
	return nil
}
