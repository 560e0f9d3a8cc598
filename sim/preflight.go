package sim

import (
	"context"

	"github.com/stavily/stavily/sim/scenario"
)

// preflight has the hub look at each deployment before anything happens: what it refuses at hour
// thirty it refuses now, and so it is with a workflow that is for nobody.
func (w *World) preflight() error {
	labelled := false // agents get labels later: who knows whom a workflow is for by then
	for i := range w.scenario.Deploys {
		labelled = labelled || w.scenario.Deploys[i].Labels != nil
	}
	for i := range w.scenario.Deploys {
		of := &w.scenario.Deploys[i]
		if of.Workflow == nil {
			continue
		}
		out, err := w.hub.hub.DryRun(w.start, of.File, of.Workflow)
		if err != nil {
			return err
		}
		if len(out.Agents) == 0 && !labelled {
			return w.scenario.Errorf(of.Pos, "deploy[%d]: workflow %s is for none of the %d agents: %s", of.Index,
				of.Name, len(w.devices), "look at its at: and the fleet's labels")
		}
	}
	return nil
}

// preflight looks at a scenario of a level at which the hub runs by itself as at level model,
// before anything is started.
func preflight(ctx context.Context, s *scenario.Scenario, o Options) error {
	if o.Hub != "" {
		return nil // there its operator deploys
	}
	model := *s
	model.Level = scenario.LevelModel
	w, err := newWorld(ctx, &model, Options{Seed: o.Seed, Modules: o.Modules})
	if err != nil {
		return err
	}
	return w.close()
}
