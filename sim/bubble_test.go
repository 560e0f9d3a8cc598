package sim

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stavily/stavily/sim/report"
	"github.com/stavily/stavily/sim/scenario"
)

// pair is a scenario of a few agents for levels at which the hub and the agents run by
// themselves. At midnight the device's own clock jumps back.
const pair = `stavily: sim/v1
name: pair
seed: 5
level: bubble
start: 2026-05-01
duration: 50m
settle: 10m
sample: 1m
fleet:
  - {group: a, count: 6, site: "s-{i/3}", labels: {env: production}, link: {latency: 40ms±10ms, loss: 1%}}
plugins:
  timer: {model: timer}
  pass: {model: pass, takes: 2ms}
  sink: {model: sink}
deploy:
  - at: 1m
    workflow:
      workflow: beat
      trigger: {plugin: timer@1, with: {every: 1m}, at: {group: {env: production}}}
      actions: [{plugin: pass@1}]
      outputs: [{plugin: sink@1}]
FAULTS
expect:
  - eventually: {cond: "fleet.active('beat') >= 100%", within: 5m}
  - eventually: "runs.ended > 200"
  - never: "alerts.lost > 0 || alerts.duplicated > 0"
`

// inBubble runs a scenario in virtual time.
func inBubble(t *testing.T, text string) (r *report.Result) {
	t.Helper()
	s, err := scenario.Parse("bubble.yaml", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return bubble(t, s)
}

// bubble runs a scenario as the command does, and says what did not hold.
func bubble(t *testing.T, s *scenario.Scenario) *report.Result {
	t.Helper()
	f := &runFlags{bubble: func(run func(context.Context)) {
		synctest.Test(t, func(t *testing.T) { run(t.Context()) })
	}}
	r, err := f.simulate(t.Context(), s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range r.Violations {
		t.Errorf("%s at %d ms: %s: %s", v.Invariant, v.AtMS, v.Agent, v.Text)
	}
	for _, e := range r.Expects {
		if !e.Held {
			t.Errorf("%s %s: %s", e.Kind, e.Text, e.Detail)
		}
	}
	return r
}

// The real hub, broker, links and loops bear what the model bears, in virtual time.
func TestBubble(t *testing.T) {
	faults := `faults:
  - {at: 4m, for: 5m, what: partition, where: "sample(2)"}
  - {at: 5m, for: 5m, what: partition, way: up, where: "sample(2)"}
  - {at: 12m, for: 30s, what: power-cut, torn_write: true, where: "sample(2)"}
  - {at: 13m30s, what: crash, where: "sample(2)"}
  - {at: 14m, what: hub-restart, for: 20s}
  - {at: 17m, what: hub-crash, for: 2m}
  - {at: 21m, what: clock-jump, by: -2h, where: "sample(1)"}
  - {at: 22m, for: 3m, what: disk-full, where: "sample(1)"}
  - {at: 22m, for: 3m, what: disk-slow, factor: 4x, where: "sample(1)"}
  - {at: 23m, for: 3m, what: certificate-end, where: "sample(2)"}
  - {at: 24m, what: hostile, where: "sample(2)"}
  - {at: 26m, for: 5m, what: corrupt, where: "sample(1)"}
  - {at: 28m, what: reconnect-storm, for: 10s}
  - {at: 30m, for: 2m, what: bad-release, plugin: pass}
  - {at: 31m, for: 2m, what: slow-cpu, factor: 8x, where: "sample(1)"}`
	r := inBubble(t, strings.Replace(pair, "FAULTS", faults, 1))
	if len(r.Faults) != 15 || r.Totals.Failed == 0 || r.Totals.BytesUp < 50_000 || r.Groups[0].Restarts < 3 {
		t.Errorf("faults %d, failed %d, bytes %d, restarts %d", len(r.Faults), r.Totals.Failed, r.Totals.BytesUp,
			r.Groups[0].Restarts)
	}
	if r.Wall <= 0 || r.Wall > time.Hour {
		t.Errorf("took %v by the clock on the wall", r.Wall)
	}
}

// The real hub and its broker pass on what agents say to each other of a pool's steps, while
// members lose power and the hub is away.
func TestBubblePool(t *testing.T) {
	r := inBubble(t, `stavily: sim/v1
name: pool
level: bubble
start: 2026-05-01
duration: 50m
settle: 30m
fleet:
  - {group: gateways, count: 3, labels: {kind: gateway}, link: {latency: 40ms±10ms}}
  - {group: computers, count: 3, site: office, labels: {pool: office}}
plugins:
  timer: {model: timer}
  work: {model: pass, takes: 2s}
  sink: {model: sink}
deploy:
  - at: 1m
    workflow:
      workflow: watch
      trigger: {plugin: timer@1, with: {every: 2m}, at: {group: {kind: gateway}}}
      actions: [{plugin: work@1, on: {pool: office, pick: least-loaded, within: 10m}, timeout: 20s}]
      outputs: [{plugin: sink@1}]
faults:
  - {at: 10m, for: 2m, what: power-cut, torn_write: true, where: "group == 'computers' && sample(2)"}
  - {at: 20m, for: 1m, what: power-cut, where: "group == 'gateways' && sample(1)"}
  - {at: 30m, for: 3m, what: hub-crash}
expect:
  - eventually: "runs.ended > 60"
  - never: "alerts.lost > 0 || alerts.duplicated > 0 || runs.failed > 0"
`)
	if r.Totals.Fired != r.Totals.Ended {
		t.Errorf("%d runs fired, %d ended", r.Totals.Fired, r.Totals.Ended)
	}
}

// A level that breaks is seen to: a hub that never comes back leaves all pending.
func TestBubblePending(t *testing.T) {
	s, err := scenario.Parse("pair.yaml", []byte(strings.NewReplacer("FAULTS", "", "50m", "10m").Replace(pair)), nil)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w, err := newWorld(t.Context(), s, Options{halt: new(atomic.Bool)})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.runTo(int64(2 * time.Minute)); err != nil {
			t.Error(err)
		}
		w.refresh()
		w.alone(func() {
			if p := w.pending(true); len(p) != 0 {
				t.Errorf("two minutes after the start: %v", p)
			}
			w.devices[0].body.wires.Shut(1)
		})
		if err := w.runTo(int64(3 * time.Minute)); err != nil {
			t.Error(err)
		}
		w.alone(func() {
			if p := w.pending(true); len(p) != 1 || p[0].Agent != "a-0" || p[0].Why != "its line is down" {
				t.Errorf("with a line cut: %v", p)
			}
		})
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
}

// A program without a bubble hands the command to the one that has it, as it was given.
func TestElsewhere(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	text := strings.Replace(pair, "FAULTS", "", 1)
	if err := os.WriteFile("pair.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	if out, err := command(t, "run", "pair.yaml"); exitOf(err) != exitBadScenario || !strings.Contains(fmt.Sprint(err), "go build -o stavily-sim") {
		t.Errorf("without the program: %v\n%s", err, out)
	}
	if err := os.WriteFile(sister, []byte("#!/bin/sh\necho \"$@\"\nexit 99\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := command(t, "run", "pair.yaml", "--seed", "7", "--until=20m")
	if want := "sim run --seed=7 --until=20m pair.yaml\n"; out != want || exitOf(err) != exitBroken {
		t.Errorf("got %q, %v, want %q", out, err, want)
	}
}

// What a level cannot do is refused at its place, before anything runs.
func TestLevelRefuses(t *testing.T) {
	wire := strings.NewReplacer("FAULTS", "", "loss: 1%", "duplicate: 1%, mtu: 1400").Replace(pair)
	_, err := scenario.Parse("pair.yaml", []byte(wire), nil)
	if err == nil || !strings.Contains(err.Error(), ":10:108: fleet[0].link.duplicate: not at level bubble") ||
		!strings.Contains(err.Error(), "link.mtu: not at level bubble") {
		t.Errorf("got %v", err)
	}
	long := strings.NewReplacer("FAULTS", "", "50m", "301d").Replace(pair)
	if _, err = scenario.Parse("pair.yaml", []byte(long), nil); err == nil ||
		!strings.Contains(err.Error(), "pair.yaml:6:11: duration: at level bubble a scenario lasts 300d at most") {
		t.Errorf("got %v", err)
	}
}

// A hub whose books were put back from before its second workflow knows nothing of it: the agents
// keep it until somebody says that the hub is right, and then have it no more.
func TestBubbleRestoresBooks(t *testing.T) {
	text := strings.NewReplacer("FAULTS", `  - at: 10m
    workflow:
      workflow: second
      trigger: {plugin: timer@1, with: {every: 1m}, at: {group: {env: production}}}
      actions: [{plugin: pass@1}]
      outputs: [{plugin: sink@1}]
faults: [{at: 20m, what: hub-restore, by: 15m, for: 1m}]`, "expect:", `expect:
  - always: "time.since_start < 12m || time.since_start > 30m || fleet.active('second') == 100%"
  - after_faults: {cond: "fleet.active('second') == 0% && agent.revision > 2", within: 15m}`).Replace(pair)
	if r := inBubble(t, text); len(r.Violations) > 0 || r.Faults[0].What != "hub-restore" {
		t.Errorf("%v, %v", r.Violations, r.Faults)
	}
}
