package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stavily/stavily/hub/build"
)

const deskManifest = `
plugin: {name: threshold, version: 1.0.0, type: action, description: x, author: {name: x}}
runtime: {language: rust}
sandbox_mode: true
allow_network_access: false
allow_filesystem_access: none
permissions: {system: [kv]}
`

// deskFile is a folder with a built plugin and its manifest.
func deskFile(t *testing.T, manifest string) string {
	t.Helper()
	dir := t.TempDir()
	wasm, err := os.ReadFile("../../wasmhost/testdata/rust/threshold.wasm")
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"threshold.wasm": wasm, "stavily-plugin.yaml": []byte(manifest), "event.json": []byte(`{"value": 12}`), "max.yaml": []byte("max: 10\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// do runs a command of the desk and returns what it said.
func do(stdin string, args ...string) (exit int, out, errs string) {
	var o, e bytes.Buffer
	root := Root("test")
	root.SetIn(strings.NewReader(stdin))
	exit = Execute(root, append([]string{"plugin"}, args...), &o, &e)
	return exit, o.String(), e.String()
}

// A built file is asked with what files and stdin say, granted what is named, and told as
// text and as JSON.
func TestPluginRun(t *testing.T) {
	dir := deskFile(t, deskManifest)
	at := func(name string) string { return filepath.Join(dir, name) }
	wasm, cache := at("threshold.wasm"), t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	for _, c := range []struct {
		stdin     string
		args      []string
		exit      int
		out, errs string
	}{
		{"", []string{"--event", at("event.json"), "--config", at("max.yaml")}, ExitOK, `answer     {"over":true,"highest":12}`, ""},
		{"", []string{"--event", at("event.json"), "--interpreter"}, ExitOK, `  reply    {"value":null}`, ""},
		{`{"value": 3}`, []string{"--event", "-", "--config", at("max.yaml")}, ExitOK, `host call  kv.put {"key":"highest","value":3}`, ""},
		{"", []string{"--event", at("event.json"), "--grant", "none"}, ExitFailed, "denied     1 of 1 host calls", "threshold@1.0.0 answered: plugin: "},
		{"", []string{"--event", at("event.json"), "--grant", "http.request:a:1"}, ExitFailed, "denied", "--grant http.request: the manifest does not ask for it"},
		{"", []string{"--grant", "all"}, ExitUsage, "", `permission "all": no such capability`},
		{"", []string{"--why", "fun"}, ExitUsage, "", "want start or timer"},
		{"", []string{"--event", at("none")}, ExitFailed, "", "none"},
		{"a: [", []string{"--event", "-"}, ExitFailed, "", "stdin:1"},
		{"", []string{"--event", "-", "--watch"}, ExitUsage, "", "not with --watch"},
		{"", []string{"--manifest", at("none")}, ExitFailed, "", "hint: say where the plugin's manifest is with --manifest"},
		{"", []string{"-o", "xml"}, ExitUsage, "", "want table or json"},
	} {
		exit, out, errs := do(c.stdin, append([]string{"run", wasm}, c.args...)...)
		if exit != c.exit || !strings.Contains(out, c.out) || !strings.Contains(errs, c.errs) {
			t.Errorf("%v: exit %d, want %d\n%s%s", c.args, exit, c.exit, out, errs)
		}
	}
	exit, out, errs := do("", "run", wasm, "--event", at("event.json"), "-o", "json")
	var got ran
	err := json.Unmarshal([]byte(out), &got)
	if exit != ExitOK || err != nil || len(got.HostCalls) != 2 || got.HostCalls[1].Call != "kv.put" || got.Usage.Fuel == 0 ||
		got.Usage.StartFuel == 0 || got.Usage.MemoryB == 0 || got.Usage.MemoryMaxMB != 64 || got.Usage.TookMS <= 0 {
		t.Errorf("%v\n%s%s", err, out, errs)
	}
	for _, c := range []struct{ at, want string }{
		{dir + "/nowhere", "name the folder of a plugin"},
		{at("max.yaml"), "neither a WebAssembly module nor a packed script"},
		{dir, ""}, // a folder without a source
	} {
		if exit, _, errs := do("", "run", c.at); exit != ExitFailed || !strings.Contains(errs, c.want) {
			t.Errorf("%s: exit %d, %s", c.at, exit, errs)
		}
	}
}

// M-32: what a plugin is made of is shown, and code that needs more than the manifest asks
// for is refused.
func TestPluginInspect(t *testing.T) {
	dir := deskFile(t, deskManifest)
	exit, out, errs := do("", "inspect", filepath.Join(dir, "threshold.wasm"))
	for _, want := range []string{
		"threshold@1.0.0, action", "asks for", "kv.get kv.put (by the names in the module)", "not metered; metered", "max_memory_mb", "  interpreted",
		"linux-armv7", "code ", "_start (func)", "allowed_system_calls",
	} {
		if exit != ExitOK || !strings.Contains(out, want) {
			t.Errorf("exit %d, want %q in\n%s%s", exit, want, out, errs)
		}
	}
	exit, out, _ = do("", "inspect", filepath.Join(dir, "threshold.wasm"), "-o", "json")
	var got inspected
	if err := json.Unmarshal([]byte(out), &got); exit != ExitOK || err != nil || len(got.Enforced) != 9 || got.Module.Bytes == 0 ||
		len(got.Module.Sections) < 5 || len(got.Platforms) < 5 || !slices.Equal(got.Uses.Calls, []string{"kv.get", "kv.put"}) {
		t.Errorf("%v\n%s", err, out)
	}
	size := 8
	for _, s := range got.Module.Sections {
		size += s.Bytes
	}
	if over := got.Module.Bytes - size; over < len(got.Module.Sections)*2 || over > len(got.Module.Sections)*40 {
		t.Errorf("sections have %d bytes of %d", size, got.Module.Bytes)
	}
	less := deskFile(t, strings.Replace(deskManifest, "system: [kv]", "system: [metrics.read]", 1)+"allowed_system_calls: [read, fork]\n")
	exit, out, errs = do("", "inspect", filepath.Join(less, "threshold.wasm"))
	for _, want := range []string{
		"not asked for", "the manifest asks for metrics.read, and the code does not use it", "read=fd_read; native only: fork",
		"does not ask for kv: add it under permissions",
	} {
		if exit != ExitUnverified || !strings.Contains(out+errs, want) {
			t.Errorf("exit %d, want %q in\n%s%s", exit, want, out, errs)
		}
	}
}

// The table of limits and the sections of a module hold for whatever is in the file.
func TestSectionsOfBrokenModules(t *testing.T) {
	for _, module := range []string{"", "\x00asm", "\x00asm\x01\x00\x00\x00\x01", "\x00asm\x01\x00\x00\x00\x00\xff\xff\x03", "\x00asm\x01\x00\x00\x00\x01\x80"} {
		if _, err := wasmSections([]byte(module)); err == nil {
			t.Errorf("%q: no error", module)
		}
	}
	got, err := wasmSections([]byte("\x00asm\x01\x00\x00\x00\x00\x04\x09abc\x63\x00"))
	if err != nil || len(got) != 2 || got[0].Name != "custom" || got[1].Name != "section 99" {
		t.Errorf("%v, %v", got, err)
	}
}

// A change is seen however an editor makes it, and the end of the context ends the watch.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "main.js")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file, "one")
	edits := []func(){
		func() { write(file, "longer") },
		func() { // a new file in the old one's place, of the same size
			write(filepath.Join(dir, ".main.js.swp"), "renamed"[:6])
			if err := os.Rename(filepath.Join(dir, ".main.js.swp"), file); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(file, time.Time{}, time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		},
		func() { write(filepath.Join(dir, "new.js"), "x") },
		func() {
			if err := os.Remove(filepath.Join(dir, "new.js")); err != nil {
				t.Fatal(err)
			}
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := 0
	err := watch(ctx, watching{every: time.Millisecond, look: func() uint64 { return look([]string{dir, ""}) }, do: func() {
		if done < len(edits) {
			edits[done]() // after the look that came before this
		} else {
			cancel()
		}
		done++
	}})
	if err != nil || done != len(edits)+1 {
		t.Errorf("did it %d times, want %d, %v", done, len(edits)+1, err)
	}
	before := look([]string{dir})
	for _, name := range []string{"target/x", ".git/x", "node_modules/x"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		write(filepath.Join(dir, name), "x")
	}
	write(filepath.Join(dir, "out.wasm"), "x")
	if look([]string{dir}) != before {
		t.Error("what builds leave counts as a change")
	}
}

// shared is a buffer that a command writes while a test reads it.
type shared struct {
	mu   sync.Mutex // guards the fields below
	text bytes.Buffer
	each chan struct{}
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.each <- struct{}{}:
	default:
	}
	return s.text.Write(p)
}

func (s *shared) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), text)
}

