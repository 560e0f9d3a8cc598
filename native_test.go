//go:build linux && amd64

package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stavily/stavily/hub/build"
)

const nativeWatch = `workflow: native-watch
trigger:
  plugin: system-health@1
  with: { metric: memory.percent, above: 0, every: 1s, repeat: 1s }
  at: { group: { role: gateway } }
actions:
  - name: describe
    plugin: system-command-action@1
    with: { command: [uname] }
    allow: { process.execute: [uname] }
outputs:
  - plugin: append-file@1
`

// U-03, G-6: the seed's own sample, which needs psutil, goes from a signed tag to an agent
// that runs it by its own CPython in a jail. An agent that runs modules only is left out,
// and everybody says why. With STAVILY_REAL_WHEELS set the lock is the sample's own, and
// pip asks whomever it is set to.
func TestNativePythonEndToEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("builds an agent, plugins and an engine")
	}
	for _, tool := range []string{"git", "ssh-keygen", "/usr/bin/python3"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	ready := func(s build.Support) bool {
		return s.Language == "python" && s.Ready && !slices.ContainsFunc(s.Tools, func(tool build.Tool) bool {
			return tool.Problem != ""
		})
	}
	if err := build.CanConfine(t.Context()); err != nil || !slices.ContainsFunc(build.Doctor(t.Context()), ready) {
		t.Skipf("no engine, no pip or no confinement here: %v", err)
	}
	sample := filepath.Join(t.TempDir(), "system-command-action")
	if err := os.CopyFS(sample, os.DirFS("hub/build/testdata/seed")); err != nil {
		t.Fatal(err)
	}
	if os.Getenv("STAVILY_REAL_WHEELS") == "" {
		lockStandIn(t, sample)
	}
	w := newWorld(t, buildEdge(t))
	w.startHub()
	w.publish()
	w.publishFolder(sample, "system-command-action", "1.2.0")
	shown := w.must("plugin", "show", "system-command-action")
	for _, want := range []string{"linux-amd64", "native only", "coverage 100.0 % of 80.0 %"} {
		if !strings.Contains(shown, want) {
			t.Errorf("plugin show lacks %q:\n%s", want, shown)
		}
	}
	w.join("server", "--native")
	w.join("plain")
	if text := w.must("agent", "show", "server"); !strings.Contains(text, "namespaces") || !strings.Contains(text, "python 3.") {
		t.Skipf("the agent has no jail or no CPython:\n%s", text)
	}
	file := w.path("native.yaml")
	if err := os.WriteFile(file, []byte(nativeWatch), 0o600); err != nil {
		t.Fatal(err)
	}
	dry := w.must("deploy", "--dry-run", file)
	for _, want := range []string{"as linux-amd64: as a module: the release has no module", "start it with --native"} {
		if !strings.Contains(dry, want) {
			t.Errorf("the dry run lacks %q:\n%s", want, dry)
		}
	}
	w.must("deploy", file)
	text := ""
	w.until("a run whose action has ended", func() bool {
		for _, run := range w.runs() {
			if text = w.must("run", "show", run.ID, "--output", "json"); strings.Contains(text, `"describe"`) {
				return true
			}
		}
		return false
	})
	if !strings.Contains(text, `"cores":`) || !strings.Contains(text, "Linux") {
		t.Errorf("the run shows\n%s", text)
	}
	for agent, want := range map[string]string{"server": "ok      artifact", "plain": "runs no native artifacts"} {
		if text := w.must("explain", "native-watch", agent); !strings.Contains(strings.ReplaceAll(text, "\t", " "), want) {
			t.Errorf("explain %s lacks %q:\n%s", agent, want, text)
		}
	}
}

// publishFolder takes one version of a folder through the hub, signed by the author of
// publish.
func (w *world) publishFolder(repo, name, version string) {
	w.t.Helper()
	w.git(repo, "init", "-q", "-b", "main")
	w.git(repo, "add", "-A")
	w.git(repo, "commit", "-q", "-m", "first")
	w.git(repo, "-c", "gpg.format=ssh", "-c", "user.signingkey="+w.path("author"), "tag", "-s", "-m", version, "v"+version)
	w.must("plugin", "add", repo, "--allowed-signers", w.path("signers"))
	w.must("plugin", "publish", name+"@"+version)
}

// lockStandIn locks the sample to a package that calls itself psutil and is served here.
func lockStandIn(t *testing.T, sample string) {
	t.Helper()
	const tags = "cp36-abi3-manylinux2014_x86_64"
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range [][2]string{
		{"psutil/__init__.py", "import os\n\n__version__ = \"5.9.8\"\ncpu_count = os.cpu_count\n"},
		{"psutil-5.9.8.dist-info/METADATA", "Metadata-Version: 2.1\nName: psutil\nVersion: 5.9.8\n"},
		{"psutil-5.9.8.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: " + tags + "\n"},
	} {
		f, body := f[0], f[1]
		to, err := z.Create(f)
		if err == nil {
			_, err = to.Write([]byte(body))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	index := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".whl") {
			_, _ = w.Write(b.Bytes())
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<a href="/psutil-5.9.8-%s.whl">psutil-5.9.8-%[1]s.whl</a>`, tags)
	}))
	t.Cleanup(index.Close)
	t.Setenv("PIP_INDEX_URL", index.URL+"/simple/")
	t.Setenv("PIP_FIND_LINKS", "")
	lock := fmt.Sprintf("psutil==5.9.8 --hash=sha256:%x\n", sha256.Sum256(b.Bytes()))
	if err := os.WriteFile(filepath.Join(sample, "requirements.lock"), []byte(lock), 0o600); err != nil {
		t.Fatal(err)
	}
}
