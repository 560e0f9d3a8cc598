package hub

import (
	"log/slog"
	"slices"
	"time"

	"github.com/stavily/stavily/hub/deploy"
	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/rollout"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/hub/workflow"
	"github.com/stavily/stavily/protocol"
)

// Agents that run steps for others keep the version of a step that was replaced, beside the new
// one, until all who ask for it have moved and no run of theirs is left that began with it.

const (
	// leavingFor bounds how long they keep it: by then the last run of an agent that moved has
	// ended, and one that is away since before is not waited for.
	leavingFor = 24 * time.Hour
	// leavingMax bounds the versions of one workflow that are kept so; the oldest goes first.
	leavingMax = 4
)

// leaving is a version of a workflow that was replaced.
type leaving struct {
	Since   time.Time `json:"since"`
	Version deployed  `json:"version"`
}

// leave notes that agents go from a version to another one, where steps of it run elsewhere.
func (d *deployed) leave(tx *store.Tx, now time.Time, version *deployed) error {
	w, err := workflow.Parse(version.File, []byte(version.Text))
	if err != nil {
		return err
	}
	there, err := elsewhere(tx, []deploy.Deployment{{Workflow: w}})
	if err != nil || !there {
		return err
	}
	d.Leaving = append(d.Leaving, leaving{now, version.bare()})
	d.Leaving = d.Leaving[max(len(d.Leaving)-leavingMax, 0):]
	return nil
}

// leaveAll is leave for versions of which the newest comes first.
func (d *deployed) leaveAll(tx *store.Tx, now time.Time, versions []*deployed) error {
	for _, v := range slices.Backward(versions) {
		if err := d.leave(tx, now, v); err != nil {
			return err
		}
	}
	return nil
}

// leaves notes what a rollout's change of phase has agents leave.
func (r *moving) leaves(tx *store.Tx, now time.Time, before rollout.State, agents []fleet.Agent) error {
	switch r.kept.Rollout.Phase {
	case rollout.Done:
		old := r.kept.bases()
		r.kept.Base = nil
		return r.kept.leaveAll(tx, now, old)
	case rollout.Returned:
		// Who refuses a document for the change's sake would refuse the next one too.
		if len(before.Taken) > 0 && !slices.ContainsFunc(agents, refuses) {
			return r.kept.leave(tx, now, &r.kept)
		}
	case rollout.Running, rollout.Paused:
	}
	return nil
}

// refuses reports whether an agent does not take its newest document.
func refuses(a fleet.Agent) bool {
	r := a.Reported
	return r != nil && r.Refused != nil && r.Refused.Revision == a.Desired.Revision
}

// unhost ends the versions that nobody is at any more, and reports whether there were some.
func (h *Hub) unhost(tx *store.Tx, now time.Time, e store.Entry, agents []fleet.Agent) (bool, error) {
	r, err := h.readRollout(e)
	if err != nil {
		return false, err
	}
	before := len(r.kept.Leaving)
	r.kept.Leaving = slices.DeleteFunc(r.kept.Leaving, func(l leaving) bool {
		return now.Sub(l.Since) >= leavingFor
	})
	if r.moved(now, agents) {
		r.kept.Leaving = nil
	}
	if len(r.kept.Leaving) == before {
		return false, nil
	}
	if err := putDeployed(tx, protocol.WorkflowName(r.name), &r.kept); err != nil {
		return false, err
	}
	changes, err := h.replan(tx, now, protocol.WorkflowName(r.name))
	h.log.Info("hosts withdrawn", slog.String("workflow", r.name), slog.Int("agents", len(changes)))
	return true, err
}

// moved reports whether every agent that was heard of and on which a version of the workflow
// fires, or fired, has its newest document and no runs of an older one.
func (r *moving) moved(now time.Time, agents []fleet.Agent) bool {
	plans := planned(agents)
	for i := range agents {
		a := &agents[i]
		if !r.change.Fires(&plans[i]) {
			continue
		}
		m := member(now, a, protocol.WorkflowName(r.name))
		if m.Heard && (!m.Holds || m.Status != nil && m.Status.Ending > 0) {
			return false
		}
	}
	return true
}