// With --watch a changed event is answered anew, an error is told and waited out, and an
// interrupt ends it without one.
func TestPluginRunWatches(t *testing.T) {
	dir := deskFile(t, deskManifest)
	event := filepath.Join(dir, "event.json")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	said := &shared{each: make(chan struct{}, 1)}
	root := Root("test")
	root.SetContext(ctx)
	exit := make(chan int, 1)
	go func() {
		exit <- Execute(root, []string{"plugin", "run", filepath.Join(dir, "threshold.wasm"), "--event", event, "--watch"}, said, said)
	}()
	for _, step := range []struct{ write, want string }{
		{"", `"highest":12`}, {`{"value": 1234}`, `"highest":1234`}, {"{", "event.json:1"}, {`{"value": 56}`, `"highest":56`},
	} {
		if step.write != "" {
			if err := os.WriteFile(event, []byte(step.write), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for late := time.After(time.Minute); !said.has(step.want); {
			select {
			case <-said.each:
			case <-late:
				t.Fatalf("no %q in\n%s", step.want, said.text.String())
			}
		}
	}
	cancel()
	if code := <-exit; code != ExitOK {
		t.Errorf("exit %d", code)
	}
}

// The tag that is made is one that a hub takes, and whatever a hub would refuse is refused
// at the desk, with the tag taken back.
func TestPluginSign(t *testing.T) {
	for _, tool := range []string{"git", "ssh-keygen"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	keys := t.TempDir()
	t.Setenv("GIT_CONFIG_GLOBAL", filepath.Join(keys, "gitconfig"))
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	t.Chdir(t.TempDir())
	tool := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	key, other := filepath.Join(keys, "key"), filepath.Join(keys, "other")
	tool("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	tool("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other)
	if exit, _, errs := do("", "new", "signed", "--lang", "js"); exit != ExitOK {
		t.Fatal(errs)
	}
	t.Chdir("signed")
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(want string, exit int, args ...string) {
		t.Helper()
		got, out, errs := do("", append([]string{"sign"}, args...)...)
		if got != exit || !strings.Contains(errs, want) {
			t.Errorf("exit %d, want %d and %q\n%s%s", got, exit, want, out, errs)
		}
	}
	refuse("make it a repository", ExitFailed, "--key", key)
	tool("git", "init", "-q", "-b", "main")
	tool("git", "config", "user.name", "Ada")
	tool("git", "config", "user.email", "ada@example.com")
	refuse("no commit yet", ExitFailed, "--key", key)
	if err := os.WriteFile("allowed_signers", slices.Concat([]byte("ada@example.com "), public), 0o600); err != nil {
		t.Fatal(err)
	}
	tool("git", "add", ".")
	tool("git", "commit", "-q", "-m", "begin")
	refuse("git has no user.signingkey", ExitFailed)
	refuse("the manifest says 1.0.0", ExitUsage, "--key", key, "--version", "2.0.0")
	refuse("would refuse v1.0.0", ExitUnverified, "--key", other)
	if tags := tool("git", "tag"); tags != "" {
		t.Fatalf("tags %s", tags)
	}
	exit, out, errs := do("", "sign", "--key", key, "--version", "v1.0.0")
	if exit != ExitOK || !strings.Contains(out, "git remote add origin URL && git push origin HEAD v1.0.0") ||
		!strings.Contains(out, "ada@example.com") || !strings.Contains(out, "accepted by allowed_signers") {
		t.Fatalf("exit %d\n%s%s", exit, out, errs)
	}
	refuse("tag v1.0.0 is there", ExitFailed, "--key", key)
	tool("git", "tag", "v2.0.0")
	tool("git", "tag", "-d", "v1.0.0")
	refuse("not newer than v2.0.0", ExitFailed, "--key", key)
	if err := os.WriteFile("more.js", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refuse(`1 files are not committed, such as "?? more.js"`, ExitRefused, "--key", key)
}

// newOnes are the beginnings that are built, tested and run here; whole ones run their own
// tests too. The others are held by their files alone (hub/build), because their
// toolchains take long.
var newOnes = []struct {
	language, kind, tool string
	whole                bool
}{
	{"js", "trigger", "quickjs", true},
	{"js", "action", "quickjs", false},
	{"js", "output", "quickjs", false},
	{"ts", "trigger", "quickjs", false},
	{"ts", "action", "quickjs", true},
	{"ts", "output", "quickjs", false},
	{"python", "output", "cpython", true},
	{"python", "trigger", "cpython", false},
	{"python", "action", "cpython", false},
	{"rust", "action", "cargo", true},
	{"rust", "trigger", "cargo", false},
	{"rust", "output", "cargo", false},
	{"go", "action", "go", true},
	{"go", "trigger", "go", false},
	{"go", "output", "go", false},
}

// everyRow is how CI asks for what takes long, as in hub/build.
const everyRow = "STAVILY_EVERY_ROW"

// A beginning builds, passes its tests and its cases, answers, and says so, in each
// language and for each type.
func TestNewPluginsWork(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles")
	}
	t.Chdir(t.TempDir())
	for _, c := range newOnes {
		t.Run(c.language+"/"+c.kind, func(t *testing.T) {
			slow := c.tool == "cpython" || (c.tool == "go" || c.tool == "cargo") && !c.whole
			if slow && os.Getenv(everyRow) == "" {
				t.Skip("takes long: STAVILY_EVERY_ROW=1 runs it")
			}
			if _, err := exec.LookPath(c.tool); err != nil {
				if _, err := build.FindEngine(c.tool); err != nil {
					t.Skip(err)
				}
			}
			name := c.language + "-" + c.kind
			if exit, _, errs := do("", "new", name, "--lang", c.language, "--type", c.kind); exit != ExitOK {
				t.Fatal(errs)
			}
			args := []string{"test", name}
			if !c.whole {
				args = append(args, "--cases")
			}
			exit, out, errs := do("", args...)
			if exit != ExitOK || !strings.Contains(out, " passed, 0 failed\n") || strings.Contains(out, "warning") {
				t.Fatalf("exit %d\n%s%s", exit, out, errs)
			}
			answer := map[string]string{"trigger": "next    30s", "action": `answer  {"over":true}`, "output": "answer  delivered"}[c.kind]
			exit, out, errs = do(`{"value": 81}`, "run", name, "--event", "-")
			if exit != ExitOK || !strings.Contains(strings.Join(strings.Fields(out), " "), strings.Join(strings.Fields(answer), " ")) {
				t.Errorf("exit %d, want %s\n%s%s", exit, answer, out, errs)
			}
		})
	}
}

// A case that fails is told with its place and difference, and is the exit code.
func TestPluginTestTells(t *testing.T) {
	if _, err := build.FindEngine("quickjs"); err != nil || testing.Short() {
		t.Skip("needs the engine quickjs: make engines")
	}
	t.Chdir(t.TempDir())
	if exit, _, errs := do("", "new", "judge", "--lang", "js"); exit != ExitOK {
		t.Fatal(errs)
	}
	const bad = "cases:\n  - name: wrong\n    config: {max: 1}\n    event: {value: 2}\n    want: {answer: {over: false}}\n"
	if err := os.WriteFile("judge/tests/bad.yaml", []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	exit, out, errs := do("", "test", "judge", "--cases")
	want := "FAIL  tests/bad.yaml:2: wrong\n      answer: - wanted, + got\n          {\n        -   \"over\": false\n        +   \"over\": true\n          }\n"
	if exit != ExitFailed || !strings.Contains(out, want) || !strings.Contains(out, "cases: 3 passed, 1 failed") ||
		!strings.Contains(errs, "1 of 4 cases failed") {
		t.Errorf("exit %d\n%s%s", exit, out, errs)
	}
	if exit, out, errs = do("", "test", "judge", "--only", "above", "-v"); exit != ExitOK || !strings.Contains(out, "ok    tests/cases.yaml:4: above the limit") {
		t.Errorf("exit %d\n%s%s", exit, out, errs)
	}
	if exit, _, errs = do("", "test", "judge", "--only", "nothing"); exit != ExitFailed || !strings.Contains(errs, "no case whose name has") {
		t.Errorf("exit %d\n%s", exit, errs)
	}
	exit, out, _ = do("", "test", "judge", "--cases", "-o", "json")
	var got tried
	if err := json.Unmarshal([]byte(out), &got); exit != ExitFailed || err != nil || got.Passed || got.Cases.Failed() != 1 {
		t.Errorf("exit %d, %v\n%s", exit, err, out)
	}
	if err := os.WriteFile("judge/tests/bad.yaml", []byte("cases: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	exit, _, errs = do("", "build", "judge", "--file", filepath.Join(t.TempDir(), "x.zip"))
	if exit != ExitFailed || !strings.Contains(errs, "tests/bad.yaml:1:8") {
		t.Errorf("exit %d\n%s", exit, errs)
	}
	if exit, out, _ = do("", "test", "--schema"); exit != ExitOK || !json.Valid([]byte(out)) {
		t.Errorf("exit %d\n%s", exit, out)
	}
	if exit, out, errs = do("", "sdk", "judge"); exit != ExitOK || !strings.Contains(out, filepath.Join("judge", ".sdk")) {
		t.Errorf("exit %d\n%s%s", exit, out, errs)
	}
}

var _ io.Writer = (*shared)(nil)
