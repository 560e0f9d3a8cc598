package hub

import (
	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/deploy"
	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// loads returns which artifact an agent loads for each step of its workflows, and why
// (U-03). A workflow's name asks for that one only.
func (h *Hub) loads(tx *store.Tx, agent fleet.Agent, only protocol.WorkflowName) ([]deploy.Load, error) {
	deployments, err := h.deployments(tx)
	if err != nil {
		return nil, err
	}
	if _, err := around(tx, deployments); err != nil {
		return nil, err
	}
	a, before := planned([]fleet.Agent{agent})[0], 0
	var out []deploy.Load
	for i := range deployments {
		d := deployments[i].For(a.Address.Agent)
		if d == nil || !d.Concerns(&a, before) {
			continue
		}
		before++
		if only == "" || d.Workflow.Name == only {
			out = append(out, deploy.Loads(d, &a)...)
		}
	}
	return out, nil
}

// noteLoads says of each agent of a dry run what it would load, and with which configurations.
func (h *Hub) noteLoads(tx *store.Tx, out *api.Deployed) error {
	for i := range out.Agents {
		agent, err := fleet.Get(tx, out.Agents[i].Agent)
		if err != nil {
			return err
		}
		if out.Agents[i].Loads, err = h.loads(tx, agent, out.Workflow); err != nil {
			return err
		}
		if agent.Desired.Revision == 0 {
			continue
		}
		doc, err := h.document(tx, agent.Address.Agent)
		if err != nil {
			return err
		}
		if out.Agents[i].Configs, err = deploy.Configs(&doc, out.Workflow); err != nil {
			return err
		}
	}
	return nil
}
