package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stavily/stavily/hub/build/sdk"
)

// What is committed is what the SDK says.
func TestCommitted(t *testing.T) {
	changed, err := pack("../..", true)
	if err != nil || len(changed) != 0 {
		t.Errorf("run make sdk: %v would change, %v", changed, err)
	}
}

// The first run writes everything, the second nothing, and a change of the SDK changes
// the archive and the sums. Sums of other modules stay.
func TestPack(t *testing.T) {
	top := t.TempDir()
	const other = "example.com/z v1.0.0 h1:x=\n"
	write := func(name, text string) {
		t.Helper()
		at := filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("plugins/sdk/go/go.mod", "module "+sdk.Module+"\n\ngo 1.24\n")
	write("plugins/sdk/go/a.go", "package stavily\n")
	write("plugins/p/go.mod", "module p\n")
	write("plugins/p/go.sum", "zz.example.com v1.0.0 h1:x=\n"+other)
	write("hub/build/sdk/x", "")
	for i, want := range []int{2, 0} {
		if changed, err := pack(top, false); err != nil || len(changed) != want {
			t.Errorf("run %d: %v, %v", i+1, changed, err)
		}
	}
	sum, err := os.ReadFile(filepath.Join(top, "plugins/p/go.sum"))
	lines := strings.Split(string(sum), "\n")
	ours := len(lines) == 5 && strings.HasPrefix(lines[1], sdk.Module+" v0.1.0 h1:")
	if err != nil || !ours || lines[0]+"\n" != other {
		t.Errorf("go.sum: %q, %v", lines, err)
	}
	write("plugins/sdk/go/a.go", "package stavily // changed\n")
	write("plugins/sdk/go/a_test.go", "package stavily\n")
	for _, dry := range []bool{true, false} {
		if changed, err := pack(top, dry); err != nil || len(changed) != 2 {
			t.Errorf("after a change, dry %v: %v, %v", dry, changed, err)
		}
	}
}

func TestCollect(t *testing.T) {
	good := fstest.MapFS{
		"go.mod": {Data: []byte("module m\n")}, "a.go": {Data: []byte("package a\n")},
		"a_test.go": {Data: []byte("x\n")}, "samples/s.go": {Data: []byte("x\n")},
		"testdata/f.go": {Data: []byte("x\n")}, "notes.txt": {Data: []byte("x\n")},
	}
	a, err := collect(good)
	if err != nil || len(a.Files) != 2 || a.Files[0].Name != "a.go" || a.Files[1].Name != "go.mod" {
		t.Errorf("got %v, %v", a, err)
	}
	for name, text := range map[string]string{"no line end": "package a", "a head": "package a\n-- b --\n"} {
		bad := fstest.MapFS{"a.go": {Data: []byte(text)}}
		if _, err := collect(fs.FS(bad)); err == nil || !strings.Contains(err.Error(), `"a.go" cannot be kept`) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestRunArguments(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run([]string{"-what"}, &out, &errs); code != 2 {
		t.Errorf("unknown flag: exit %d", code)
	}
	t.Chdir(t.TempDir())
	if code := run(nil, &out, &errs); code != 1 || !strings.Contains(errs.String(), "sdkpack: ") {
		t.Errorf("nowhere: exit %d, %s", code, errs.String())
	}
}
