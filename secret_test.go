package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/wasmhost"
)

const knockMain = `package main

import "github.com/stavily/stavily/plugins/sdk/go"

type config struct {
	URL    string ` + "`json:\"url\"`" + `
	Secret string ` + "`json:\"secret\"`" + `
}

func main() {
	c := &config{}
	stavily.Action("knock", func(ctx *stavily.Context, _ stavily.Run) (any, error) {
		var ok struct {
			Status int    ` + "`json:\"status\"`" + `
			Body   string ` + "`json:\"body\"`" + `
		}
		err := ctx.Call("http.request", map[string]any{
			"url": c.URL, "headers": map[string]string{"authorization": "Bearer ${" + c.Secret + "}"},
			"secrets": []string{c.Secret},
		}, &ok)
		return ok, err
	}).Config(c).Main()
}
`

const knockManifest = `plugin:
  name: knock
  version: 1.0.0
  type: action
  description: Knocks at a door with a secret
  author: { name: Ada }
runtime: { language: go }
execution_limits: { max_memory_mb: 64, max_network_connections: 1 }
sandbox_mode: true
allow_network_access: true
allow_filesystem_access: none
permissions: { system: [secret.use], network: [http.request] }
configuration: { schema: schema.json, examples: examples }
`

const knockWorkflow = `workflow: knock
trigger:
  plugin: system-health@1
  with: { metric: memory.percent, above: 0, every: 200ms, repeat: 200ms }
  at: { group: { role: gateway } }
actions:
  - name: door
    plugin: knock@1
    with: { url: "http://%[1]s/door", secret: door-key }
    allow: { http.request: ["%[1]s"], secret.use: ["door-key@%[1]s"] }
outputs:
  - plugin: append-file@1
`

// door is a server that remembers with what it was knocked at, and says it back.
type door struct {
	*httptest.Server
	mu   sync.Mutex // guards the field below
	keys map[string]int
}

func newDoor(t *testing.T) *door {
	d := &door{keys: map[string]int{}}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		key := r.Header.Get("Authorization")
		d.keys[key]++
		fmt.Fprintf(w, "you said %s", key)
	}))
	t.Cleanup(d.Close)
	return d
}

func (d *door) knocked(value string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.keys["Bearer "+value]
}

// secret sets a secret as an operator would, from a pipe.
func (w *world) secret(value string, args ...string) string {
	w.t.Helper()
	cmd := exec.Command(os.Args[0], append([]string{"secret", "set"}, args...)...)
	cmd.Dir, cmd.Stdin = w.dir, strings.NewReader(value+"\n")
	cmd.Env = append(os.Environ(), asStavily+"=1", "STAVILY_HOME="+w.path("home"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("secret set: %v\n%s", err, out)
	}
	return string(out)
}

// nowhere wants values in no file below the world, whatever their clothes.
func (w *world) nowhere(values ...string) {
	w.t.Helper()
	files := 0
	err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		for _, value := range values {
			for _, form := range []string{value, base64.StdEncoding.EncodeToString([]byte(value)), base64.RawURLEncoding.EncodeToString([]byte(value))} {
				if bytes.Contains(text, []byte(form)) {
					w.t.Errorf("%s holds the secret", strings.TrimPrefix(path, w.dir))
				}
			}
		}
		return err
	})
	if err != nil || files < 20 {
		w.t.Errorf("%d files looked at: %v", files, err)
	}
}

