package cli_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"flag"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stavily/stavily/hub"
	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/cli"
	"github.com/stavily/stavily/hub/source"
)

var update = flag.Bool("update", false, "write the golden files anew")

// home is that of the one hub which all tests share; dir holds the other files.
var home, dir, address string

func TestMain(m *testing.M) { os.Exit(withHub(m)) }

// withHub runs the tests beside a real hub with one published plugin of each type.
func withHub(m *testing.M) int {
	var err error
	if dir, err = os.MkdirTemp("", "cli-"); err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	home = filepath.Join(dir, "home")
	cfg := hub.DefaultConfig(home)
	cfg.Listen, cfg.API = "127.0.0.1:0", "127.0.0.1:0"
	ctx, stop := context.WithCancel(context.Background())
	up, ended := make(chan hub.Bound, 1), make(chan error, 1)
	go func() { ended <- hub.Serve(ctx, cfg, slog.New(slog.DiscardHandler), func(at hub.Bound) { up <- at }) }()
	select {
	case at := <-up:
		address = at.API
	case err := <-ended:
		panic(err)
	}
	repositories()
	code := m.Run()
	stop()
	if err := <-ended; err != nil {
		panic(err)
	}
	return code
}

const manifest = `plugin: {name: NAME, version: 1.0.0, type: TYPE, description: A plugin, author: {name: Ada}}
runtime: {language: go}
sandbox_mode: true
allow_network_access: false
allow_filesystem_access: none
permissions: {}
`

