package hub

import (
	"errors"
	"strings"
	"testing"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/document"
	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/registry"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

const workflowText = `workflow: watch
trigger:
  plugin: tick@1
  at: { group: { role: gateway } }
actions:
  - plugin: work@^1.0
    with: { n: 3 }
    allow: { process.execute: [uptime] }
outputs:
  - plugin: note
`

func (w *world) deploy(text string) *api.Deployed {
	w.Helper()
	d, err := w.hub.Deploy(w.now, "watch.yaml", []byte(text))
	check(w, err)
	return d
}

func (w *world) agent(name protocol.AgentName) fleet.Agent {
	w.Helper()
	return look(w, func(tx *store.Tx) (fleet.Agent, error) { return fleet.Get(tx, name) })
}

// hints returns who was told of a newer document since, in the order sent.
func (w *world) hints() (names []string) {
	w.Helper()
	for _, m := range w.sent.take() {
		at, kind, err := protocol.ParseTopic(m.Topic)
		check(w, err)
		if kind != protocol.DownHint {
			continue
		}
		var h protocol.Hint
		check(w, protocol.Unmarshal(m.Payload, &h))
		if a := w.agent(at.Agent); h.Digest != a.Desired.Digest || h.Revision != a.Desired.Revision || h.Epoch != a.Epoch || !m.Retained {
			w.Errorf("hint %+v for %+v", h, a.Desired)
		}
		names = append(names, string(at.Agent))
	}
	return names
}

// O-03, U-04: a workflow goes to the agents it names, sealed, and to nobody else.
func TestDeploy(t *testing.T) {
	w := newWorld(t)
	w.builtThree()
	w.enrol("gw-1", map[string]string{"role": "gateway"})
	w.enrol("office", nil)
	w.sent.take()
	d := w.deploy(workflowText)
	if got := strings.Join(d.Releases, " "); got != "tick@1.0.0 work@1.0.0 note@1.0.0" {
		t.Errorf("resolved %s", got)
	}
	if len(d.Agents) != 1 || d.Agents[0].Agent != "gw-1" || d.Agents[0].Revision != 1 || !d.Agents[0].Changed || !d.Agents[0].Assigned {
		t.Errorf("changes %+v", d.Agents)
	}
	if got := w.hints(); len(got) != 1 || got[0] != "gw-1" {
		t.Errorf("told %v", got)
	}
	doc := w.desired("gw-1")
	if doc.Address.Agent != "gw-1" || doc.Epoch != 1 || doc.Revision != 1 || len(doc.Releases) != 3 || len(doc.Assignments) != 1 {
		t.Fatalf("desired %+v", doc)
	}
	grants := doc.Assignments[0].Actions[0].Grants // S-04
	if len(grants) != 2 || grants[1].Capability != protocol.CapProcess || grants[1].Scopes[0] != "uptime" {
		t.Errorf("grants %+v", grants)
	}
	// The same again changes nothing and tells nobody.
	if again := w.deploy(workflowText); again.Agents[0].Changed || again.Agents[0].Revision != 1 || len(w.hints()) != 0 {
		t.Errorf("again: %+v", again.Agents)
	}
	// Another configuration is another revision.
	if next := w.deploy(strings.Replace(workflowText, "n: 3", "n: 4", 1)); next.Agents[0].Revision != 2 || len(w.hints()) != 1 {
		t.Errorf("changed: %+v", next.Agents)
	}
	if all := look(w, w.hub.Workflows); len(all) != 1 || all[0].Workflow != "watch" || !strings.Contains(all[0].Text, "n: 4") {
		t.Errorf("workflows %+v", all)
	}
	// A newer release changes nothing by itself: what was deployed stays.
	w.repository(plugin{name: "work", version: "1.1.0"})
	if _, err := w.release(w.registered("work"), "1.1.0"); err != nil {
		t.Fatal(err)
	}
	w.enrol("gw-2", map[string]string{"role": "gateway"})
	if doc := w.desired("gw-2"); len(doc.Releases) != 3 || w.agent("gw-1").Desired.Revision != 2 {
		t.Errorf("gw-2 %+v", doc)
	}
}

// Each refusal has its place in the text, and leaves what was deployed as it was.
func TestDeployRefuses(t *testing.T) {
	w := newWorld(t)
	w.builtThree()
	w.enrol("gw-1", map[string]string{"role": "gateway"})
	w.deploy(workflowText)
	w.sent.take()
	for _, c := range []struct{ name, old, new, want string }{
		{"unknown key", "outputs:", "output:", `watch.yaml:9:1: output: unknown key "output"; did you mean "outputs"?`},
		{"unknown agent", "{ group: { role: gateway } }", "{ agent: gw-9 }", "watch.yaml:4:7: trigger.at: agent gw-9: no such agent; known are gw-1"},
		{"unknown plugin", "tick@1", "tock@1", `watch.yaml:3:11: trigger.plugin: plugin "tock": not registered`},
		{"no such version", "tick@1", "tick@2", `watch.yaml:3:11: trigger.plugin: "tick@2": no published release fits; there are 1.0.0`},
		{
			"does not fit its slot", "plugin: note", "plugin: work\n    name: again",
			"watch.yaml:10:13: outputs[0].plugin: plugin work@1.0.0 is of type action; here goes a plugin of type output",
		},
		{"bad configuration", "n: 3", "n: three", "watch.yaml:7:16: actions[0].with.n: got string, want integer"},
		{"unknown setting", "n: 3", "m: 3", "watch.yaml:7:11: actions[0].with: additional properties 'm' not allowed"},
		{
			"not asked for", "process.execute: [uptime]", "process.execute: [reboot]",
			"watch.yaml:8:31: actions[0].allow.process.execute: plugin work@1.0.0 does not ask for process.execute:reboot",
		},
		{"a tab", "  plugin: tick@1", "\tplugin: tick@1", "watch.yaml:3:1: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := w.hub.Deploy(w.now, "watch.yaml", []byte(strings.Replace(workflowText, c.old, c.new, 1)))
			refused(t, err, protocol.CodeBadInput, c.want)
			var place *document.Error
			if !errors.As(err, &place) || place.Caret() == "" {
				t.Errorf("no place in %#v", err)
			}
			if a := w.agent("gw-1"); a.Desired.Revision != 1 || len(w.sent.take()) != 0 {
				t.Errorf("something changed: %+v", a.Desired)
			}
			if all := look(w, w.hub.Workflows); len(all) != 1 || all[0].Text != workflowText {
				t.Errorf("kept %+v", all)
			}
		})
	}
}

