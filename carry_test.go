package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stavily/stavily/hub/api"
)

// device runs a subcommand of the agent's program on an agent's state.
func (w *world) device(agent, command string, more ...string) (out string, code int) {
	w.t.Helper()
	args := append([]string{command}, more...)
	cmd := exec.Command(w.edge[0], append(args, "--state", w.path(agent))...)
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		w.t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// TestCarriedByHand: a device whose line is gone gets a workflow on a stick, and its runs
// come to the hub on one, each once, with real processes and whatever a stick may be.
func TestCarriedByHand(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes and builds plugins")
	}
	w := newWorld(t, buildEdge(t))
	w.flags = append(w.flags, "--metrics", "1s")
	w.startHub()
	w.join("far")
	w.publish()
	far := w.agents["far"]
	far.end(syscall.SIGTERM)
	w.deploy("200ms")

	stick := w.path("far.bundle")
	w.must("bundle", "export", "--site", "lab", stick)
	w.hub.end(syscall.SIGTERM) // from here on nobody answers
	good, err := os.ReadFile(stick)
	if err != nil {
		t.Fatal(err)
	}
	bad := w.path("bad.bundle")
	for what, b := range map[string][]byte{
		"cut off": good[:len(good)/2], "digest": append(append(good[:500:500], good[500]^1), good[501:]...),
	} {
		if err := os.WriteFile(bad, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, code := w.device("far", "import", bad); code != 4 || !strings.Contains(out, "bundle: ") {
			t.Errorf("%s: exit %d, %s", what, code, out)
		}
	}
	if out, code := w.device("far", "import", stick); code != 0 || !strings.Contains(out, "when one starts") {
		t.Fatalf("stopped: exit %d, %s", code, out)
	}
	_ = far.start(t)
	w.until("lines of far", func() bool { return len(w.delivered("far")) >= 3 })
	if out, code := w.device("far", "import", stick); code != 0 || !strings.Contains(out, "taken") {
		t.Errorf("twice, running: exit %d, %s", code, out)
	}
	back, again := w.path("back.bundle"), w.path("again.bundle")
	if out, code := w.device("far", "export", back); code != 0 || !strings.Contains(out, "records") {
		t.Fatalf("running: exit %d, %s", code, out)
	}
	if out, code := w.device("far", "import", back); code != 4 || !strings.Contains(out, "for its hub") {
		t.Errorf("its own bundle: exit %d, %s", code, out)
	}
	far.end(syscall.SIGTERM)
	out, code := w.device("far", "export", again)
	for _, lane := range []string{" event", " result", " metric", " audit"} {
		if code != 0 || !strings.Contains(out, lane) {
			t.Fatalf("stopped: exit %d, %s, want records of%s", code, out, lane)
		}
	}
	w.startHub()
	w.takeBack(back, again)
	w.must("bundle", "export", "--site", "lab", stick)
	if out, code := w.device("far", "import", stick); code != 0 {
		t.Fatalf("acknowledgements: exit %d, %s", code, out)
	}
	_ = far.start(t) // and the line is back: the same runs come by it again, those after them too
	w.until("all lines at the hub", func() bool {
		lines := w.delivered("far")
		for _, run := range w.runs() {
			delete(lines, run.ID)
		}
		return len(lines) <= 1 // one may be on its way
	})
}

// takeBack imports two bundles of one agent, the newer one first.
func (w *world) takeBack(older, newer string) {
	w.t.Helper()
	first := ask[api.BundleImported](w, "bundle", "import", newer)
	if first.New < 9 || first.New > first.Records || string(first.Agent.Agent) != "far" {
		w.t.Errorf("import: got %+v", first)
	}
	runs := len(w.runs())
	for _, file := range []string{older, newer} {
		if got := ask[api.BundleImported](w, "bundle", "import", file); got.New != 0 {
			w.t.Errorf("import of what is known: got %+v", got)
		}
	}
	if got := len(w.runs()); got != runs {
		w.t.Errorf("%d runs after importing twice, want %d", got, runs)
	}
	if _, errs, code := w.cli("bundle", "import", w.path("far.bundle")); code == 0 || !strings.Contains(errs, "hub's") {
		w.t.Errorf("the hub's own bundle: exit %d, %s", code, errs)
	}
}
