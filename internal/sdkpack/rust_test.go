package main

import (
	"strings"
	"testing"
	"testing/fstest"
)

// The committed pack is the crate of this tree.
func TestRustCommitted(t *testing.T) {
	changed, err := packRust("../..", true)
	if err != nil || len(changed) > 0 {
		t.Errorf("%v is not what the SDK says: run make sdk; %v", changed, err)
	}
}

func TestCollectRust(t *testing.T) {
	a, err := collectRust(fstest.MapFS{
		"Cargo.toml": {Data: []byte("[package]\n\n[workspace]\nmembers = []\n")}, "src/lib.rs": {Data: []byte("// x\n")},
		"src/notes.txt": {Data: []byte("x\n")}, "src/tests.rs": {Data: []byte("x\n")}, "samples/hello/src/main.rs": {Data: []byte("x\n")},
	})
	if err != nil || len(a.Files) != 2 || string(a.Files[0].Data) != "[package]\n" || a.Files[1].Name != "src/lib.rs" {
		t.Errorf("got %v, %v", a, err)
	}
	if _, err := collectRust(fstest.MapFS{}); err == nil || !strings.Contains(err.Error(), "Cargo.toml") {
		t.Errorf("got %v", err)
	}
}
