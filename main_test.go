package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stavily/stavily/hub"
	"github.com/stavily/stavily/hub/api"
)

// asStavily makes the test's own binary be the program, so that hub and command line are
// processes of their own without a second build.
const asStavily = "STAVILY_TEST_MAIN"

func TestMain(m *testing.M) {
	if code, is := hub.Child(os.Args[1:], os.Stdin, os.Stdout); is {
		os.Exit(code)
	}
	if os.Getenv(asStavily) != "" {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// world is a hub and agents as real processes, and an operator at the command line.
type world struct {
	t      *testing.T
	dir    string
	edge   []string // the agent's program, perhaps behind an emulator
	listen string   // host:port, the same over restarts
	flags  []string // of the hub, besides
	around []string // what starts the hub in a net of its own; none: this one
	hub    *part
	agents map[string]*part
}

// part is a process that may be ended and started again.
type part struct {
	name string
	args []string
	env  []string
	log  string
	cmd  *exec.Cmd
	done chan struct{}
}

func newWorld(t *testing.T, edge ...string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), edge: edge, agents: map[string]*part{}}
	w.hub = &part{name: "hub", log: w.path("hub.log"), env: []string{asStavily + "=1"}}
	t.Cleanup(func() {
		for _, p := range append([]*part{w.hub}, w.parts()...) {
			p.kill()
		}
		if t.Failed() {
			for _, p := range append([]*part{w.hub}, w.parts()...) {
				t.Logf("--- %s\n%s", p.name, p.tail())
			}
		}
	})
	return w
}

func (w *world) parts() []*part {
	var out []*part
	for _, p := range w.agents {
		out = append(out, p)
	}
	return out
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// startHub starts the hub, at the address that it had before.
func (w *world) startHub() {
	w.t.Helper()
	if w.listen == "" {
		w.listen = lastingAddress(w.t)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = w.dir
	}
	w.hub.args = append(slices.Clone(w.around),
		os.Args[0], "hub", "--home", w.path("home"), "--listen", w.listen, "--cache", filepath.Join(cache, "stavily"))
	w.hub.args = append(w.hub.args, w.flags...)
	out := w.hub.start(w.t)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		w.t.Fatalf("hub: %v\n%s", err, w.hub.tail())
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	rest, ok := strings.CutPrefix(line, "hub ready: link ")
	if !ok {
		w.t.Fatalf("hub says %q", line)
	}
	w.listen, _, _ = strings.Cut(rest, ",")
}

// lastingAddress returns an address that stays free while the hub is away: its port is
// below those from which the system serves who asks for any, such as an agent that dials.
func lastingAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000)))
		if err != nil {
			continue
		}
		defer ln.Close()
		return ln.Addr().String()
	}
	t.Fatal("no free port from 20000 to 31999")
	return ""
}

func (p *part) start(t *testing.T) io.Reader {
	t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Stderr = log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	p.cmd.Stdout = in
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.done = make(chan struct{})
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	return out
}

// end signals the process and waits for its end.
func (p *part) end(s syscall.Signal) {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	_ = p.cmd.Process.Signal(s)
	<-p.done
}

func (p *part) kill() { p.end(syscall.SIGKILL) }

func (p *part) tail() string {
	text, _ := os.ReadFile(p.log)
	return string(text[max(0, len(text)-4000):])
}