func TestUndeploy(t *testing.T) {
	w := newWorld(t)
	w.three()
	w.enrol("gw-1", map[string]string{"role": "gateway"})
	w.deploy(workflowText)
	w.sent.take()
	changes, err := w.hub.Undeploy(w.now, "watch")
	check(t, err)
	if len(changes) != 1 || !changes[0].Changed || changes[0].Assigned || changes[0].Revision != 2 {
		t.Errorf("changes %+v", changes)
	}
	if doc := w.desired("gw-1"); len(doc.Assignments)+len(doc.Releases) != 0 || len(w.hints()) != 1 {
		t.Errorf("desired %+v", doc)
	}
	_, err = w.hub.Undeploy(w.now, "watch")
	refused(t, err, protocol.CodeNotFound, `workflow "watch": not deployed`)
}

// T-03: membership of a group is live: by the operator's label, by the device's own.
func TestLabelsMoveWork(t *testing.T) {
	w := newWorld(t)
	w.three()
	d := w.enrol("gw-1", nil)
	w.enrol("other", nil)
	if got := w.deploy(workflowText); len(got.Agents) != 0 {
		t.Errorf("went to %+v", got.Agents)
	}
	w.sent.take()
	a, err := w.hub.Label(w.now, "gw-1", map[string]string{"role": "gateway"})
	if got := w.hints(); err != nil || a.Desired.Revision != 1 || len(got) != 1 || got[0] != "gw-1" {
		t.Errorf("%+v, told %v, %v", a.Desired, got, err)
	}
	if a, err = w.hub.Label(w.now, "gw-1", map[string]string{"rack": "7"}); err != nil || a.Desired.Revision != 1 || len(w.hints()) != 0 {
		t.Errorf("another label: %+v, %v", a.Desired, err)
	}
	if a, err = w.hub.Label(w.now, "gw-1", map[string]string{"role": ""}); err != nil || a.Desired.Revision != 2 {
		t.Errorf("taken away: %+v, %v", a.Desired, err)
	}
	_, err = w.hub.Label(w.now, "nobody", map[string]string{"a": "b"})
	refused(t, err, protocol.CodeNotFound, `agent "nobody"`)
	_, err = w.hub.Label(w.now, "gw-1", map[string]string{"role": "gateway", "a b": "c"})
	refused(t, err, protocol.CodeBadName, `label "a b"`)
	if a := w.agent("gw-1"); a.Labels["role"] != "" || a.Desired.Revision != 2 {
		t.Errorf("half of the labels: %+v", a.Labels)
	}
	w.sent.take()
	report := protocol.Reported{
		Epoch: 1, Boot: 1, Sequence: 1, Device: protocol.Device{Platform: "linux/amd64", Labels: map[string]string{"role": "gateway"}},
	}
	if !w.says(d.at, protocol.UpReported, protocol.MustMarshal(report)) || w.agent("gw-1").Desired.Revision != 3 {
		t.Errorf("the device's own label: %+v", w.agent("gw-1").Desired)
	}
	if got := w.hints(); len(got) == 0 {
		t.Error("nobody was told")
	}
}

// T-01: a removed agent is forgotten; its name comes back for another device, empty.
func TestRemove(t *testing.T) {
	w := newWorld(t)
	w.three()
	old := w.enrol("gw-1", map[string]string{"role": "gateway"})
	w.deploy(workflowText)
	gone, err := w.hub.Remove(w.now, "gw-1")
	if err != nil || gone.Address != old.at || len(w.agents()) != 0 {
		t.Errorf("%+v, %v", gone, err)
	}
	_, err = w.hub.Remove(w.now, "gw-1")
	refused(t, err, protocol.CodeNotFound, `agent "gw-1"`)
	w.enrol("gw-1", nil)
	if a := w.agent("gw-1"); a.Epoch != 2 || a.Desired.Revision != 0 || len(a.AllLabels()) != 0 {
		t.Errorf("the next one inherits %+v", a)
	}
}

func (w *world) registered(name protocol.PluginName) registry.Plugin {
	w.Helper()
	return look(w, func(tx *store.Tx) (registry.Plugin, error) { return registry.GetPlugin(tx, name) })
}
