package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/protocol"
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

// TestCarriedByHand: a device whose line is gone, and one that never has one, get a workflow on
// a stick, and their runs come to the hub on one, each once, with real processes and whatever a
// stick may be.
func TestCarriedByHand(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes and builds plugins")
	}
	w := newWorld(t, buildEdge(t))
	w.flags = append(w.flags, "--metrics", "1s")
	w.startHub()
	w.join("far")
	w.publish()
	w.joinByHand("cave")
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
	cave := w.agents["cave"]
	if out, code := w.device("cave", "import", stick); code != 0 {
		t.Fatalf("into the cave: exit %d, %s", code, out)
	}
	_ = cave.start(t)
	w.until("lines of cave", func() bool { return len(w.delivered("cave")) >= 3 })
	cave.end(syscall.SIGTERM)
	out, code := w.device("cave", "export", w.path("cave.bundle"))
	if code != 0 {
		t.Fatalf("out of the cave: exit %d, %s", code, out)
	}
	back, again := w.path("back.bundle"), w.path("again.bundle")
	if out, code := w.device("far", "export", back); code != 0 || !strings.Contains(out, "records") {
		t.Fatalf("running: exit %d, %s", code, out)
	}
	if out, code := w.device("far", "import", back); code != 4 || !strings.Contains(out, "for its hub") {
		t.Errorf("its own bundle: exit %d, %s", code, out)
	}
	far.end(syscall.SIGTERM)
	out, code = w.device("far", "export", again)
	for _, lane := range []string{" event", " result", " metric", " audit"} {
		if code != 0 || !strings.Contains(out, lane) {
			t.Fatalf("stopped: exit %d, %s, want records of%s", code, out, lane)
		}
	}
	w.startHub()
	w.takeBack(back, again)
	if got := ask[api.BundleImported](w, "bundle", "import", w.path("cave.bundle")); got.New < 9 || got.Agent.Agent != "cave" {
		t.Errorf("from the cave: got %+v", got)
	}
	w.knowsCave()
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

// knowsCave wants the hub to show what runs in the cave, which has only ever said so on a stick,
// written while no agent ran.
func (w *world) knowsCave() {
	w.t.Helper()
	cave := ask[api.Agent](w, "agent", "show", "cave")
	r := cave.Reported
	if r == nil || r.Revision == 0 || r.Digest != cave.Desired.Digest || r.Dropped != 0 || r.Pending < 9 ||
		len(r.Assignments) != 1 {
		w.t.Fatalf("the hub knows of the cave: %+v, want revision %d with one assignment", r, cave.Desired.Revision)
	}
	if s := r.Assignments[0]; s.Phase != protocol.PhaseRunning || s.Fired < 3 || cave.Device.Platform == "" {
		w.t.Errorf("the cave's workflow: %+v on %+v, want it to run, and to have fired 3 times", s, cave.Device)
	}
}

// joinByHand lets a device that never has a line join by files, with mistakes on the way.
func (w *world) joinByHand(name string) {
	t := w.t
	t.Helper()
	token := ask[api.Token](w, "agent", "token", "--site", "lab").Token
	flags := []string{"--hub", "mqtts://nowhere.invalid:1", "--join", token, "--name", name, "--label", "role=gateway"}
	join := func(agent string, more ...string) (string, int) {
		return w.device(agent, "join", append(more, flags...)...)
	}
	request, reply := w.path(name+".request"), w.path(name+".reply")
	if out, code := join(name, "--request", request); code != 0 || !strings.Contains(out, "stavily agent join") {
		t.Fatalf("asked: exit %d, %s", code, out)
	}
	if _, errs, code := w.cli("agent", "join", w.path("nothing"), reply); code == 0 || !strings.Contains(errs, "nothing") {
		t.Errorf("no request: exit %d, %s", code, errs)
	}
	if out := w.must("agent", "join", request, reply); !strings.Contains(out, name) {
		t.Errorf("said %s", out)
	}
	again := w.path("again.reply")
	if _, errs, code := w.cli("agent", "join", request, again); code == 0 || !strings.Contains(errs, "used up") {
		t.Errorf("the token twice: exit %d, %s", code, errs)
	}
	if _, err := os.Stat(again); err == nil {
		t.Error("a refusal has left a reply")
	}
	if out, code := join("other", "--reply", reply); code == 0 || !strings.Contains(out, "not for this agent") {
		t.Errorf("another device's reply: exit %d, %s", code, out)
	}
	if out, code := join(name, "--reply", request); code == 0 || !strings.Contains(out, "copy it again") {
		t.Errorf("a request for a reply: exit %d, %s", code, out)
	}
	if out, code := join(name, "--reply", reply); code != 0 || !strings.Contains(out, "lab/"+name) {
		t.Fatalf("joined: exit %d, %s", code, out)
	}
	w.agents[name] = &part{name: name, log: w.path(name + ".log"), args: append(slices.Clone(w.edge),
		"--state", w.path(name), "--label", "role=gateway", "--allow", "process.execute:uname")}
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
