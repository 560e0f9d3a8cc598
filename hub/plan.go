package hub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/deploy"
	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/registry"
	"github.com/stavily/stavily/hub/rollout"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/hub/workflow"
	"github.com/stavily/stavily/protocol"
)

// read is a deployment as it was read from the books, and from which bytes.
type read struct {
	value []byte
	deploy.Deployment
}

// deployments reads all deployments back, by name.
func (h *Hub) deployments(tx *store.Tx) ([]deploy.Deployment, error) {
	entries, err := tx.Entries(bookDeployments)
	if err != nil {
		return nil, err
	}
	out := make([]deploy.Deployment, len(entries))
	held := make(map[string]read, len(entries))
	for i, e := range entries {
		if out[i], err = h.readDeployment(e); err != nil {
			return nil, err
		}
		held[e.Key] = h.read[e.Key]
	}
	h.read = held
	return out, nil
}

// readDeployment reads one deployment back. One that did not change since it was read last
// is not parsed again, nor are its releases opened.
func (h *Hub) readDeployment(e store.Entry) (deploy.Deployment, error) {
	if was, ok := h.read[e.Key]; ok && bytes.Equal(was.value, e.Value) {
		return was.Deployment, nil
	}
	var kept deployed
	if err := json.Unmarshal(e.Value, &kept); err != nil {
		return deploy.Deployment{}, fmt.Errorf("workflow %s: %w", e.Key, err)
	}
	d, err := h.openDeployment(&kept)
	if err != nil {
		return d, fmt.Errorf("workflow %s: %w", e.Key, err)
	}
	h.read[e.Key] = read{e.Value, d}
	return d, nil
}

// openDeployment makes a deployment of what the books keep, with what it is to replace.
func (h *Hub) openDeployment(kept *deployed) (d deploy.Deployment, err error) {
	if d.Workflow, err = workflow.Parse(kept.File, []byte(kept.Text)); err != nil {
		return d, err
	}
	for _, digest := range kept.Releases {
		r, err := h.release(digest)
		if err != nil {
			return d, err
		}
		d.Releases = append(d.Releases, r)
	}
	for i := range kept.Leaving {
		old, err := h.openDeployment(&kept.Leaving[i].Version)
		if err != nil {
			return d, err
		}
		d.Leaving = append(d.Leaving, &old)
	}
	switch phase := kept.Rollout.Phase; {
	case len(kept.Held) > 0:
		d.Takes = kept.holds
	case phase == "" || phase == rollout.Done:
		return d, nil
	default:
		d.Takes, d.Back = kept.Rollout.Has, phase == rollout.Returned
	}
	if kept.Base != nil {
		base, err := h.openDeployment(kept.Base)
		if err != nil {
			return d, err
		}
		d.Base = &base
	}
	return d, nil
}

// replan plans for the whole fleet and sends each agent whose content changed a new
// revision. It returns what it means for the agents that name concerns.
func (h *Hub) replan(tx *store.Tx, now time.Time, name protocol.WorkflowName) ([]api.AgentChange, error) {
	agents, err := fleet.List(tx)
	if err != nil {
		return nil, err
	}
	return h.plan(tx, now, agents, name)
}

// replanOne plans for an agent that is another than before, and for those whose steps it may
// run or who may run its steps. Where no step runs elsewhere, those are none.
func (h *Hub) replanOne(tx *store.Tx, now time.Time, name protocol.AgentName) error {
	agent, err := fleet.Get(tx, name)
	if err != nil {
		return err
	}
	_, err = h.plan(tx, now, []fleet.Agent{agent}, "")
	return err
}

// admitOne refuses what an operator changes on an agent when that would overfill it, or others
// whose steps it runs or has run.
func (h *Hub) admitOne(tx *store.Tx, name protocol.AgentName) error {
	agent, err := fleet.Get(tx, name)
	if err != nil {
		return err
	}
	agents, contents, err := h.contents(tx, []fleet.Agent{agent}, "")
	if err != nil {
		return err
	}
	plans := planned(agents)
	if deploy.AdmitAll(contents, plans, h.cfg.Overcommit) == nil {
		return nil
	}
	releases, err := h.releases(tx)
	if err != nil {
		return err
	}
	for i := range agents {
		if agents[i].Desired.Revision == 0 {
			continue
		}
		doc, err := h.document(tx, agents[i].Address.Agent)
		if err != nil {
			return err
		}
		was := deploy.DemandsOf(&doc, &plans[i], releases)
		contents = slices.DeleteFunc(contents, func(c deploy.Content) bool { // who is overfull may get less
			return c.Address == agents[i].Address && c.Demands().Within(was)
		})
	}
	return deploy.AdmitAll(contents, plans, h.cfg.Overcommit)
}

func (h *Hub) plan(tx *store.Tx, now time.Time, agents []fleet.Agent, name protocol.WorkflowName,
) ([]api.AgentChange, error) {
	agents, contents, err := h.contents(tx, agents, "")
	if err != nil {
		return nil, err
	}
	return h.reviseAll(tx, revision{now, agents, contents, name})
}