// repositories makes a signed repository of each type, of which the tests publish.
func repositories() {
	ada := source.Person{Name: "Ada", Email: "ada@example.com"}
	day := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	line, err := source.SignerLine(ada.Email, key.Public().(ed25519.PublicKey))
	must(err)
	must(os.WriteFile(filepath.Join(dir, "signers"), []byte(line), 0o600))
	must(os.WriteFile(filepath.Join(dir, "nobody"), nil, 0o600))
	for name, kind := range map[string]string{"tick": "trigger", "work": "action", "note": "output"} {
		files := fstest.MapFS{
			"stavily-plugin.yaml": {Data: []byte(strings.NewReplacer("NAME", name, "TYPE", kind).Replace(manifest))},
			"go.mod":              {Data: []byte("module p\n\ngo 1.24\n")}, "main.go": {Data: []byte("package main\n\nfunc main() {}\n")},
		}
		at := filepath.Join(dir, name)
		_, err := source.InitRepo(at, files, ada, day)
		must(err)
		_, err = source.SignTag(at, source.TagRequest{Tag: "v1.0.0", Tagger: ada, When: day, Key: key})
		must(err)
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// run runs one command line against the hub.
func run(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = cli.Execute(cli.Root("1.2.3"), append([]string{"--home", home}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

func runs(t testing.TB, args ...string) string {
	t.Helper()
	code, out, errs := run(t, args...)
	if code != cli.ExitOK || errs != "" {
		t.Fatalf("%v: exit %d\n%s", args, code, errs)
	}
	return out
}

func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const workflowText = `workflow: watch
trigger:
  plugin: tick@1
  at: { group: { role: gateway } }
actions:
  - plugin: work
outputs:
  - plugin: note
`

// The way of an operator, command by command. What programs read is golden.
func TestStory(t *testing.T) {
	if testing.Short() {
		t.Skip("publishes plugins, which takes a minute under the race detector")
	}
	if got := runs(t, "-o", "json", "plugin", "list"); got != "[]\n" {
		t.Errorf("an empty list is %q", got)
	}
	for _, name := range []string{"tick", "work", "note"} {
		out := runs(t, "plugin", "add", filepath.Join(dir, name), "--allowed-signers", filepath.Join(dir, "signers"))
		if !strings.HasPrefix(out, "registered  "+name+"  ") {
			t.Errorf("add: %q", out)
		}
		out = runs(t, "plugin", "publish", name+"@1.0.0")
		if !strings.Contains(out, "  signature      ok ") || !strings.Contains(out, "published  "+name+"@1.0.0  ") {
			t.Errorf("publish: %q", out)
		}
	}
	file := write(t, "watch.yaml", workflowText)
	if out := runs(t, "deploy", file); !strings.Contains(out, "deployed  watch  tick@1.0.0 -> work@1.0.0 -> note@1.0.0") ||
		!strings.Contains(out, "no agent  is named by it now") {
		t.Errorf("deploy: %q", out)
	}
	if out := runs(t, "deploy", "--dry-run", file); !strings.Contains(out, "would deploy  watch  tick@1.0.0 -> ") {
		t.Errorf("dry run: %q", out)
	}
	if code, _, errs := run(t, "explain", "watch", "nobody"); code != cli.ExitFailed || !strings.Contains(errs, `agent "nobody"`) {
		t.Errorf("explain: %d, %q", code, errs)
	}
	if out := runs(t, "workflow", "show", "watch"); !strings.HasSuffix(out, workflowText) {
		t.Errorf("show: %q", out)
	}
	if out := runs(t, "agent", "token", "--site", "lab"); !strings.Contains(out, "stavily-join-") || !strings.Contains(out, "stavily-edge --hub mqtts://HOST:") {
		t.Errorf("token: %q", out)
	}
	for name, args := range map[string][]string{
		"status": {"status"}, "plugin-list": {"plugin", "list"}, "plugin-show": {"plugin", "show", "work"},
		"workflow-list": {"workflow", "list"}, "workflow-show": {"workflow", "show", "watch"},
		"agent-list": {"agent", "list"}, "run-list": {"run", "list"}, "agent-token": {"agent", "token", "--site", "lab"},
	} {
		golden(t, name, runs(t, append(args, "--output", "json")...))
	}
	if out := runs(t, "workflow", "remove", "watch"); !strings.HasPrefix(out, "removed  watch") {
		t.Errorf("remove: %q", out)
	}
}

// unstable is what differs from hub to hub.
var unstable = []struct {
	what *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`"sha256:[0-9a-f]{64}"`), `"sha256:..."`},
	{regexp.MustCompile(`"[0-9a-f]{40}"`), `"0123..."`},
	{regexp.MustCompile(`"20\d\d-\d\d-\d\dT[^"]+"`), `"2026-..."`},
	{regexp.MustCompile(`"took_ms": \d+`), `"took_ms": 1`},
	{regexp.MustCompile(`"size": \d+`), `"size": 1`},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), `127.0.0.1:8883`},
	{regexp.MustCompile(`"stavily-join-[^"]+"`), `"stavily-join-..."`},
	{regexp.MustCompile(`"detail": "[^"\\]*(\\.[^"\\]*)*"`), `"detail": "..."`},
	{regexp.MustCompile(`SHA256:[A-Za-z0-9+/]+`), `SHA256:...`},
	{regexp.MustCompile(`/[^"]*/watch.yaml`), `/watch.yaml`},
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if !json.Valid([]byte(got)) {
		t.Errorf("%s: not JSON: %s", name, got)
	}
	got = strings.ReplaceAll(got, dir, "DIR")
	for _, u := range unstable {
		got = u.what.ReplaceAllString(got, u.by)
	}
	path := filepath.Join("testdata", name+".json")
	if *update {
		must(os.WriteFile(path, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(path)
	if err != nil || got != string(want) {
		t.Errorf("%s: %v\ngot\n%s\nwant\n%s", name, err, got, want)
	}
}

// Each kind of error has its exit code, its words and its hint.
func TestErrors(t *testing.T) {
	signers := filepath.Join(dir, "signers")
	for _, c := range []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"unknown command", []string{"plugins"}, cli.ExitUsage, []string{`unknown command "plugins"`, `hint: see "stavily --help"`}},
		{"unknown subcommand", []string{"plugin", "kill"}, cli.ExitUsage, []string{`unknown command "kill" for "stavily plugin"`}},
		{"unknown flag", []string{"plugin", "list", "--all"}, cli.ExitUsage, []string{"unknown flag: --all", `hint: see "stavily plugin list --help"`}},
		{"missing argument", []string{"plugin", "show"}, cli.ExitUsage, []string{"accepts 1 arg(s), received 0"}},
		{"missing flag", []string{"plugin", "add", "x"}, cli.ExitUsage, []string{`required flag(s) "allowed-signers" not set`}},
		{"bad version", []string{"plugin", "publish", "work"}, cli.ExitUsage, []string{`"work": want NAME@VERSION such as system-health@1.2.0`}},
		{"bad label", []string{"agent", "label", "pump", "role"}, cli.ExitUsage, []string{`"role": want KEY=VALUE`}},
		{"bad output", []string{"status", "-o", "xml"}, cli.ExitUsage, []string{`--output "xml": want table or json`}},
		{
			"no hub",
			[]string{"--home", "/nowhere", "status"},
			cli.ExitUnreachable,
			[]string{"hub at /nowhere/api.sock: not reachable", `hint: start it with "stavily hub"`},
		},
		{"no file", []string{"deploy", "/nowhere.yaml"}, cli.ExitFailed, []string{"/nowhere.yaml: no such file"}},
		{"no signers", []string{"plugin", "add", "x", "--allowed-signers", "/nowhere"}, cli.ExitFailed, []string{"allowed signers: open /nowhere"}},
		{"unknown plugin", []string{"plugin", "show", "nothing"}, cli.ExitFailed, []string{`plugin "nothing": not registered`, "hint: see what there is"}},
		{"unknown agent", []string{"agent", "remove", "nobody"}, cli.ExitFailed, []string{`agent "nobody": not found`}},
		{"unknown run", []string{"run", "show", "abcdef"}, cli.ExitFailed, []string{"run"}},
		{
			"unknown signer",
			[]string{"plugin", "add", filepath.Join(dir, "work"), "--allowed-signers", filepath.Join(dir, "nobody")},
			cli.ExitUnverified,
			[]string{"unknown signer", `hint: check who signed it with "git tag -v"`},
		},
		{"no repository", []string{"plugin", "add", filepath.Join(dir, "none"), "--allowed-signers", signers}, cli.ExitFailed, []string{"no git repository at"}},
		{"wrong token", []string{"--api", "http://" + address, "status"}, cli.ExitRefused, []string{"api: wrong or missing token"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "wrong token" {
				t.Setenv("STAVILY_TOKEN", "wrong")
			}
			code, out, errs := run(t, c.args...)
			if code != c.code || out != "" || !strings.HasPrefix(errs, "stavily: ") {
				t.Errorf("exit %d, want %d; stdout %q", code, c.code, out)
			}
			for _, want := range c.want {
				if !strings.Contains(errs, want) {
					t.Errorf("got\n%s\nwant %q", errs, want)
				}
			}
		})
	}
	if code, _, errs := run(t, "--api", "http://"+address, "status"); code != cli.ExitOK {
		t.Errorf("with the token of the home: %s", errs)
	}
}

// A mistake in a workflow is shown where it is, whether the command or the hub finds it.
func TestCaret(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"found here", "outputs:", "output:", "    7 | output:\n      | ^\n"},
		{"found by the hub", "tick@1", "nothing", "    3 |   plugin: nothing\n      |           ^\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := write(t, "w.yaml", strings.Replace(workflowText, c.old, c.new, 1))
			code, out, errs := run(t, "deploy", file)
			if code != cli.ExitFailed || out != "" || !strings.Contains(errs, file+":") || !strings.Contains(errs, c.want) {
				t.Errorf("exit %d\n%s\nwant\n%s", code, errs, c.want)
			}
		})
	}
	if code, _, errs := run(t, "--home", "/nowhere", "deploy", "--check", write(t, "w.yaml", workflowText)); code != cli.ExitOK {
		t.Errorf("--check asks a hub: %s", errs)
	}
}

