package workflow

import (
	"strings"
	"testing"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/condition"
)

const templated = `workflow: tell
trigger:
  plugin: watch@1
  with: { zone: "${{ agent.labels.zone }}", n: 3 }
  at: { group: { role: gateway } }
actions:
  - name: describe
    plugin: read@1
    with:
      limit: ${{ event.value * 2.0 }}
      list: [a, "at ${{ agent.name }} in ${{ agent.site }}: ${{ event.value }}"]
outputs:
  - plugin: http-request@1
    with:
      headers: { authorization: "Bearer ${{ secret('api-key') }}" }
      text: |
        first
        ${{ results.describe.status }}
`

func parsed(t *testing.T, text string) *Workflow {
	t.Helper()
	w, err := Parse("w.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// What follows from the agent is filled in at once, the rest for each run.
func TestConfigureFillsInTheAgent(t *testing.T) {
	w := parsed(t, templated)
	labels := map[string]string{"zone": "north"}
	config, left, _, err := w.Trigger.Configure("store-1", "gw-1", labels)
	if m, ok := config.(map[string]any); err != nil || !ok || left != nil || m["zone"] != "north" || m["n"] != int64(3) {
		t.Errorf("trigger: %v, %v, %v", config, left, err)
	}
	config, left, _, err = w.Actions[0].Configure("store-1", "gw-1", labels)
	if err != nil || len(left.Holes) != 2 {
		t.Fatal(left, err)
	}
	f, err := condition.NewFilling(protocol.MustMarshal(config), protocol.MustMarshal(left))
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.Fill(condition.Vars{"event": protocol.MustMarshal(map[string]any{"value": 2.5})})
	want := protocol.MustMarshal(map[string]any{"limit": 5.0, "list": []any{"a", "at gw-1 in store-1: 2.5"}})
	if err != nil || string(got) != string(want) {
		t.Errorf("got %x, %v, want %x", got, err, want)
	}
	_, err = f.Fill(condition.Vars{"event": protocol.MustMarshal(map[string]any{"x": 2.5})})
	if want := "with.limit: ${{ event.value * 2.0 }}: no field \"value\""; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if s := w.Outputs[0]; len(s.Templates) != 2 || s.Templates[0].Secrets[0].Name != "api-key" {
		t.Errorf("output: %+v", s.Templates)
	}
	if _, _, bad, err := w.Trigger.Configure("store-1", "gw-1", nil); bad == nil || err.Error() != `no field "zone"` {
		t.Errorf("without its label: %v, %v", bad, err)
	}
}

func TestParseRefusesTemplates(t *testing.T) {
	for _, c := range []struct{ old, now, want string }{
		{"agent.labels.zone", "agent.lables.zone", "w.yaml:4:27: trigger.with.zone: undeclared reference to 'agent.lables'"},
		{"agent.labels.zone", "event.zone", "w.yaml:4:22: trigger.with.zone: event: a trigger has no event yet"},
		{"event.value * 2.0", "event.value *", "w.yaml:10:32: actions[0].with.limit: "},
		{"agent.site }}", "agent.site", "w.yaml:11:42: actions[0].with.list[1]: ${{ without }}"},
		{"agent.site", "[1]", "w.yaml:11:45: actions[0].with.list[1]: it gives list(int); with text around it"},
		{"results.describe.status", "results.descrbe.status", `w.yaml:18:20: outputs[0].with.text: results: "descrbe" is no action`},
		{"'api-key'", "agent.name", "w.yaml:15:51: outputs[0].with.headers.authorization: secret: want its name"},
		{"'api-key'", "'a b'", "secret name"},
		{"n: 3", `"${{ n }}": 3`, "a key is no template"},
		{"event.value * 2.0", "[1].map(event, event)", "would hide"},
		{"event.value * 2.0", "", "empty: want an expression"},
	} {
		_, err := Parse("w.yaml", []byte(strings.Replace(templated, c.old, c.now, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\ngot  %v\nwant %s", c.now, err, c.want)
		}
	}
}

// A brace or a quote of the expression does not end it.
func TestTemplateEnds(t *testing.T) {
	w := parsed(t, strings.Replace(templated, "${{ event.value * 2.0 }}", "|-\n        ${{"+` {'a': {'b': '}}'}}.a.b == "\"}}" ? 1 : 2 }}`, 1))
	config, left, _, err := w.Actions[0].Configure("s", "a", nil)
	if m, _ := config.(map[string]any); err != nil || len(left.Holes) != 1 || m["limit"] != int64(2) {
		t.Errorf("got %v, %v", config, err)
	}
}
