package hub

import (
	"testing"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/protocol"
)

// A data budget is for an agent, a label, a site or everybody; the closest counts, and whom
// it concerns is sent it.
func TestBudget(t *testing.T) {
	w := newWorld(t)
	w.enrol("gw-1", map[string]string{"line": "lte"})
	w.enrol("gw-2", map[string]string{"line": "lte"})
	w.enrol("gw-3", nil)
	limit := func(name protocol.AgentName) uint64 {
		t.Helper()
		return w.desired(name).Settings.DataBytesPerDay
	}
	set := func(to api.Target, bytes uint64, want ...protocol.AgentName) {
		t.Helper()
		out, err := w.hub.SetBudget(w.now, api.Budget{Target: to, BytesPerDay: bytes})
		check(t, err)
		var got []protocol.AgentName
		for _, a := range out.Agents {
			got = append(got, a.Agent)
		}
		if len(got) != len(want) {
			t.Fatalf("budget for %s was sent to %v, want %v", to, got, want)
		}
	}
	set(api.Target{}, 9000, "gw-1", "gw-2", "gw-3")
	set(api.Target{Label: "line=lte"}, 5000, "gw-1", "gw-2")
	set(api.Target{Agent: "gw-2"}, 7000, "gw-2")
	for name, want := range map[protocol.AgentName]uint64{"gw-1": 5000, "gw-2": 7000, "gw-3": 9000} {
		if got := limit(name); got != want {
			t.Errorf("%s has %d bytes a day, want %d", name, got, want)
		}
	}
	set(api.Target{}, 0, "gw-3")
	if got := limit("gw-3"); got != 0 {
		t.Errorf("gw-3 has %d bytes a day after the budget went", got)
	}
	list := look(w, Budgets)
	if len(list) != 2 || list[0].Target.Agent != "gw-2" || list[1].BytesPerDay != 5000 {
		t.Errorf("budgets %+v", list)
	}
	for _, c := range []struct {
		name string
		b    api.Budget
		code protocol.Code
	}{
		{"two targets", api.Budget{Target: api.Target{Agent: "a", Site: "b"}, BytesPerDay: 1}, protocol.CodeBadInput},
		{"bad label", api.Budget{Target: api.Target{Label: "x"}, BytesPerDay: 1}, protocol.CodeBadInput},
		{"none to take away", api.Budget{Target: api.Target{Site: "b"}}, protocol.CodeNotFound},
	} {
		if _, err := w.hub.SetBudget(w.now, c.b); protocol.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", c.name, err, c.code)
		}
	}
}
