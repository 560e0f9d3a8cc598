package workflow

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/hub/document"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/condition"
)

const guard = `workflow: overheat-guard
trigger:
  plugin: system-health@^1.2
  with: { metric: temperature.cpu, above: 80, for: 30s }
  at: { group: { role: gateway, env: production } }
actions:
  - name: restart-fan
    plugin: system-command@1
    with: { run: [systemctl, restart, fan] }
    retry: { times: 3, wait: 2s }
    timeout: 30s
    allow: { process.execute: [systemctl] }
outputs:
  - plugin: append-file@1.0.0
    when: error
catch-up: latest
`

func TestParseReadsEveryField(t *testing.T) {
	w, err := Parse("w.yaml", []byte(guard+"urgent: true\n"))
	if err != nil {
		t.Fatal(err)
	}
	if w.Name != "overheat-guard" || w.CatchUp != protocol.CatchUpLatest || !w.Urgent || len(w.StepsInOrder()) != 3 {
		t.Errorf("got %+v", w)
	}
	if got := w.Trigger.Target.String(); got != "group env=production,role=gateway" {
		t.Errorf("trigger at %s", got)
	}
	a := w.Actions[0]
	if a.Name != "restart-fan" || a.Plugin.String() != "system-command@1" || a.Target.Kind != Affected ||
		a.Retry != (protocol.Retry{Times: 3, WaitMS: 2000}) || a.Timeout != 30*time.Second ||
		len(a.Allow) != 1 || a.Allow[0].Scopes[0] != "systemctl" {
		t.Errorf("action %+v", a)
	}
	if o := w.Outputs[0]; o.Name != "append-file" || o.When != protocol.IfError {
		t.Errorf("output %+v", o)
	}
}

// Conditions are compiled, of the workflow and of each step.
func TestParseCompilesConditions(t *testing.T) {
	text := strings.NewReplacer("catch-up: latest", "if: event.value < 120", "timeout: 30s", "if: event.critical",
		"when: error", `if: results["restart-fan"].status == 'error'`).Replace(guard)
	w, err := Parse("w.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		raw  protocol.Raw
		want string
	}{
		{w.If, "event.value < 120"},
		{w.Actions[0].If, "event.critical"},
		{w.Outputs[0].If, `results["restart-fan"].status == 'error'`},
	} {
		if got, err := condition.Parse(c.raw); err != nil || got.String() != c.want {
			t.Errorf("got %v, %v, want %s", got, err, c.want)
		}
	}
}

