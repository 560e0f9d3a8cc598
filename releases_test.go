package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/rollout"
	"github.com/stavily/stavily/protocol"
)

// changing takes any version 1 of its action, by waves. Its output's file is a template.
const changing = `workflow: changing
trigger:
  plugin: system-health@1
  with: { metric: memory.percent, above: 0, every: 1s, repeat: 1s }
  at: { group: { role: gateway } }
actions:
  - name: describe
    plugin: system-command@%s
    with: { run: [uname, -sm] }
    allow: { process.execute: [uname] }
outputs:
  - plugin: append-file@1
    with: { file: "${{ agent.name }}.jsonl" }
rollout: { waves: [{ count: 1, soak: 3s }] }
`

// releases is a fleet that runs the workflow changing.
type releases struct {
	*world
	names []string
	repo  string // of system-command
}

// release publishes another version of system-command, which in a broken one fails wherever
// the workflow asks it, and in none of its own tests.
func (r *releases) release(version string, broken bool) {
	r.t.Helper()
	manifest, code := filepath.Join(r.repo, "stavily-plugin.yaml"), filepath.Join(r.repo, "main.go")
	const good, bad = "	exit, err := ctx.Process(", `	if slices.Contains(c.Run, "-sm") {
		return nil, errors.New("broken in this version")
	}
	exit, err := ctx.Process(`
	r.edit(code, bad, good)
	if broken {
		r.edit(code, good, bad)
	}
	text, err := os.ReadFile(filepath.Join("plugins", "system-command", "stavily-plugin.yaml"))
	if err != nil {
		r.t.Fatal(err)
	}
	text = []byte(strings.Replace(string(text), `version: "1.0.0"`, fmt.Sprintf("version: %q", version), 1))
	if err := os.WriteFile(manifest, text, 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.git(r.repo, "commit", "-q", "-a", "-m", version)
	r.git(r.repo, "-c", "gpg.format=ssh", "-c", "user.signingkey="+r.path("author"), "tag", "-s", "-m", version, "v"+version)
	r.must("plugin", "publish", "system-command@"+version)
}

// edit puts new in place of old in a file, where it is.
func (r *releases) edit(file, old, new string) {
	r.t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, []byte(strings.Replace(string(text), old, new, 1)), 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// deploy deploys the workflow with a range of versions and returns how that ended.
func (r *releases) deployRange(versions string, more ...string) (stderr string, code int) {
	r.t.Helper()
	file := r.path("changing.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, changing, versions), 0o600); err != nil {
		r.t.Fatal(err)
	}
	_, stderr, code = r.cli(append([]string{"deploy", file}, more...)...)
	return stderr, code
}

// phase waits until the rollout has come to its end in this way.
func (r *releases) phase(want rollout.Phase) (out api.Rollout) {
	r.t.Helper()
	r.until("a rollout that is "+string(want), func() bool {
		out = ask[api.Rollout](r.world, "rollout", "show", "changing")
		return out.Phase == want
	})
	return out
}

// all waits until each agent reports the newest document, and the workflow in that phase.
func (r *releases) all(want protocol.Phase) {
	r.t.Helper()
	for _, name := range r.names {
		r.until(fmt.Sprintf("%s with the workflow %s", name, want), func() bool {
			a := ask[api.Agent](r.world, "agent", "show", name)
			return a.Reported != nil && a.Reported.Digest == a.Desired.Digest && len(a.Reported.Assignments) == 1 &&
				a.Reported.Assignments[0].Phase == want
		})
	}
}

// lines waits until the output of each agent has written so many more lines to the file that
// is named for it.
func (r *releases) lines(more int) {
	r.t.Helper()
	for _, name := range r.names {
		file := filepath.Join(r.path(name), "data", "append-file", name+".jsonl")
		count := func() int {
			text, _ := os.ReadFile(file)
			return strings.Count(string(text), "\n")
		}
		before := count()
		r.until("lines in "+file, func() bool { return count() >= before+more })
	}
}

// A bad release is stopped in its first wave and taken back by itself, and what it failed is
// run again; the next one goes to all. What is yanked is not chosen, what is revoked stops, and
// comes back when that is taken back. All by real processes.
func TestReleasesEndToEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes and builds plugins")
	}
	w := newWorld(t, buildEdge(t))
	w.flags = []string{"--heartbeat", "1s"}
	w.startHub()
	r := &releases{world: w, names: []string{"gateway-1", "gateway-2", "gateway-3"}}
	for _, name := range r.names {
		w.join(name)
	}
	w.publish()
	r.repo = w.path(filepath.Join("repositories", "system-command"))
	if text, code := r.deployRange("1", "--dry-run"); code != 0 {
		t.Fatalf("dry run: exit %d\n%s", code, text)
	}
	if text, code := r.deployRange("1"); code != 0 {
		t.Fatalf("deploy: exit %d\n%s", code, text)
	}
	r.phase(rollout.Done)
	r.all(protocol.PhaseRunning)
	r.lines(2)
	r.explained("placed", "running")

	r.badRelease()
	r.release("1.2.0", false)
	w.must("workflow", "update", "changing")
	r.phase(rollout.Done)
	r.all(protocol.PhaseRunning)
	r.lines(2)
	r.withdraw()
}