// S-04: a secret goes from an operator's pipe into a request of one agent's plugin to one
// host, changes without a deployment, and lies nowhere on a disk that could be read.
func TestSecrets(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes and builds plugins")
	}
	d := newDoor(t)
	at := strings.TrimPrefix(d.URL, "http://")
	w := newWorld(t, buildEdge(t))
	w.startHub()
	w.publish()
	w.publishKnock()
	allow := []string{"--allow", "http.request:" + at, "--allow", "secret.use:door-key@" + at}
	w.join("gw-1", allow...)
	w.agents["gw-1"].args = append(w.agents["gw-1"].args, allow...)
	file := w.path("knock.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, knockWorkflow, at), 0o600); err != nil {
		t.Fatal(err)
	}
	w.must("deploy", file)
	missing := func() bool { return strings.Contains(w.lastRun(), `secret \"door-key\": not on this device`) }
	w.until("a run that names the missing secret", missing)

	const first, second = "first-of-two-keys", "second+of/two keys"
	w.secret(first, "door-key", "--agent", "gw-1")
	w.until("the door opens", func() bool { return d.knocked(first) > 0 })
	revision := w.must("agent", "show", "gw-1")
	w.secret("nobody's key", "door-key", "--site", "elsewhere")
	w.secret(second, "door-key", "--agent", "gw-1")
	w.until("the door opens with the second key", func() bool { return d.knocked(second) > 0 })
	if was, now := desiredLine(revision), desiredLine(w.must("agent", "show", "gw-1")); was != now || was == "" {
		t.Errorf("rotation deployed: %q, then %q", was, now)
	}
	if list := w.must("secret", "list", "--output", "json"); strings.Count(list, `"digest"`) != 2 || strings.Contains(list, "two") {
		t.Errorf("secret list says %s", list)
	}
	w.until("the plugin sees no key in what the door says", func() bool { return strings.Contains(w.lastRun(), "Bearer \\u003csecret door-key\\u003e") })

	w.must("agent", "record", "gw-1", "knock/door", "--calls", "2", "--out", "door.rec")
	text, err := os.ReadFile(w.path("door.rec"))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := wasmhost.DecodeRecording(text); err != nil || len(r.Calls) != 2 || len(r.Calls[1].Answer) == 0 ||
		!bytes.Contains(text, []byte("Bearer ${door-key}")) {
		t.Errorf("recording: %v, %+v", err, r)
	}

	w.hub.kill()
	w.agents["gw-1"].kill()
	before := d.knocked(second)
	_ = w.agents["gw-1"].start(t) // D-3: with its own disk only
	w.until("the door opens without the hub", func() bool { return d.knocked(second) > before })
	w.startHub()
	w.until("the agent is back", func() bool {
		return strings.Contains(w.must("agent", "show", "gw-1"), "online")
	})
	w.must("secret", "remove", "door-key", "--agent", "gw-1")
	w.until("the key is taken away", missing)
	w.agents["gw-1"].end(syscall.SIGTERM)
	w.hub.end(syscall.SIGTERM)
	w.nowhere(first, second, "nobody's key")
}

func desiredLine(show string) string {
	for line := range strings.Lines(show) {
		if strings.HasPrefix(line, "desired") {
			return line
		}
	}
	return ""
}

// lastRun is the newest run, as JSON.
func (w *world) lastRun() string {
	all := ask[[]api.Run](w, "run", "list", "--limit", "1")
	if len(all) == 0 {
		return ""
	}
	return w.must("run", "show", all[0].ID, "--output", "json")
}

func (w *world) publishKnock() {
	w.t.Helper()
	w.publishOwn("knock", map[string]string{
		"main.go": knockMain, "stavily-plugin.yaml": knockManifest,
		"schema.json":     `{"type":"object","properties":{"url":{"type":"string"},"secret":{"type":"string"}}}`,
		"examples/a.yaml": "url: http://127.0.0.1:1/\nsecret: door-key\n",
	})
}

// publishOwn publishes a test's own plugin, with the modules of a first-party one.
func (w *world) publishOwn(plugin string, files map[string]string) {
	w.t.Helper()
	repo := w.path(filepath.Join("repositories", plugin))
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join("plugins/append-file", name))
		if err != nil {
			w.t.Fatal(err)
		}
		files[name] = strings.ReplaceAll(string(text), "plugins/append-file", "plugins/"+plugin)
	}
	for name, text := range files {
		path := filepath.Join(repo, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	w.git(repo, "init", "-q", "-b", "main")
	w.git(repo, "add", "-A")
	w.git(repo, "commit", "-q", "-m", "first")
	w.git(repo, "-c", "gpg.format=ssh", "-c", "user.signingkey="+w.path("author"), "tag", "-s", "-m", "first", "v1.0.0")
	w.must("plugin", "add", repo, "--allowed-signers", w.path("signers"))
	w.must("plugin", "publish", plugin+"@1.0.0")
}
