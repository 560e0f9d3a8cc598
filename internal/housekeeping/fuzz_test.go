package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

func TestFuzzed(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	got, err := fuzzed(fstest.MapFS{
		"a/a_test.go":          file("package a\n\nfunc FuzzA(f *testing.F) {}\n"),
		"a/b_test.go":          file("package a\n\nfunc FuzzB(f *testing.F) {}\n"),
		"a/c/c_test.go":        file("package c\n\nfunc TestC(t *testing.T) {} // func FuzzC\n"),
		"a/d/d.go":             file("package d\n\nfunc FuzzD() {}\n"),
		"a/e_test.go":          file("package a\n"),
		"plugins/x/x_test.go":  file("package x\n\nfunc FuzzX(f *testing.F) {}\n"),
		"z/testdata/t_test.go": file("package t\n\nfunc FuzzT(f *testing.F) {}\n"),
		"z/z_test.go":          file("package z\n\nfunc FuzzZ(f *testing.F) {}\n"),
	})
	if err != nil || strings.Join(got, " ") != "a z" {
		t.Errorf("got %q, %v", got, err)
	}
}

// A target that finds something fails the run and shows it; one that finds nothing does not.
func TestFuzz(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles")
	}
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module example.com/x\n\ngo 1.26\n",
		"good/good_test.go": "package good\n\nimport \"testing\"\n\n" +
			"func FuzzGood(f *testing.F) { f.Add(1); f.Fuzz(func(t *testing.T, n int) {}) }\n",
		"bad/bad_test.go": "package bad\n\nimport \"testing\"\n\n" +
			"func FuzzBad(f *testing.F) { f.Add(1); f.Fuzz(func(t *testing.T, n int) { if n != 1 { t.Fatal(\"not one\") } }) }\n",
	} {
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("FUZZTIME", "2000x")
	var out bytes.Buffer
	err := fuzz(&out, root)
	if err == nil || !strings.Contains(err.Error(), "bad FuzzBad") || !strings.Contains(err.Error(), "not one") {
		t.Errorf("got %v", err)
	}
	if out.String() != "fuzz good FuzzGood: ok\n" {
		t.Errorf("said %q", out.String())
	}
}
