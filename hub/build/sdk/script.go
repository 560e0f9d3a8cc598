package sdk

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"

	"golang.org/x/tools/txtar"
)

//go:embed js.txtar
var jsArchive []byte

// JS returns the files of the JavaScript SDK by their paths in it, such as
// "src/index.js". They are the caller's own.
func JS() map[string]string { return unpack(jsArchive) }

// JSSum names the contents of the JavaScript SDK.
func JSSum() string { return sumOf(jsArchive) }

func unpack(archive []byte) map[string]string {
	out := map[string]string{}
	for _, f := range txtar.Parse(archive).Files {
		out[f.Name] = string(f.Data)
	}
	return out
}

func sumOf(archive []byte) string {
	sum := sha256.Sum256(archive)
	return hex.EncodeToString(sum[:])
}

//go:embed python.txtar
var pythonArchive []byte

// Python returns the files of the Python SDK by their paths in it, such as
// "stavily/__init__.py". They are the caller's own.
func Python() map[string]string { return unpack(pythonArchive) }

// PythonSum names the contents of the Python SDK.
func PythonSum() string { return sumOf(pythonArchive) }
