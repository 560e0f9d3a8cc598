package sim

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stavily/stavily/sim/report"
	"github.com/stavily/stavily/sim/scenario"
)

// small is a scenario that fails for one of its two faults in one of its two groups.
const small = `stavily: sim/v1
name: small
seed: 3
duration: 40m
settle: 5m
sample: 1m
fleet:
  - {group: a, count: 3, labels: {env: production}}
  - {group: b, count: 2, labels: {env: test}}
plugins:
  timer: {model: timer}
  pass: {model: pass}
  sink: {model: sink}
deploy:
  - at: 1m
    workflow:
      workflow: beat
      trigger: {plugin: timer@1, with: {every: 5m}, at: {group: {env: production}}}
      actions: [{plugin: pass@1}]
      outputs: [{plugin: sink@1}]
faults:
  - {at: 10m, for: 5m, what: partition, where: "group == 'a' && sample(1)"}
  - {at: 12m, for: 2m, what: partition, where: "group == 'b'"}
expect:
  - always: "time.since_start < 2m || agent.group == 'b' || agent.online"
`

// within runs the commands in a folder of their own that holds small.yaml.
func within(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("small.yaml", []byte(small), 0o644); err != nil {
		t.Fatal(err)
	}
}

// command runs "stavily sim" with args and returns what it prints.
func command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := Command(nil, nil)
	var out bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func exitOf(err error) int {
	var own interface{ CommandExit() int }
	switch {
	case err == nil:
		return 0
	case errors.As(err, &own):
		return own.CommandExit()
	}
	return 1
}

func TestExitCodes(t *testing.T) {
	within(t)
	held := strings.Replace(small, "agent.online", "!agent.online || agent.online", 1)
	wrong := strings.NewReplacer("count: 3", "cuont: 3", "at: 10m", "at: 50m").Replace(small)
	workflow := strings.Replace(small, "with: {every: 5m},", "wit: {every: 5m},", 1)
	for name, text := range map[string]string{
		"held.yaml": held, "wrong.yaml": wrong, "workflow.yaml": workflow,
		"nobody.yaml": strings.Replace(small, "at: {group: {env: production}}", "at: {group: {env: nowhere}}", 1),
		"late.yaml":   strings.NewReplacer("at: 1m\n", "at: 39m\n", "timer@1", "tmier@1").Replace(small),
		"badly.yaml":  strings.Replace(held, "every: 5m", "every: soon", 1),
		"fails.yaml":  strings.Replace(held, "{model: pass}", "{model: pass, fails: 50%}", 1),
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args string
		code int
		want []string
	}{
		{"run held.yaml", 0, []string{"small  seed 3", "held      exit 0"}},
		{"run small.yaml", 99, []string{"FAIL      expect[0] on line 25", "again: stavily sim run small.yaml --seed 3", "exit 99"}},
		{"run small.yaml --until 9m", 0, []string{"held"}},
		{"run wrong.yaml", 2, []string{
			`wrong.yaml:8:16: fleet[0].cuont: unknown key "cuont"; did you mean "count"?`, "wrong.yaml:22:10: faults[0].at: 50m is after the end",
			"    8 |   - {group: a, cuont: 3",
		}},
		{"run workflow.yaml", 2, nil},
		{"run small.yaml --until soon", 2, nil},
		{"run none.yaml", 2, nil},
		{"run", 2, nil},
		{"run small.yaml --count 0", 2, nil},
		{"run small.yaml --hub localhost:1", 2, nil},
		{"run small.yaml --html small.yaml/out.html", 1, nil},
		{"run nobody.yaml", 2, nil},
		{"run late.yaml", 2, nil},
		{"shrink small.yaml --runs 0", 2, nil},
		// what runs badly and breaks nothing is told
		{"run badly.yaml", 0, []string{
			`note      workflow beat does not run on 3 agents, such as a-0: every "soon": want a duration above 0`, "note      no trigger fired",
		}},
		{"run fails.yaml", 0, []string{"note      step pass of beat failed ", "does not work this time"}},
		{"run held.yaml --seeds 5", 0, []string{"5 of 5 seeds held"}},
		{"run small.yaml --seeds 2 --until 13m", 99, []string{"seed 3  expect[0]", "again: stavily sim run small.yaml --seed 4 --until 13m", "0 of 2 seeds held"}},
		{"run held.yaml --seed 9 --count 1 --until 5m", 0, []string{"seed 9", "2 agents"}},
	} {
		out, err := command(t, strings.Fields(c.args)...)
		if got := exitOf(err); got != c.code {
			t.Errorf("%s: exit %d, want %d: %v\n%s", c.args, got, c.code, err, out)
		}
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: want %q in\n%s", c.args, want, out)
			}
		}
	}
	_, err := command(t, "run", "nobody.yaml")
	if err == nil || !strings.Contains(err.Error(), "nobody.yaml:15:5: deploy[0]: workflow beat is for none of the 5 agents") {
		t.Errorf("a workflow for nobody: %v", err)
	}
	_, err = command(t, "run", "workflow.yaml")
	if err == nil || !strings.Contains(err.Error(), "workflow.yaml:18:") {
		t.Errorf("the workflow's error has no place in the scenario: %v", err)
	}
}