// contents works out what agents are to do, and with them those whose content may change with
// theirs: all of whom are returned. The workflow whole is taken as if its waves were done.
func (h *Hub) contents(tx *store.Tx, agents []fleet.Agent, whole protocol.WorkflowName,
) ([]fleet.Agent, []deploy.Content, error) {
	deployments, err := h.deployments(tx)
	if err != nil {
		return nil, nil, err
	}
	for i := range deployments {
		if deployments[i].Workflow.Name == whole {
			deployments[i].Takes = nil
		}
	}
	all, err := around(tx, deployments)
	if err != nil {
		return nil, nil, err
	}
	if all != nil {
		agents = withOthers(all, agents)
	}
	revoked, err := registry.Revocations(tx)
	if err != nil {
		return nil, nil, err
	}
	budgets, err := Budgets(tx)
	if err != nil {
		return nil, nil, err
	}
	plans, gone := planned(agents), map[protocol.Site][]protocol.Gone{}
	for i := range plans {
		plans[i].DataBytesPerDay = budgetOf(budgets, &agents[i])
		if !agents[i].Gateway {
			continue
		}
		site := agents[i].Address.Site
		if _, asked := gone[site]; !asked {
			if gone[site], err = fleet.Gone(tx, site); err != nil {
				return nil, nil, err
			}
		}
		plans[i].Gone = gone[site]
	}
	in := deploy.Input{Deployments: deployments, Agents: plans, Approve: h.cfg.Approve, Revoked: revoked}
	in.Settings.HeartbeatSeconds = uint32(h.cfg.Heartbeat / time.Second)
	in.Settings.MetricsSeconds = uint32(h.cfg.Metrics / time.Second)
	if h.cfg.Overcommit != deploy.DefaultOvercommit() {
		in.Settings.Overcommit = &h.cfg.Overcommit
	}
	return agents, deploy.Plan(in), nil
}

// revision is what a plan asks of agents.
type revision struct {
	now      time.Time
	agents   []fleet.Agent
	contents []deploy.Content
	name     protocol.WorkflowName // of what the answer tells
}

// reviseAll sends those whose content changed their new revision.
func (h *Hub) reviseAll(tx *store.Tx, in revision) ([]api.AgentChange, error) {
	agents, contents := in.agents, in.contents
	known := make(map[protocol.Address]*fleet.Agent, len(agents))
	for i := range agents {
		known[agents[i].Address] = &agents[i]
	}
	var out []api.AgentChange
	for i := range contents {
		change, err := h.revise(tx, in.now, known[contents[i].Address], &contents[i])
		if err != nil {
			return nil, err
		}
		concern(&change, &contents[i], in.name)
		if change.Changed || change.Assigned || change.Excluded != nil {
			out = append(out, change)
		}
	}
	return out, nil
}

// planned returns what a plan looks at of the agents.
func planned(known []fleet.Agent) []deploy.Agent {
	out := make([]deploy.Agent, len(known))
	for i := range known {
		out[i] = deploy.Agent{
			Cores: known[i].Device.Cores, StorageMB: known[i].Device.StorageMB,
			Address: known[i].Address, Labels: known[i].AllLabels(), Platform: known[i].Device.Platform,
			Kernel: known[i].Device.Kernel, MemoryMB: known[i].Device.MemoryMB, Native: known[i].Device.Native,
		}
	}
	return out
}

// concern notes what content says of the workflow name.
func concern(c *api.AgentChange, content *deploy.Content, name protocol.WorkflowName) {
	for _, a := range content.Assignments {
		c.Assigned = c.Assigned || a.Workflow == name
	}
	for _, x := range content.Excluded {
		if x.Workflow == name && c.Excluded == nil {
			c.Excluded = x.Error
		}
	}
}

// revise seals a new revision for one agent when what it is to do is not what the
// newest one says, keeps it and hints at it.
func (h *Hub) revise(tx *store.Tx, now time.Time, agent *fleet.Agent, content *deploy.Content,
) (api.AgentChange, error) {
	held := agent.Desired
	change := api.AgentChange{Agent: content.Address.Agent, Revision: held.Revision, Digest: held.Digest}
	if agent.Ahead() {
		change.Excluded = ahead(agent)
		return change, nil
	}
	asks := content.Digest()
	if held.Content == asks || (held.Revision == 0 && content.Empty()) {
		return change, nil
	}
	doc := content.Desired(agent.Epoch, held.Revision+1, now.UnixMilli())
	sealed, err := protocol.Seal(protocol.ContextDesired, h.keys.Desired, protocol.MustMarshal(doc))
	if err != nil {
		return change, err
	}
	if len(sealed) > protocol.DocumentMax {
		return change, protocol.Errorf(protocol.CodeLimit, "agent %s: a desired document of %d bytes, limit %d; "+
			"give it fewer workflows or smaller configurations", content.Address, len(sealed), protocol.DocumentMax)
	}
	agent.Desired = fleet.Desired{
		Revision: doc.Revision, Digest: protocol.DigestOf(sealed), Size: int64(len(sealed)), Issued: now,
		Content: asks,
	}
	if err := fleet.SetDesired(tx, content.Address.Agent, agent.Desired, sealed); err != nil {
		return change, err
	}
	change.Revision, change.Digest, change.Changed = doc.Revision, agent.Desired.Digest, true
	delete(h.standing, content.Address)
	h.hint(now, agent)
	return change, nil
}

// hint tells an agent which desired document is its newest.
func (h *Hub) hint(now time.Time, to *fleet.Agent) {
	d := to.Desired
	if d.Revision == 0 || to.Ahead() {
		return
	}
	h.send(to.Address, protocol.DownHint, protocol.Hint{
		Epoch: to.Epoch, Revision: d.Revision, Digest: d.Digest, Size: d.Size, Time: now.UnixMilli(),
		Proof: h.moment.proof(h, now),
	})
}
