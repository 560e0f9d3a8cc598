package build

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stavily/stavily/protocol"
)

var kinds = []protocol.PluginType{protocol.Trigger, protocol.Action, protocol.Output}

// Every beginning is a whole source, whose manifest this hub reads without a warning.
func TestScaffolds(t *testing.T) {
	for _, language := range Scaffolds() {
		for _, kind := range kinds {
			files, err := Scaffold{language, kind, "my-plugin", `Ada "A"`}.Files()
			if err != nil {
				t.Fatal(err)
			}
			tree := fstest.MapFS{}
			for name, data := range files {
				tree[name] = &fstest.MapFile{Data: data}
				if strings.HasPrefix(name, "stavily/") || strings.HasPrefix(name, ".sdk/") {
					continue
				}
				if text := string(data); strings.Contains(text, "NAME") || strings.Contains(text, "KIND") || strings.HasSuffix(name, ".txt") {
					t.Errorf("%s %s: %s is not filled in", language, kind, name)
				}
			}
			m, warnings, err := ReadManifest(tree)
			if err != nil || len(warnings) > 0 || m.Plugin.Name != "my-plugin" || m.Plugin.Type != kind || m.Runtime.Language != language {
				t.Errorf("%s %s: %+v, %v, %v", language, kind, m, warnings, err)
			}
			if err := protocol.UnmarshalExact(protocol.MustMarshal(m), &protocol.Manifest{}); err != nil {
				t.Errorf("%s %s: its release could not be opened: %v", language, kind, err)
			}
			sdk := map[string]string{
				"go": "stavily/README.md", "rust": "stavily/src/lib.rs", "python": ".sdk/stavily/__init__.py",
				"javascript": ".sdk/index.d.ts", "typescript": ".sdk/index.d.ts",
			}[language]
			for _, name := range []string{"README.md", ".gitignore", "config-schema.json", "examples/basic.yaml", "tests/cases.yaml", sdk} {
				if _, err := fs.Stat(tree, name); err != nil {
					t.Errorf("%s %s: %v", language, kind, err)
				}
			}
		}
	}
}

func TestScaffoldRefuses(t *testing.T) {
	for _, c := range []struct {
		s    Scaffold
		want string
	}{
		{Scaffold{"cobol", protocol.Action, "a", ""}, `language "cobol": want one of go, `},
		{Scaffold{"go", protocol.Action, "../a", ""}, "new plugin"},
		{Scaffold{"go", "robot", "a", ""}, "robot"},
		{Scaffold{"rust", protocol.Action, "stavily", ""}, "the SDK's own name"},
	} {
		_, err := c.s.Files()
		wantError(t, err, protocol.CodeBadInput, c.want)
	}
}

// A beginning passes its own tests, by the language's own tools.
func TestScaffoldsTestThemselves(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles")
	}
	for language, args := range map[string][]string{
		"go": {"go", "test", "."}, "rust": {"cargo", "test", "-q", "--locked", "--offline", "--bins"},
	} {
		t.Run(language, func(t *testing.T) {
			if _, err := exec.LookPath(args[0]); err != nil {
				t.Skip(err)
			}
			files, err := Scaffold{language, protocol.Trigger, "a-plugin", "Ada"}.Files()
			if err != nil {
				t.Fatal(err)
			}
			s := source{}
			for name, data := range files {
				s[name] = string(data)
			}
			dir := t.TempDir()
			if err := s.request(t).Tree.WriteTo(dir); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off", "GOFLAGS=", "CARGO_INCREMENTAL=0")
			if said, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, said)
			}
		})
	}
}

// A folder at the desk is a source without what builds have left, and without links.
func TestFolder(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.go": "a", "src/b.rs": "b", ".git/x": "x", "target/x": "x", "src/node_modules/x": "x", "a.wasm": "x", ".gitignore": "i",
	} {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tree, before, err := Folder(dir)
	if err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	if err := tree.WriteTo(to); err != nil {
		t.Fatal(err)
	}
	if _, copied, err := Folder(to); err != nil || copied != before {
		t.Errorf("the copy is %s, want %s, %v", copied, before, err)
	}
	if _, err := os.Stat(filepath.Join(to, "target")); err == nil {
		t.Error("target was copied")
	}
	if err := os.WriteFile(filepath.Join(dir, "a.go"), []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, after, err := Folder(dir); err != nil || after == before {
		t.Errorf("another source has the digest %s, %v", after, err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	_, _, err = Folder(dir)
	wantError(t, err, protocol.CodeRefused, "link: L", "want regular files only")
}