// cli runs the command line as an operator would and returns what it printed.
func (w *world) cli(args ...string) (stdout, stderr string, code int) {
	w.t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), asStavily+"=1", "STAVILY_HOME="+w.path("home"))
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func (w *world) must(args ...string) string {
	w.t.Helper()
	out, errs, code := w.cli(args...)
	if code != 0 {
		w.t.Fatalf("stavily %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// ask runs a command with --output json.
func ask[T any](w *world, args ...string) (out T) {
	w.t.Helper()
	text := w.must(append(args, "--output", "json")...)
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		w.t.Fatalf("stavily %s: %v\n%s", strings.Join(args, " "), err, text)
	}
	return out
}

// patience bounds what an emulated agent on a very busy machine may take.
const patience = 6 * time.Minute

// until polls a condition.
func (w *world) until(what string, done func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

func (w *world) join(name string, more ...string) {
	w.t.Helper()
	token := ask[api.Token](w, "agent", "token", "--site", "lab")
	p := &part{name: name, log: w.path(name + ".log")}
	p.args = append(slices.Clone(w.edge), "--hub", "mqtts://"+w.listen, "--join", token.Token, "--name", name,
		"--state", w.path(name), "--label", "role=gateway", "--allow", "process.execute:uname")
	p.args = append(p.args, more...)
	w.agents[name] = p
	_ = p.start(w.t)
	w.until(name+" online", func() bool {
		return slices.ContainsFunc(ask[[]api.Agent](w, "agent", "list"), func(a api.Agent) bool {
			return string(a.Address.Agent) == name && a.Presence.Online && a.Reported != nil
		})
	})
	// From now on it starts as a device does: from its own disk, without the token.
	p.args = append(slices.Clone(w.edge), "--hub", "mqtts://"+w.listen, "--state", w.path(name),
		"--label", "role=gateway", "--allow", "process.execute:uname")
}

var firstParty = []string{"system-health", "system-command", "append-file", "schedule"}

// publish makes a repository of each first-party plugin by git itself, with a tag that
// ssh-keygen signed, and takes it through the hub.
func (w *world) publish() {
	w.t.Helper()
	key := w.path("author")
	w.run(w.dir, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "author", "-f", key)
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		w.t.Fatal(err)
	}
	signers := w.path("signers")
	if err := os.WriteFile(signers, append([]byte("author@example.com "), public...), 0o600); err != nil {
		w.t.Fatal(err)
	}
	for _, name := range firstParty {
		repo := w.path(filepath.Join("repositories", name))
		if err := os.CopyFS(repo, os.DirFS(filepath.Join("plugins", name))); err != nil {
			w.t.Fatal(err)
		}
		w.git(repo, "init", "-q", "-b", "main")
		w.git(repo, "add", "-A")
		w.git(repo, "commit", "-q", "-m", "first")
		w.git(repo, "-c", "gpg.format=ssh", "-c", "user.signingkey="+key, "tag", "-s", "-m", "first", "v1.0.0")
		w.must("plugin", "add", repo, "--allowed-signers", signers)
		w.must("plugin", "publish", name+"@1.0.0")
	}
}

func (w *world) git(dir string, args ...string) {
	w.t.Helper()
	w.run(dir, "git", append([]string{"-c", "user.name=author", "-c", "user.email=author@example.com"},
		args...)...)
}

func (w *world) run(dir, program string, args ...string) {
	w.t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
}

const watch = `workflow: watch-memory
trigger:
  plugin: system-health@1
  with: { metric: memory.percent, above: 0, every: %[1]s, repeat: %[1]s }
  at: { group: { role: gateway } }
actions:
  - name: describe
    plugin: system-command@1
    with: { run: [uname, -srm] }
    allow: { process.execute: [uname] }
    retry: { times: 5, wait: 200ms }
outputs:
  - plugin: append-file@1
    retry: { times: 5, wait: 200ms }
`

func (w *world) deploy(every string) {
	w.t.Helper()
	file := w.path("watch.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, watch, every), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.must("deploy", file)
}

// delivered returns how often each run's line is in an agent's file.
func (w *world) delivered(agent string) map[string]int {
	w.t.Helper()
	lines := map[string]int{}
	text, err := os.ReadFile(filepath.Join(w.path(agent), "data", "append-file", "runs.jsonl"))
	if err != nil {
		return lines
	}
	for line := range strings.Lines(string(text)) {
		var l struct {
			Run string `json:"run"`
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			w.t.Errorf("%s: line %q: %v", agent, line, err)
		}
		lines[l.Run]++
	}
	return lines
}

func (w *world) runs() []api.Run {
	w.t.Helper()
	return ask[[]api.Run](w, "run", "list", "--limit", "1000")
}

func buildEdge(t *testing.T, env ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "stavily-edge")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "./edge/stavily-edge")
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, text)
	}
	return out
}