// P-02: exactly one trigger, one or more actions and outputs, each error at its place.
func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{
			"no trigger", guard[strings.Index(guard, "trigger:"):strings.Index(guard, "actions:")], "",
			"w.yaml:1:1: trigger: missing",
		},
		{
			"no actions", guard[strings.Index(guard, "actions:"):strings.Index(guard, "outputs:")], "actions: []\n",
			"w.yaml:6:10: actions: 0 of them, want 1 to 32",
		},
		{"unknown key", "when: error", "wenn: error", `w.yaml:15:5: outputs[0].wenn: unknown key "wenn"; did you mean "when"?`},
		{"bad name", "workflow: overheat-guard", "workflow: Overheat", `w.yaml:1:11: workflow: workflow name "Overheat": character 1`},
		{"bad range", "system-command@1", "system-command@one", `w.yaml:8:13: actions[0].plugin: plugin "system-command": "one" is no version`},
		{
			"no plugin", "plugin: append-file@1.0.0\n    when: error", "when: error",
			"w.yaml:14:5: outputs[0].plugin: missing",
		},
		{"no at", "at: { group: { role: gateway, env: production } }", "timeout: 1s", "trigger.at: missing"},
		{
			"at affected", "at: { group: { role: gateway, env: production } }", "at: affected",
			"trigger.at: affected means",
		},
		{"on for trigger", "at: { group", "on: { group", `a trigger says where with "at"`},
		{
			"two targets", "{ group: { role: gateway, env: production } }", "{ agent: a, pool: b }",
			"w.yaml:5:7: trigger.at: 2 targets",
		},
		{"odd target", "{ group: { role: gateway, env: production } }", "somewhere", `"somewhere": want affected, hub`},
		{"bad agent", "{ group: { role: gateway, env: production } }", "{ agent: A }", `agent name "A"`},
		{"same name", "- plugin: append-file@1.0.0", "- plugin: append-file@1.0.0\n    name: restart-fan", `step name "restart-fan" is taken by actions[0]`},
		{"when on action", "timeout: 30s", "when: ok", "actions[0].when: only outputs have it"},
		{"bad when", "when: error", "when: maybe", `"maybe": want always, ok or error`},
		{"bad urgent", "catch-up: latest", "urgent: very", `w.yaml:16:9: urgent:`},
		{"bad catch-up", "catch-up: latest", "catch-up: some", `w.yaml:16:11: catch-up: "some": want none, latest or all`},
		{"bad capability", "process.execute: [", "process.exec: [", `"process.exec" is no capability`},
		{"retries", "times: 3", "times: 300", "w.yaml:10:21: actions[0].retry.times: 300, want at most 100"},
		{"bad condition", "catch-up: latest", "if: event.value < 3 && evnt.ok", "w.yaml:16:24: if: undeclared reference to 'evnt'"},
		{"bad condition in quotes", "catch-up: latest", `if: "evnt.ok"`, "w.yaml:16:6: if: undeclared reference to 'evnt'"},
		{"bad condition in lines", "catch-up: latest", "if: |\n  event.ok &&\n    1 + 'x' == 2", "w.yaml:18:7: if: found no matching overload"},
		{"bad condition in a fold", "catch-up: latest", "if: >\n  event.ok &&\n  evnt.ok", "evnt"},
		{"empty condition", "catch-up: latest", "if: ''", "w.yaml:16:5: if: "},
		{"condition of the trigger", "  at: { group", "  if: event.ok\n  at: { group", "trigger.if: there is no event yet"},
		{
			"condition on itself", "timeout: 30s", "if: results['restart-fan'].status == 'ok'",
			"w.yaml:11:16: actions[0].if: results: \"restart-fan\" is no action before this: there is none",
		},
		{
			"condition on nobody", "when: error", "if: results.restart.status == 'ok'",
			`w.yaml:15:16: outputs[0].if: results: "restart" is no action before this: want one of ["restart-fan"]`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(guard, c.old) {
				t.Fatalf("the sample lost %q", c.old)
			}
			_, err := Parse("w.yaml", []byte(strings.Replace(guard, c.old, c.new, 1)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestSelectorMatchesAllPairs(t *testing.T) {
	s := Selector{{"env", "prod"}, {"role", "gw"}}
	for _, c := range []struct {
		labels map[string]string
		want   bool
	}{
		{map[string]string{"env": "prod", "role": "gw", "x": "y"}, true},
		{map[string]string{"env": "prod"}, false},
		{map[string]string{"env": "prod", "role": "db"}, false},
		{nil, false},
	} {
		if got := s.Match(c.labels); got != c.want {
			t.Errorf("%v: got %v", c.labels, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(guard))
	f.Fuzz(func(t *testing.T, text []byte) {
		w, err := Parse("f.yaml", text)
		if err == nil && (w.Name.Check() != nil || len(w.Actions) == 0 || len(w.Outputs) == 0) {
			t.Errorf("accepted %q", text)
		}
	})
}

// Everything that is wrong with a workflow comes at once, in its order; what only follows from
// something else that is wrong does not.
func TestAllErrorsAtOnce(t *testing.T) {
	_, err := Parse("w.yaml", []byte(`workflow: Wrong Name
trigger: { plugin: t@1, at: { agent: a }, every: 5s }
if: event.value <
outputs:
  - { plugin: c@1, when: sometimes, with: { text: "${{ agent.nmae }", more: "${{ event." } }
  - { plugin: D@1, if: results.none.status == 1 }
limit: { runs: five, per: 1m }
once: { within: 0s }
rollout: { waves: [{ count: 1, percent: 2 }] }
`))
	var all document.Errors
	if !errors.As(err, &all) {
		t.Fatalf("one error: %v", err)
	}
	var got []string
	for _, e := range all {
		got = append(got, fmt.Sprintf("%d:%s", e.Line, e.Path))
	}
	want := []string{
		"1:actions", "1:workflow", "2:trigger.every", "3:if", "5:outputs[0].when", "5:outputs[0].with.text",
		"5:outputs[0].with.more", "6:outputs[1].plugin", "6:outputs[1].if", "7:limit.runs", "8:once.within",
		"9:rollout.waves[0]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\n%v", got, err)
	}
}