// badRelease lives through a version that fails.
func (r *releases) badRelease() {
	r.t.Helper()
	r.release("1.1.0", true)
	if out := r.must("workflow", "update", "changing"); !strings.Contains(out, "1.0.0 -> 1.1.0") {
		r.t.Errorf("update: %s", out)
	}
	back := r.phase(rollout.Returned)
	if back.Reason == "" {
		r.t.Error("taken back without a reason")
	}
	r.all(protocol.PhaseRunning)
	r.lines(2)
	var hit []string
	for _, run := range r.runs() {
		if run.Status == "error" && !slices.Contains(hit, string(run.Agent)) {
			hit = append(hit, string(run.Agent))
		}
	}
	if len(hit) != 1 {
		r.t.Errorf("the bad release failed on %q, want one agent only", hit)
	}
	letters := ask[api.DeadLetters](r.world, "dead-letter", "list").Letters
	if len(letters) == 0 {
		r.t.Fatal("no dead letter of the runs that failed")
	}
	again := letters[0]
	if !strings.Contains(again.Error.Text, "broken in this version") {
		r.t.Errorf("dead letter %+v", again)
	}
	r.must("dead-letter", "replay", again.Run)
	r.until("the replayed run to end well", func() bool {
		return slices.ContainsFunc(r.runs(), func(run api.Run) bool { return run.ID == again.Run && run.Status == "ok" })
	})
}

// explained asks hub and device the same question: both answer so, by the same last rule in the
// same words, and the device also when its agent does not run (T-06).
func (r *releases) explained(is, last string) {
	r.t.Helper()
	name := r.names[0]
	rule := func(text string) string {
		lines := strings.Split(strings.TrimSpace(text), "\n")
		if !strings.HasPrefix(lines[0], is) {
			r.t.Errorf("%s: want %s:\n%s", name, is, text)
		}
		return strings.Join(strings.Fields(lines[len(lines)-1]), " ")
	}
	hub := rule(r.must("explain", "changing", name))
	out, code := r.device(name, "explain", "changing")
	if device := rule(out); code != 0 || device != hub || !strings.Contains(hub, " "+last+" ") {
		r.t.Errorf("exit %d: the device says %q, the hub %q, want the rule %s", code, device, hub, last)
	}
	r.agents[name].end(syscall.SIGTERM)
	out, code = r.device(name, "explain", "--output", "json")
	_ = r.agents[name].start(r.t)
	if want := fmt.Sprintf(`"placed":%t`, is == "placed"); code != 0 || !strings.Contains(out, want) {
		r.t.Errorf("without an agent: exit %d, want %s: %s", code, want, out)
	}
	if out, code := r.device(name, "explain", "Not-A-Name"); code != 2 || !strings.Contains(out, "Not-A-Name") {
		r.t.Errorf("a bad name: exit %d, %s", code, out)
	}
}

// withdraw takes releases out of use, and gives one back.
func (r *releases) withdraw() {
	r.t.Helper()
	r.must("plugin", "yank", "system-command@1.1.0", "--reason", "fails")
	if text, code := r.deployRange("1.1.0", "--downgrade"); code == 0 || !strings.Contains(text, "1.1.0") {
		r.t.Errorf("a yanked release was deployed: exit %d\n%s", code, text)
	}
	if text, code := r.deployRange("1.0.0"); code == 0 || !strings.Contains(text, "downgrade") {
		r.t.Errorf("a lower version without being asked for: exit %d\n%s", code, text)
	}
	r.must("plugin", "revoke", "system-command@1.2.0", "--reason", "leaks")
	r.all(protocol.PhaseFailed)
	a := ask[api.Agent](r.world, "agent", "show", r.names[0])
	if err := a.Reported.Assignments[0].Error; err == nil || !strings.Contains(err.Text, "revoked") {
		r.t.Errorf("with a revoked release: %v", err)
	}
	r.explained("excluded", "revoked")
	r.must("plugin", "restore", "system-command@1.2.0")
	r.all(protocol.PhaseRunning)
	r.lines(2)
	notices := r.must("notices")
	for _, want := range []string{"yank", "revoke", "restore", "leaks"} {
		if !strings.Contains(notices, want) {
			r.t.Errorf("notices without %q:\n%s", want, notices)
		}
	}
}