// TestEndToEnd is the main job with accidents: agents are killed at random moments, the
// hub is stopped for a while and killed once, and in the end every event that fired is
// at the hub as a run, exactly once by its ID, with its output delivered (U-06).
func TestEndToEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes and builds plugins")
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t, buildEdge(t))
	w.startHub()
	names := []string{"gateway-1", "gateway-2"}
	for _, name := range names {
		w.join(name)
	}
	w.publish()
	w.deploy("200ms")
	for _, name := range names {
		w.until("lines of "+name, func() bool { return len(w.delivered(name)) >= 3 })
	}
	w.rehearse()
	for round := range 8 {
		w.accident(r, names, round)
	}
	w.settle(names)
	w.compare(names)
}

// rehearse runs a change of the workflow on a simulation of this very fleet, and looks
// that the fleet noticed nothing.
func (w *world) rehearse() {
	w.t.Helper()
	before := w.must("agent", "list", "--output", "json")
	conditions := w.path("conditions.yaml")
	err := os.WriteFile(conditions, []byte(`stavily: sim/v1
name: conditions
seed: 5
duration: 3h
plugins: {tick: {model: timer}, work: {model: pass}, note: {model: sink}}
fleet: [{group: any, count: 1, link: {profile: lte}}]
faults: [{what: power-cut, at: 1h, where: "sample(1)"}]
deploy:
  - {at: 5m, workflow: {workflow: any, trigger: {plugin: tick@1, at: {agent: any-0}}, actions: [{plugin: work@1}], outputs: [{plugin: note@1}]}}
expect: [{never: "alerts.lost > 0"}]
`), 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	change := w.path("change.yaml")
	if err := os.WriteFile(change, fmt.Appendf(nil, watch, "30s"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	out := w.must("deploy", change, "--simulate", conditions)
	if !strings.Contains(out, "2 agents") || !strings.Contains(out, "seed 5") {
		w.t.Errorf("rehearsal: %s", out)
	}
	if after := w.must("agent", "list", "--output", "json"); strings.Count(after, `"revision"`) != strings.Count(before, `"revision"`) {
		w.t.Errorf("the rehearsal changed the fleet: %s", after)
	}
}

// accident kills or stops something at a moment that the seed chooses, and starts it
// again.
func (w *world) accident(r *rand.Rand, names []string, round int) {
	pause := func(most time.Duration) {
		timer := time.NewTimer(time.Duration(r.Int64N(int64(most))))
		<-timer.C
	}
	pause(2 * time.Second)
	switch round {
	case 3: // the hub goes for a while; the agents go on by themselves
		before := len(w.delivered(names[0]))
		w.hub.end(syscall.SIGTERM)
		w.until("runs without a hub", func() bool { return len(w.delivered(names[0])) > before+3 })
		w.startHub()
	case 5: // the hub loses power
		w.hub.kill()
		w.startHub()
	default:
		p := w.agents[names[r.IntN(len(names))]]
		p.kill()
		pause(500 * time.Millisecond)
		_ = p.start(w.t)
	}
}

// settle ends the workflow and waits until the agents have said everything.
func (w *world) settle(names []string) {
	w.must("workflow", "remove", "watch-memory")
	for _, name := range names {
		w.until(name+" to settle", func() bool {
			a := ask[api.Agent](w, "agent", "show", name)
			return a.Reported != nil && a.Presence.Online && len(a.Reported.Assignments) == 0 &&
				a.Reported.Revision == a.Desired.Revision
		})
	}
	w.until("all runs at the hub, and their ends", func() bool {
		there := map[string]bool{}
		for _, r := range w.runs() {
			there[r.ID] = r.Status != "running"
		}
		for _, name := range names {
			for id := range w.delivered(name) {
				if !there[id] {
					return false
				}
			}
		}
		return !slices.ContainsFunc(w.runs(), func(r api.Run) bool { return r.Status == "running" })
	})
}

// compare holds the hub's runs to what the agents' outputs wrote.
func (w *world) compare(names []string) {
	w.t.Helper()
	atHub, ended := map[string]int{}, 0 // ended: by the end of their workflow
	for _, r := range w.runs() {
		atHub[r.ID]++
		if r.Status == "ok" {
			continue
		}
		shown := w.must("run", "show", r.ID)
		if r.Status == "dropped" && strings.Contains(shown, "workflow is no longer assigned here") {
			ended++
			continue
		}
		w.t.Errorf("run %s on %s is %s\n%s", r.ID, r.Agent, r.Status, shown)
	}
	total, again := 0, 0
	for _, name := range names {
		for id, times := range w.delivered(name) {
			total++
			again += times - 1
			if atHub[id] != 1 {
				w.t.Errorf("run %s of %s was delivered and is at the hub %d times", id, name, atHub[id])
			}
		}
	}
	if len(atHub) < total || len(atHub) > total+ended || total < 20 {
		w.t.Errorf("%d runs at the hub, %d delivered, %d ended with their workflow; want as many, 20 or more", len(atHub),
			total, ended)
	}
	w.t.Logf("%d runs, each at the hub once; %d outputs repeated after a kill", total, again)
}

// TestUnderQEMU runs a real ARM agent against a real hub. STAVILY_QEMU names the
// emulator; .ci/run installs and sets it.
func TestUnderQEMU(t *testing.T) {
	qemu := os.Getenv("STAVILY_QEMU")
	if qemu == "" || testing.Short() {
		t.Skip("STAVILY_QEMU is not set to a qemu-arm-static")
	}
	w := newWorld(t, qemu, buildEdge(t, "GOOS=linux", "GOARCH=arm", "GOARM=7"))
	w.startHub()
	w.join("pi-1")
	w.publish()
	w.deploy("2s")
	w.until("a run on ARM", func() bool {
		return slices.ContainsFunc(w.runs(), func(r api.Run) bool { return r.Status == "ok" })
	})
	a := ask[api.Agent](w, "agent", "show", "pi-1")
	if a.Device.Platform != "linux-armv7" || a.Device.Engine != "interpreter" {
		t.Errorf("the agent says it is %s, %s", a.Device.Platform, a.Device.Engine)
	}
}

// TestBadInputByHand is what an operator sees of mistakes: exit codes and hints.
func TestBadInputByHand(t *testing.T) {
	w := newWorld(t)
	if _, errs, code := w.cli("agent", "list"); code != 3 || !strings.Contains(errs, "hint: start it with") {
		t.Errorf("no hub: exit %d, %s", code, errs)
	}
	w.startHub()
	typo := w.path("typo.yaml")
	if err := os.WriteFile(typo, []byte("workflow: x\ntriger: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"plugin", "publish", "x"}, 2, "want NAME@VERSION"},
		{[]string{"agent", "lost"}, 2, "unknown command"},
		{[]string{"agent", "list", "--wide"}, 2, "unknown flag"},
		{[]string{"plugin", "add", w.dir, "--allowed-signers", typo}, 1, "stavily: "},
		{[]string{"plugin", "publish", "ghost@1.0.0"}, 1, "ghost"},
		{[]string{"deploy", typo}, 1, "typo.yaml:2:1: triger: unknown key"},
		{[]string{"agent", "show", "ghost"}, 1, `hint: see what there is`},
		{[]string{"agent", "token", "--site", "Not A Site"}, 1, `site "Not A Site"`},
	} {
		_, errs, code := w.cli(c.args...)
		if code != c.code || !strings.Contains(errs, c.want) {
			t.Errorf("%v: exit %d, want %d with %q\n%s", c.args, code, c.code, c.want, errs)
		}
	}
}
