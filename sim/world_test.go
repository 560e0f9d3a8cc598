package sim

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/sim/report"
	"github.com/stavily/stavily/sim/scenario"
)

// parse reads a scenario that a test has as text.
func parse(t testing.TB, text string) *scenario.Scenario {
	t.Helper()
	s, err := scenario.Parse("test.yaml", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// simulate runs a scenario twice, wants the same both times, and returns the result.
func simulate(t testing.TB, text string, o Options) *report.Result {
	t.Helper()
	first := once(t, text, o)
	if again := once(t, text, o); again.Trace != first.Trace {
		t.Errorf("the same seed gave %s and then %s", first.Trace, again.Trace)
	}
	return first
}

func once(t testing.TB, text string, o Options) *report.Result {
	t.Helper()
	return runOnce(t, parse(t, text), o)
}

func runOnce(t testing.TB, s *scenario.Scenario, o Options) *report.Result {
	t.Helper()
	if os.Getenv("SIM_LOG") != "" {
		f, err := os.Create(os.Getenv("SIM_LOG"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		o.Log = f
	}
	r, err := Run(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// held wants a result in which nothing broke, and tells what did.
func held(t testing.TB, r *report.Result) {
	t.Helper()
	for _, v := range r.Violations[:min(len(r.Violations), 10)] {
		t.Errorf("%s: at +%s %s: %s (%s); %s", v.Invariant, time.Duration(v.AtMS)*time.Millisecond, v.Agent, v.Text, v.Cause, v.Repeat)
	}
	for _, e := range r.Expects {
		if !e.Held {
			t.Errorf("line %d: %s %s: at +%s %s: %s", e.Line, e.Kind, e.Text, time.Duration(e.AtMS)*time.Millisecond, e.Agent, e.Detail)
		}
	}
	for _, p := range r.Pending[:min(len(r.Pending), 10)] {
		t.Errorf("pending: %s: %s", p.Agent, p.Why)
	}
	for _, i := range r.Invariants {
		if i.Checked == 0 {
			t.Logf("%s was never looked at", i.Name)
		}
	}
	t.Logf("%s: %d agents, %s virtual in %s (%.0fx), %d events, %+v", r.Scenario, r.Agents,
		time.Duration(r.LastMS)*time.Millisecond, r.Wall.Round(time.Millisecond),
		float64(r.LastMS)/float64(r.Wall.Milliseconds()+1), r.Events, r.Totals)
}

const calm = `stavily: sim/v1
name: calm
duration: 1h
fleet:
  - group: shop
    count: 3
    class: linux-arm64
    labels: {env: production}
    link: {latency: 20ms±5ms}
plugins:
  timer: {model: timer}
  pass: {model: pass, takes: 2ms±1ms}
  sink: {model: sink, takes: 1ms}
deploy:
  - at: 10s
    workflow:
      workflow: beat
      trigger: {plugin: timer@1, with: {every: 60s}, at: {group: {env: production}}}
      actions: [{plugin: pass@1}]
      outputs: [{plugin: sink@1}]
`

func TestCalm(t *testing.T) {
	r := simulate(t, calm, Options{})
	held(t, r)
	if r.Totals.Fired < 150 || r.Totals.Ended < r.Totals.Fired-3 || r.Totals.Delivered < r.Totals.Fired-3 {
		t.Errorf("totals: %+v", r.Totals)
	}
}

func TestSeedsDiffer(t *testing.T) {
	a, b := once(t, calm, Options{Seed: 1}), once(t, calm, Options{Seed: 2})
	if a.Trace == b.Trace {
		t.Error("two seeds gave one trace")
	}
}

func TestLog(t *testing.T) {
	var out bytes.Buffer
	with := once(t, calm, Options{Log: &out, Until: 5 * time.Minute})
	without := once(t, calm, Options{Until: 5 * time.Minute})
	if with.Trace != without.Trace {
		t.Error("to be read changes what happens")
	}
	if !strings.Contains(out.String(), "shop/shop-0 connect") {
		t.Errorf("log: %.300s", out.String())
	}
}

func TestReportTellsWhatHappened(t *testing.T) {
	text := strings.Replace(calm, "deploy:", `faults:
  - {at: 20m, for: 10m, what: partition, where: "number == 0"}
  - {at: 40m, what: hostile, where: "number == 1"}
deploy:`, 1)
	r := once(t, text, Options{})
	held(t, r)
	if r.Totals.Refused == 0 {
		t.Error("noise was not counted")
	}
	away := 0
	for _, s := range r.Samples {
		if len(s.Sites) != 1 {
			t.Fatalf("sites %q, want one cell", s.Sites)
		}
		if s.Online == 2 {
			away++
		}
	}
	if away == 0 || len(r.Faults) != 2 || r.Faults[0].Names[0] != "shop-0" {
		t.Errorf("%d samples with one away, faults %+v", away, r.Faults)
	}
	if len(r.Deployments) != 1 || r.Deployments[0].Reached != 3 || r.Deployments[0].AllMS < 0 {
		t.Errorf("deployments %+v", r.Deployments)
	}
	if g := r.Groups[0]; g.Agents != 3 || g.Converged != 3 || g.P99MS <= 0 || len(g.Sites) != 1 || len(r.Slowest) == 0 ||
		len(r.Slowest[0].Steps) != 3 || r.Slowest[0].Steps[1].Step != "sink" || r.Slowest[0].Steps[2].Step != "hub" {
		t.Errorf("group %+v", g)
	}
}