func TestRunWritesEveryForm(t *testing.T) {
	within(t)
	if _, err := command(t, "run", "small.yaml", "--json", "out/r.json", "--junit", "out/j.xml", "--html", "out/p.html",
		"--trace", "out/t.txt"); exitOf(err) != 99 {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"out/r.json": `"scenario": "small"`, "out/j.xml": "<testsuites", "out/p.html": "<svg", "out/t.txt": "a/a-0 connect",
	} {
		if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
	text, err := os.ReadFile("out/r.json")
	if err != nil {
		t.Fatal(err)
	}
	r, err := report.ReadJSON(text)
	if err != nil || r.Seed != 3 || len(r.Expects) != 1 || r.Expects[0].Held {
		t.Errorf("%v: %+v", err, r)
	}
	out, err := command(t, "replay", "out/r.json", "--to", "11m", "--agent", "a-1")
	for _, want := range []string{
		"desired   revision 1 of epoch 1", `beat/trigger runs timer@1.0.0 with {"every":"5m"}`, "message   +", "d/chunk, ",
		`u/records, `, `"workflow":"beat"`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	if err != nil || !strings.Contains(out, "a-1 of site a, group a, linux-amd64") || !strings.Contains(out, "beat: running") {
		t.Errorf("%v\n%s", err, out)
	}
}

// What is left is one agent, one fault, and it fails still.
func TestShrink(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a dozen simulations")
	}
	within(t)
	out, err := command(t, "shrink", "small.yaml")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s, err := scenario.Load("small-small.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Agents()) != 1 || len(s.Faults) != 1 || len(s.Deploys) != 0 || len(s.Fleet) != 1 {
		t.Errorf("%s\n%s", s.Text(), out)
	}
	if _, err := command(t, "run", "small-small.yaml"); exitOf(err) != 99 {
		t.Errorf("the smaller one does not fail: %v", err)
	}
	if _, err := command(t, "shrink", "small.yaml", "--seed", "5", "--write", filepath.Join(t.TempDir(), "x", "y.yaml"), "--runs", "1"); err == nil {
		t.Error("written into a folder that is not there")
	}
}

// What is written for a beginner is right and holds.
func TestNewRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("simulates a day")
	}
	t.Chdir(t.TempDir())
	if out, err := command(t, "new", "cold"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := command(t, "run", "cold.yaml"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := command(t, "new", "cold"); err == nil {
		t.Error("written over")
	}
	if _, err := command(t, "new", "Bad Name"); exitOf(err) != 2 {
		t.Errorf("a bad name: %v", err)
	}
	if out, err := command(t, "new", "--schema"); err != nil || !strings.Contains(out, "json-schema.org") {
		t.Errorf("%v\n%.200s", err, out)
	}
}

func TestShow(t *testing.T) {
	within(t)
	out, err := command(t, "show", "small.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"5 agents  40m", "a-0 .. a-2", "+1m   deploy beat", "partition for 5m                 1 of 5 agents: group == 'a' && sample(1)", "all converge within 5m",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("want %q in\n%s", want, out)
		}
	}
	if out, err := command(t, "show", "--figures"); err != nil || !strings.Contains(out, "fleet.active('workflow')") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestSeedRange(t *testing.T) {
	for _, c := range []struct {
		text        string
		from, count uint64
		bad         bool
	}{
		{text: "1", from: 7, count: 1},
		{text: "500", from: 7, count: 500},
		{text: "3..3", from: 3, count: 1},
		{text: "1..500", from: 1, count: 500},
		{text: "0", bad: true},
		{text: "0..2", bad: true},
		{text: "5..4", bad: true},
		{text: "1..", bad: true},
		{text: "-1..3", bad: true},
		{text: "many", bad: true},
	} {
		from, count, err := seedRange(c.text, 7)
		if c.bad != (err != nil) || !c.bad && (from != c.from || count != c.count) {
			t.Errorf("%q is %d seeds from %d on, %v", c.text, count, from, err)
		}
	}
}

// A sweep that fails shrinks the first seed that does, where that is asked for.
func TestSweepShrinks(t *testing.T) {
	within(t)
	out, err := command(t, "run", "small.yaml", "--seeds", "3..4", "--shrink")
	if exitOf(err) != exitBroken || !strings.Contains(out, "0 of 2 seeds held") {
		t.Errorf("ended with %v:\n%s", err, out)
	}
	s, err := scenario.Load("small-small.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Faults) != 1 || len(s.Agents()) > 2 || s.Seed != 3 {
		t.Errorf("shrunk to %d faults, %d agents, seed %d:\n%s", len(s.Faults), len(s.Agents()), s.Seed, s.Text())
	}
}
