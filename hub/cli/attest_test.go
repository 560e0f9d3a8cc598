package cli

import (
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/hub/source"
)

const attestManifest = `plugin:
  name: tiny
  version: 1.0.0
  type: action
  description: A plugin for tests
  author: { name: Ada }
runtime: { language: go }
sandbox_mode: true
allow_network_access: false
allow_filesystem_access: none
permissions: {}
`

// "plugin build --attest" builds the signed tag and not the folder, and what it writes is
// what a hub takes from the builder whose line it prints.
func TestAttest(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles a module")
	}
	cache, err := exec.Command("go", "env", "GOCACHE").Output()
	check(t, err)
	t.Setenv("GOCACHE", strings.TrimSpace(string(cache)))
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "tiny.bundle")
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	ada := source.Person{Name: "Ada", Email: "ada@example.com"}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	commit, err := source.InitRepo(dir, fstest.MapFS{
		"stavily-plugin.yaml": {Data: []byte(attestManifest)}, "go.mod": {Data: []byte("module tiny\n\ngo 1.24\n")},
		"main.go": {Data: []byte("package main\n\nfunc main() {}\n")},
	}, ada, now)
	check(t, err)
	pem, err := source.MarshalKey(key, "builder")
	check(t, err)
	keyFile := filepath.Join(t.TempDir(), "key")
	check(t, os.WriteFile(keyFile, pem, 0o600))
	run := func(args ...string) (said string, code int) {
		var stdout, stderr strings.Builder
		code = Execute(Root("0"), append([]string{"plugin", "build", "--attest", keyFile, "--file", out}, args...), &stdout, &stderr)
		return stdout.String() + stderr.String(), code
	}
	if said, code := run(dir); code == ExitOK || !strings.Contains(said, `tag "v1.0.0": not found`) || !strings.Contains(said, "plugin sign") {
		t.Errorf("without a tag: %d, %s", code, said)
	}
	_, err = source.SignTag(dir, source.TagRequest{Tag: "v1.0.0", Tagger: ada, When: now, Key: key})
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte("this is not in the tag"), 0o600))
	said, code := run(dir)
	if code != ExitOK {
		t.Fatalf("exit %d: %s", code, said)
	}
	packed, err := readBundle(out)
	check(t, err)
	b, err := build.ReadBundle(packed)
	check(t, err)
	_, line, _ := strings.Cut(said, "builder@")
	line, _, _ = strings.Cut("builder@"+line, "\n")
	allowed, err := source.ParseAllowedSigners(strings.NewReader(line))
	check(t, err)
	if _, err := source.VerifyAttestation(b.Statement, b.Signature, allowed, now); err != nil {
		t.Errorf("the builder's line %q: %v", line, err)
	}
	a, err := b.Open()
	if err != nil || a.Commit != commit || string(a.Plugin) != "tiny" || len(a.Outputs) != 1 {
		t.Errorf("attested %+v, %v", a, err)
	}
	if said, code := run("--no-tests", dir); code != ExitUsage {
		t.Errorf("without tests: %d, %s", code, said)
	}
	check(t, os.WriteFile(keyFile, []byte("no key"), 0o600))
	if said, code := run(dir); code == ExitOK || !strings.Contains(said, "parse key") {
		t.Errorf("a key that is none: %d, %s", code, said)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
