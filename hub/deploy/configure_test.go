package deploy

import (
	"os"
	"strings"
	"testing"

	"github.com/stavily/stavily/protocol"
)

// An agent that comes later, or loses a label, and has no value for a template is left out,
// with the reason that explain says (T-06).
func TestTemplateExcludes(t *testing.T) {
	text, err := os.ReadFile("testdata/templates.plan")
	if err != nil {
		t.Fatal(err)
	}
	in := read(t, "templates.plan", strings.Split(string(text), dashes)[0])
	in.Deployments = in.Deployments[:2] // a-filled, b-elsewhere
	for i := range in.Agents {
		delete(in.Agents[i].Labels, "zone")
		if in.Agents[i].Address.Agent == "gw-2" {
			in.Agents[i].Labels["zone"] = "up" // which the schema does not know
		}
	}
	want := map[protocol.AgentName]string{
		"gw-1": `step "trigger": with.zone: ${{ agent.labels.zone }}: no field "zone"`,
		"gw-2": `step "trigger": with.zone: value must be one of 'north', 'south'`,
	}
	for _, c := range Plan(in) {
		switch text, out := want[c.Address.Agent]; {
		case !out && len(c.Excluded) > 0, out && (len(c.Assignments) > 0 || len(c.Excluded) != 1):
			t.Errorf("%s: %d assignments, excluded %v", c.Address, len(c.Assignments), c.Excluded)
		case out && (c.Excluded[0].Error.Text != text || c.Excluded[0].Error.Code != protocol.CodeBadInput):
			t.Errorf("%s: %v, want %s", c.Address, c.Excluded[0].Error, text)
		}
		for _, a := range c.Assignments { // of the group, only who has the label takes the step
			if place := a.Actions[0].Place; place == nil || len(place.Members) != 1 || place.Members[0].Agent != "gw-2" {
				t.Errorf("%s: place %v", c.Address, place)
			}
		}
	}
	for i := range in.Agents {
		a := &in.Agents[i]
		rules := Explain(&in.Deployments[0], a, 0)
		last := rules[len(rules)-1]
		if text, out := want[a.Address.Agent]; out && (last.Name != "configuration" || last.OK || last.Text != text) {
			t.Errorf("explain %s: %+v", a.Address, last)
		}
	}
}
