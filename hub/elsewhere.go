package hub

import (
	"slices"

	"github.com/stavily/stavily/hub/deploy"
	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// elsewhere reports whether a step of the deployments may run on another agent than the
// workflow's own. Then a plan for one agent follows from the others, and a change of one may
// mean something for all.
func elsewhere(tx *store.Tx, deployments []deploy.Deployment) (bool, error) {
	if len(deployments) == 0 {
		return false, nil
	}
	paired, err := fleet.HasLabel(tx, deploy.LabelActionAgent)
	if paired || err != nil {
		return paired, err
	}
	return slices.ContainsFunc(deployments, func(d deploy.Deployment) bool {
		return d.Elsewhere(nil)
	}), nil
}

// around gives every deployment the fleet around it, where that matters, and returns it; nil
// where it does not.
func around(tx *store.Tx, deployments []deploy.Deployment) ([]fleet.Agent, error) {
	there, err := elsewhere(tx, deployments)
	if err != nil || !there {
		return nil, err
	}
	all, err := fleet.List(tx)
	if err != nil {
		return nil, err
	}
	plans := planned(all)
	for i := range deployments {
		deployments[i] = deployments[i].Around(plans)
	}
	return all, nil
}

// withOthers returns all agents of the fleet, those in agents as they are there.
func withOthers(all, agents []fleet.Agent) []fleet.Agent {
	for i := range all {
		at := slices.IndexFunc(agents, func(a fleet.Agent) bool { return a.Address == all[i].Address })
		if at >= 0 {
			all[i] = agents[at]
		}
	}
	return all
}

// hop passes a word on from one agent to another, when a deployed workflow connects them. It
// is kept by nobody: the two say again what gets lost.
func (h *Hub) hop(from protocol.Address, in protocol.Hop) error {
	in.From = from
	if err := in.Check(); err != nil {
		return err
	}
	return h.write(func(tx *store.Tx) error {
		speaker, err := known(tx, from)
		if err != nil {
			return err
		}
		hearer, err := known(tx, in.To)
		if err != nil {
			return err
		}
		ends := planned([]fleet.Agent{speaker, hearer})
		origin, member := &ends[0], &ends[1]
		if !in.Word.FromOrigin() {
			origin, member = member, origin
		}
		deployments, err := h.deployments(tx)
		if err != nil {
			return err
		}
		for i := range deployments {
			if deployments[i].Workflow.Name != in.Workflow {
				continue
			}
			if deployments[i].Connects(origin, member, in.Step) {
				h.send(in.To, protocol.DownHop, in)
				return nil
			}
		}
		return protocol.Errorf(protocol.CodeRefused, "hop: no workflow %q has %s run its step %q for %s",
			in.Workflow, member.Address, in.Step, origin.Address)
	})
}
