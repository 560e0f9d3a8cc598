package sdk

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

const plugins = "../../../plugins"

// A plugin is built from its own folder alone, twice in different places, with nothing
// but the SDK from the proxy: the same bytes. M-08
func TestBuildsWithoutNetwork(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a plugin twice")
	}
	var modules [2][]byte
	for i := range modules {
		dir := copyPlugin(t, "system-health", filepath.Join(t.TempDir(), strings.Repeat("x", 9*i+1)))
		goCommand(t, dir, "GOOS=wasip1", "GOARCH=wasm").run(t, "build", "-trimpath", "-buildvcs=false",
			"-ldflags=-s -w -buildid=", "-o", "plugin.wasm", ".")
		wasm, err := os.ReadFile(filepath.Join(dir, "plugin.wasm"))
		if err != nil {
			t.Fatal(err)
		}
		modules[i] = wasm
	}
	if !bytes.HasPrefix(modules[0], []byte("\x00asm")) || !bytes.Equal(modules[0], modules[1]) {
		t.Errorf("modules of %d and %d bytes differ", len(modules[0]), len(modules[1]))
	}
}

// Every plugin's own tests pass and cover enough with what the proxy serves, which the
// hub asks of every release. M-30, M-31
func TestPluginsTestThemselves(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the tests of every plugin")
	}
	for _, name := range []string{"append-file", "system-command", "system-health"} {
		dir := copyPlugin(t, name, filepath.Join(t.TempDir(), name))
		goCommand(t, dir).run(t, "test", "-coverprofile=cover.out", ".")
		out := goCommand(t, dir).run(t, "tool", "cover", "-func=cover.out")
		fields := strings.Fields(out) // the last is the total, "93.1%"
		if len(fields) == 0 {
			t.Fatalf("%s: no coverage", name)
		}
		covered, err := strconv.ParseFloat(strings.TrimSuffix(fields[len(fields)-1], "%"), 64)
		if err != nil || covered < 80 {
			t.Errorf("%s: covers %v %%, want 80 (%v)", name, covered, err)
		}
	}
}

// The plugin that the README of the plugins tells how to write can be written so.
func TestReadme(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the Go command")
	}
	text, err := os.ReadFile(filepath.Join(plugins, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "\n```")
	if len(blocks) < 6 {
		t.Fatalf("%d fences", len(blocks))
	}
	_, mod, _ := strings.Cut(blocks[1], "<<END\n")
	mod, _, _ = strings.Cut(mod, "END\n")
	sum, err := os.ReadFile(filepath.Join(plugins, "system-health", "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, data := range map[string]string{
		"go.mod": mod, "go.sum": string(sum),
		"main.go": strings.TrimPrefix(blocks[3], "go\n"), "main_test.go": strings.TrimPrefix(blocks[5], "go\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out := goCommand(t, dir).run(t, "test", "-cover", "."); !strings.Contains(out, "coverage: 8") {
		t.Errorf("got %s", out)
	}
}

// Another module under the same name and version is refused by the plugin's go.sum.
func TestChangedModuleIsRefused(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the Go command")
	}
	dir := copyPlugin(t, "append-file", filepath.Join(t.TempDir(), "p"))
	a := txtar.Parse(archive)
	a.Files = append(a.Files, txtar.File{Name: "extra.go", Data: []byte("package stavily\n")})
	m, err := Pack(a)
	if err != nil {
		t.Fatal(err)
	}
	c := goCommand(t, dir)
	if err := os.WriteFile(filepath.Join(c.proxy, Module, "@v", Version+".zip"), m.Zip, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := c.try("build", "-o", os.DevNull, ".")
	if err == nil || !strings.Contains(out, "checksum mismatch") {
		t.Errorf("got %v: %s", err, out)
	}
}

func TestPackWantsGoMod(t *testing.T) {
	_, err := Pack(&txtar.Archive{Files: []txtar.File{{Name: "a.go", Data: []byte("package a\n")}}})
	if err == nil || !strings.HasSuffix(err.Error(), "no go.mod") {
		t.Errorf("got %v", err)
	}
}

// What is embedded has what plugins and their tests import, and no tests of its own.
func TestArchive(t *testing.T) {
	var names []string
	for _, f := range txtar.Parse(archive).Files {
		names = append(names, f.Name)
		if strings.HasSuffix(f.Name, "_test.go") || strings.HasPrefix(f.Name, "samples/") {
			t.Errorf("%s: not wanted", f.Name)
		}
	}
	for _, want := range []string{"go.mod", "plugin.go", "stavilytest/host.go"} {
		if !strings.Contains(strings.Join(names, "\n")+"\n", want+"\n") {
			t.Errorf("%s: not in %v", want, names)
		}
	}
}

// copyPlugin copies a plugin's own files to a folder outside of this repository.
func copyPlugin(t *testing.T, name, to string) string {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(filepath.Join(plugins, name))); err != nil {
		t.Fatal(err)
	}
	return to
}

// command is the Go command as the hub runs it: no workspace, no network, a module
// cache of its own.
type command struct {
	dir, proxy string
	env        []string
}

func goCommand(t *testing.T, dir string, env ...string) command {
	t.Helper()
	c := command{dir: dir, proxy: t.TempDir()}
	if err := WriteProxy(c.proxy); err != nil {
		t.Fatal(err)
	}
	c.env = append(os.Environ(), "GOWORK=off", "GOPROXY=file://"+filepath.ToSlash(c.proxy), "GOSUMDB=off",
		"GOFLAGS=-mod=readonly -modcacherw", "GOTOOLCHAIN=local", "CGO_ENABLED=0", "GOMODCACHE="+t.TempDir())
	c.env = append(c.env, env...)
	return c
}

func (c command) try(args ...string) (string, error) {
	run := exec.Command("go", args...)
	run.Dir, run.Env = c.dir, c.env
	out, err := run.CombinedOutput()
	return string(out), err
}

func (c command) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.try(args...)
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}
