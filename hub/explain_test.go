package hub

import (
	"slices"
	"strings"
	"testing"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// A dry run says what a deployment would mean and what it costs, and leaves no trace.
func TestDryRun(t *testing.T) {
	w := newWorld(t)
	w.builtThree()
	w.enrol("gw-1", map[string]string{"role": "gateway"})
	w.enrol("office", nil)
	w.sent.take()
	dry, err := w.hub.DryRun(w.now, "watch.yaml", []byte(workflowText))
	check(t, err)
	if len(dry.Agents) != 1 || dry.Agents[0].Agent != "gw-1" || dry.Agents[0].Revision != 1 || dry.Agents[0].Cost == nil {
		t.Fatalf("dry run: %+v", dry.Agents)
	}
	cost := dry.Agents[0].Cost
	if cost.DownloadB < 3*1_000_000 || cost.MemoryMB != 3*32 {
		t.Errorf("cost %+v of three Go plugins with 32 MB each", cost)
	}
	if got := dry.Agents[0].Configs; len(got) != 1 || got[0].Step != "work" || string(got[0].Config) != `{"n":3}` {
		t.Errorf("configurations %+v", got)
	}
	if len(w.hints()) != 0 || len(look(w, w.hub.Workflows)) != 0 || w.agent("gw-1").Desired.Revision != 0 {
		t.Error("the dry run left something behind")
	}
	w.deploy(workflowText)
	w.sent.take()
	// What the agent was sent before costs nothing again.
	dry, err = w.hub.DryRun(w.now, "watch.yaml", []byte(strings.Replace(workflowText, "n: 3", "n: 4", 1)))
	check(t, err)
	if len(dry.Agents) != 1 || dry.Agents[0].Revision != 2 || dry.Agents[0].Cost.DownloadB > 10_000 {
		t.Errorf("second dry run: %+v", dry.Agents)
	}
	if len(w.hints()) != 0 || w.agent("gw-1").Desired.Revision != 1 || !strings.Contains(look(w, w.hub.Workflows)[0].Text, "n: 3") {
		t.Error("the second dry run left something behind")
	}
	// What follows from the agent is filled in, what follows from a run is shown as it was written.
	dry, err = w.hub.DryRun(w.now, "watch.yaml", []byte(strings.Replace(workflowText, "n: 3", `n: "${{ event.n }}"`, 1)))
	check(t, err)
	if got := dry.Agents[0].Configs; string(got[0].Config) != `{"n":"${{ event.n }}"}` {
		t.Errorf("configurations %s", got[0].Config)
	}
	_, err = w.hub.DryRun(w.now, "watch.yaml", []byte(strings.Replace(workflowText, "n: 3", `n: "${{ int(agent.labels.none) }}"`, 1)))
	if want := `watch.yaml:7:17: actions[0].with.n: on agent `; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("without its label: %v, want %s", err, want)
	}
	if _, err := w.hub.DryRun(w.now, "w.yaml", []byte("workflow: x")); err == nil || !strings.HasPrefix(err.Error(), "w.yaml:1:1: trigger: missing") {
		t.Errorf("bad text: %v", err)
	}
}

// T-06: for any workflow and agent the first rule that fails, or how far the agent is.
func TestExplain(t *testing.T) {
	w := newWorld(t)
	w.three()
	w.enrol("gw-1", map[string]string{"role": "gateway"})
	w.enrol("office", map[string]string{"role": "desk"})
	w.enrol("bare", nil)
	w.deploy(workflowText)
	explain := func(workflow protocol.WorkflowName, agent protocol.AgentName) (*api.Explained, error) {
		var out *api.Explained
		err := w.hub.Operate(func(tx *store.Tx) (err error) {
			out, err = w.hub.Explain(tx, workflow, agent)
			return err
		})
		return out, err
	}
	for _, c := range []struct {
		agent  protocol.AgentName
		placed bool
		last   string
	}{
		{"office", false, "target: label role=gateway is wanted, it is desk"},
		{"bare", false, "target: label role=gateway is wanted, there is no role"},
		{"gw-1", true, "reported: the agent has not reported yet"},
	} {
		out, err := explain("watch", c.agent)
		check(t, err)
		last := out.Rules[len(out.Rules)-1]
		if got := last.Name + ": " + last.Text; out.Placed != c.placed || last.OK || got != c.last {
			t.Errorf("%s: placed %v, %s", c.agent, out.Placed, got)
		}
	}
	addr := w.agent("gw-1").Address
	report := protocol.Reported{
		Epoch: 1, Boot: 1, Sequence: 1, Digest: w.agent("gw-1").Desired.Digest, Revision: 1,
		Device: protocol.Device{Platform: "linux-arm64", Labels: map[string]string{"role": "gateway"}},
		Assignments: []protocol.AssignmentStatus{{
			Workflow: "watch", Phase: protocol.PhaseFailed,
			Error: protocol.AsError(protocol.Errorf(protocol.CodeMemory, "too small")),
		}},
	}
	w.says(addr, protocol.UpReported, protocol.MustMarshal(report))
	out, err := explain("watch", "gw-1")
	check(t, err)
	if last := out.Rules[len(out.Rules)-1]; last.Name != "running" || last.OK || !strings.Contains(last.Text, "failed: memory: too small") {
		t.Errorf("failed on the agent: %+v", out.Rules)
	}
	urgent := strings.Replace(workflowText, "workflow: watch", "workflow: watch\nurgent: true", 1)
	dry, err := w.hub.DryRun(w.now, "watch.yaml", []byte(urgent))
	check(t, err)
	if !dry.Urgent || slices.Contains(out.Rules, protocol.RuleUrgent()) {
		t.Errorf("urgent and not yet deployed: dry run %+v, explained %+v", dry, out.Rules)
	}
	w.deploy(urgent)
	out, err = explain("watch", "gw-1")
	check(t, err)
	if !out.Placed || !slices.Contains(out.Rules, protocol.RuleUrgent()) {
		t.Errorf("urgent: %+v", out.Rules)
	}
	_, err = explain("none", "gw-1")
	refused(t, err, protocol.CodeNotFound, `workflow "none": not deployed`)
	_, err = explain("watch", "none")
	refused(t, err, protocol.CodeNotFound, `agent "none"`)
}
