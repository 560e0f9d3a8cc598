package hub

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/deploy"
	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/registry"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/hub/workflow"
	"github.com/stavily/stavily/protocol"
)

// errDryRun ends a deployment that was to be looked at only: nothing of it is kept.
var errDryRun = errors.New("dry run")

// DryRun is Deploy without a deployment.
func (h *Hub) DryRun(now time.Time, file string, text []byte) (out *api.Deployed, err error) {
	return h.DeployAs(now, api.Deploy{File: file, Text: string(text), DryRun: true})
}

func (h *Hub) dryRun(now time.Time, w *workflow.Workflow, in api.Deploy) (out *api.Deployed, err error) {
	w.Rollout = nil // what it comes to when all have it
	err = h.Operate(func(tx *store.Tx) error {
		held, err := h.held(tx)
		if err != nil {
			return err
		}
		if out, err = h.deploy(tx, now, w, in); err != nil {
			return err
		}
		if err := h.costs(tx, held, out.Agents); err != nil {
			return err
		}
		if err := h.noteLoads(tx, out); err != nil {
			return err
		}
		return errDryRun
	})
	if !errors.Is(err, errDryRun) {
		return nil, err
	}
	return out, nil
}

// held returns the releases that each agent was sent last.
func (h *Hub) held(tx *store.Tx) (map[protocol.AgentName][]protocol.ReleaseRef, error) {
	agents, err := fleet.List(tx)
	out := map[protocol.AgentName][]protocol.ReleaseRef{}
	for i := range agents {
		if agents[i].Desired.Revision == 0 {
			continue
		}
		doc, err := h.document(tx, agents[i].Address.Agent)
		if err != nil {
			return nil, err
		}
		out[agents[i].Address.Agent] = doc.Releases
	}
	return out, err
}

// document opens the newest desired document of an agent.
func (h *Hub) document(tx *store.Tx, name protocol.AgentName) (doc protocol.Desired, err error) {
	sealed, err := fleet.Document(tx, name)
	if err != nil {
		return doc, err
	}
	payload, err := protocol.Open(protocol.ContextDesired, h.keys.Ring, sealed)
	if err != nil {
		return doc, err
	}
	return doc, protocol.UnmarshalExact(payload, &doc)
}

// costs says of each agent that is sent a new document what it would load and need.
func (h *Hub) costs(tx *store.Tx, held map[protocol.AgentName][]protocol.ReleaseRef, out []api.AgentChange,
) error {
	releases, err := h.releases(tx)
	if err != nil {
		return err
	}
	for i := range out {
		c := &out[i]
		if !c.Changed {
			continue
		}
		agent, err := fleet.Get(tx, c.Agent)
		if err != nil {
			return err
		}
		doc, err := h.document(tx, c.Agent)
		if err != nil {
			return err
		}
		of := planned([]fleet.Agent{agent})[0]
		sum := deploy.DemandsOf(&doc, &of, releases)
		c.Cost = &api.Cost{
			DownloadB: agent.Desired.Size, MemoryMB: sum.MemoryMB, DeviceMB: int64(agent.Device.MemoryMB),
			Sums: sum.Text(of.Device(), h.cfg.Overcommit),
		}
		for _, ref := range doc.Releases {
			r := releases[ref.Digest]
			if r == nil || slices.Contains(held[c.Agent], ref) {
				continue
			}
			if choice, err := deploy.Choose(r, &of); err == nil {
				c.Cost.DownloadB += ref.Size + r.SizeFor(choice.Platform)
			}
		}
	}
	return nil
}

// releases returns what is deployed, by digest.
func (h *Hub) releases(tx *store.Tx) (map[protocol.Digest]*deploy.Release, error) {
	deployments, err := h.deployments(tx)
	if err != nil {
		return nil, err
	}
	out := map[protocol.Digest]*deploy.Release{}
	for i := range deployments {
		for _, d := range append(deployments[i].Versions(), &deployments[i]) {
			for k := range d.Releases {
				out[d.Releases[k].Ref.Digest] = &d.Releases[k]
			}
		}
	}
	return out, nil
}