// What strangers wrote never moves a terminal's cursor.
func TestNothingReachesTheTerminalRaw(t *testing.T) {
	evil := "x\x1b[2J\u009b31m\u202etxt\r\x07"
	code, _, errs := run(t, "plugin", "show", evil)
	if code == cli.ExitOK || strings.ContainsAny(errs, "\x1b\u009b\u202e\r\x07") {
		t.Errorf("exit %d: %q", code, errs)
	}
	file := write(t, "w.yaml", "workflow: \"a\x1b[2J\"\n")
	if _, _, errs = run(t, "deploy", file); strings.ContainsAny(errs, "\x1b") {
		t.Errorf("%q", errs)
	}
	line := cli.StageLine(api.Stage{Name: "build", Verdict: "failed", Detail: evil + "\nsecond"})
	if strings.ContainsAny(line, "\x1b\u009b\u202e\r\x07\n") || !strings.Contains(line, "failed") {
		t.Errorf("%q", line)
	}
}

// Each shell takes the script that completes for it.
func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		out := runs(t, "completion", shell)
		if !strings.Contains(out, "stavily") || len(out) < 1000 {
			t.Errorf("%s: %d bytes", shell, len(out))
		}
		program, err := exec.LookPath(shell)
		if err != nil || shell == "powershell" {
			continue
		}
		cmd := exec.Command(program, "-n")
		cmd.Stdin = strings.NewReader(out)
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s -n: %v\n%s", shell, err, text)
		}
	}
	if testing.Short() {
		return // there are no plugins: TestStory publishes them
	}
	if _, out, _ := run(t, "__complete", "plugin", "show", ""); !strings.HasPrefix(out, "note\ntick\nwork\n") {
		t.Errorf("completes %q", out)
	}
}

func TestVersionAndHelp(t *testing.T) {
	if got := runs(t, "--version"); got != "stavily version 1.2.3\n" {
		t.Errorf("got %q", got)
	}
	for _, args := range [][]string{{}, {"plugin"}, {"agent", "--help"}, {"deploy", "--help"}} {
		if got := runs(t, args...); !strings.Contains(got, "Usage:") {
			t.Errorf("%v: %q", args, got)
		}
	}
}