// Explain answers why an agent runs a workflow or does not: the rules of the plan, and
// how far the agent itself is.
func (h *Hub) Explain(tx *store.Tx, name protocol.WorkflowName, of protocol.AgentName,
) (*api.Explained, error) {
	agent, err := fleet.Get(tx, of)
	if err != nil {
		return nil, err
	}
	deployments, err := h.deployments(tx)
	if err != nil {
		return nil, err
	}
	if _, err := around(tx, deployments); err != nil {
		return nil, err
	}
	a := planned([]fleet.Agent{agent})[0]
	before := 0
	for i := range deployments {
		d := &deployments[i]
		if d.Workflow.Name != name {
			if held := d.For(of); held != nil && held.Concerns(&a, before) {
				before++
			}
			continue
		}
		rules := deploy.Explain(d, &a, before)
		if rules[len(rules)-1].OK {
			bad, err := revoked(tx, d, &a)
			if err != nil {
				return nil, err
			}
			rules = append(rules, bad...)
		}
		out := &api.Explained{Workflow: name, Agent: of, Placed: rules[len(rules)-1].OK, Rules: rules}
		if out.Placed {
			sums, err := h.sums(tx, &agent)
			if err != nil {
				return nil, err
			}
			out.Rules = append(append(out.Rules, sums...), progress(&agent, name)...)
		}
		return out, nil
	}
	return nil, protocol.Errorf(protocol.CodeNotFound, "workflow %q: not deployed", name)
}

// revoked says which release of a deployment is not to run any more, on an agent on which it is
// placed.
func revoked(tx *store.Tx, d *deploy.Deployment, a *deploy.Agent) ([]deploy.Rule, error) {
	list, err := registry.Revocations(tx)
	if err != nil {
		return nil, err
	}
	for i, s := range d.Workflow.StepsInOrder() {
		if ref := d.Releases[i].Ref; slices.Contains(list, ref.Digest) && d.RunsOn(i, a) {
			return []deploy.Rule{protocol.RuleRevoked(s.Name, ref)}, nil
		}
	}
	return nil, nil
}

// sums says whether the device has what the agent's newest document asks of it.
func (h *Hub) sums(tx *store.Tx, agent *fleet.Agent) ([]deploy.Rule, error) {
	if agent.Desired.Revision == 0 {
		return nil, nil
	}
	doc, err := h.document(tx, agent.Address.Agent)
	if err != nil {
		return nil, err
	}
	releases, err := h.releases(tx)
	if err != nil {
		return nil, err
	}
	of := planned([]fleet.Agent{*agent})[0]
	sum := deploy.DemandsOf(&doc, &of, releases)
	return []deploy.Rule{protocol.RuleAdmission(sum, of.Device(), h.cfg.Overcommit)}, nil
}

// progress says how far an agent is with a workflow that it is to run.
func progress(agent *fleet.Agent, name protocol.WorkflowName) []deploy.Rule {
	r := agent.Reported
	if r == nil {
		return []deploy.Rule{{Name: "reported", Text: "the agent has not reported yet"}}
	}
	if r.Refused != nil && r.Refused.Revision == agent.Desired.Revision {
		return []deploy.Rule{protocol.RuleRefused(r.Refused)}
	}
	line := "connected"
	if !agent.Presence.Online {
		line = "away since " + agent.LastSeen.UTC().Format(time.RFC3339)
	}
	rules := []deploy.Rule{{
		Name: "taken", OK: r.Digest == agent.Desired.Digest,
		Text: fmt.Sprintf("revision %d is wanted, the agent holds %d, %s", agent.Desired.Revision, r.Revision,
			line),
	}}
	for i := range r.Assignments {
		if s := &r.Assignments[i]; s.Workflow == name {
			return append(rules, protocol.RuleRunning(s))
		}
	}
	return append(rules, deploy.Rule{Name: "running", Text: "the agent does not speak of it yet"})
}
