package hub

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/deploy"
	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/rollout"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

const (
	// rolloutEvery is how often the hub looks how far the waves are.
	rolloutEvery = 10 * time.Second
	// heardWithin is how long ago an agent that is not connected may have been heard of to
	// be one of those that a wave counts.
	heardWithin = 30 * time.Minute
)

// launch takes the first step of a rollout that was just kept.
func (h *Hub) launch(tx *store.Tx, now time.Time, out *api.Deployed) error {
	agents, err := fleet.List(tx)
	if err != nil {
		return err
	}
	value, err := tx.Entry(bookDeployments, string(out.Workflow))
	if err != nil {
		return err
	}
	changes, err := h.advance(tx, now, store.Entry{Key: string(out.Workflow), Value: value}, agents)
	if err != nil {
		return err
	}
	out.Agents = slices.DeleteFunc(out.Agents, func(c api.AgentChange) bool {
		return slices.ContainsFunc(changes, func(d api.AgentChange) bool { return d.Agent == c.Agent })
	})
	out.Agents = append(out.Agents, changes...)
	out.Rollout, err = h.Rollout(tx, now, out.Workflow)
	return err
}

// watch lets every rollout go on by what the agents have said.
func (h *Hub) watch(now time.Time) {
	if h.still {
		return
	}
	err := h.operate(func() error {
		return h.note(func(tx *store.Tx) error {
			h.still = true
			err := h.rollouts(tx, now)
			if len(h.after) > 0 { // an agent is told something: it is to hold another document, or secrets
				clear(h.standing)
			}
			return err
		})
	})
	if err != nil {
		h.still = false
		h.log.Error("rollouts", slog.String("error", err.Error()))
	}
}

func (h *Hub) rollouts(tx *store.Tx, now time.Time) error {
	entries, err := tx.Entries(bookDeployments)
	if err != nil {
		return err
	}
	var agents []fleet.Agent
	for _, e := range entries {
		var kept deployed
		if err := json.Unmarshal(e.Value, &kept); err != nil {
			return fmt.Errorf("workflow %s: %w", e.Key, err)
		}
		inWaves := kept.Rollout.Phase == rollout.Running || kept.Rollout.Phase == rollout.Paused
		if !inWaves && len(kept.Leaving) == 0 {
			continue
		}
		h.still = false
		if agents == nil {
			if agents, err = fleet.List(tx); err != nil {
				return err
			}
		}
		if err := h.goOn(tx, now, e, agents); err != nil {
			return fmt.Errorf("rollout of %s: %w", e.Key, err)
		}
	}
	if h.still {
		clear(h.soaks)
	}
	return nil
}

// goOn ends the hosts that nobody needs any more, or else lets a rollout go a step on: one plan of the
// fleet at a time.
func (h *Hub) goOn(tx *store.Tx, now time.Time, e store.Entry, agents []fleet.Agent) error {
	if done, err := h.unhost(tx, now, e, agents); done || err != nil {
		return err
	}
	_, err := h.advance(tx, now, e, agents)
	return err
}

// advance lets one rollout go a step on, if it can, and returns what that means for agents.
func (h *Hub) advance(tx *store.Tx, now time.Time, e store.Entry, agents []fleet.Agent,
) ([]api.AgentChange, error) {
	r, err := h.readRollout(e)
	if err != nil {
		return nil, err
	}
	members := r.members(now, agents)
	state, changed := rollout.Advance(r.change.Workflow.Rollout, r.kept.Rollout, members, now)
	if !changed {
		h.ask(now, state.ID, rollout.Soaking(r.change.Workflow.Rollout, state, members), agents)
		return nil, nil
	}
	return h.moveOn(tx, now, r, state)
}

// moveOn keeps a rollout's new state and plans for those for whom it changes something.
func (h *Hub) moveOn(tx *store.Tx, now time.Time, r *moving, state rollout.State) ([]api.AgentChange, error) {
	before := r.kept.Rollout
	h.log.Info("rollout", slog.String("workflow", r.name), slog.String("phase", string(state.Phase)),
		slog.Int("wave", state.Wave), slog.Int("agents", len(state.Taken)), slog.String("reason", state.Reason))
	agents, err := fleet.List(tx)
	if err != nil {
		return nil, err
	}
	r.kept.Rollout = state
	if err := r.leaves(tx, now, before, agents); err != nil {
		return nil, err
	}
	if err := putDeployed(tx, protocol.WorkflowName(r.name), &r.kept); err != nil {
		return nil, err
	}
	agents = slices.DeleteFunc(agents, func(a fleet.Agent) bool {
		return before.Has(a.Address.Agent) == state.Has(a.Address.Agent)
	})
	changes, err := h.plan(tx, now, agents, protocol.WorkflowName(r.name))
	if err == nil && h.cfg.Moved != nil {
		h.cfg.Moved(Moved{
			Workflow: protocol.WorkflowName(r.name), ID: state.ID,
			Wave: state.Wave, Waves: len(r.change.Workflow.Rollout.Waves),
			Paused: state.Phase == rollout.Paused, Returned: state.Phase == rollout.Returned,
			Done: state.Phase == rollout.Done, Reason: state.Reason, Agents: changes,
		})
	}
	return changes, err
}

// Moved is one step of a rollout.
type Moved struct {
	Workflow protocol.WorkflowName
	ID       string // tells the rollouts of one workflow apart
	Wave     int    // from 0; Waves is that of the rest, who follow the last wave
	Waves    int
	// Paused, Returned and Done are what became of it, for Reason; none: it goes on.
	Paused, Returned, Done bool
	Reason                 string
	Agents                 []api.AgentChange // for whom something changes
}

// moving is a workflow in its waves.
type moving struct {
	name   string
	kept   deployed
	change deploy.Deployment
}

func (h *Hub) readRollout(e store.Entry) (*moving, error) {
	r := &moving{name: e.Key}
	if err := json.Unmarshal(e.Value, &r.kept); err != nil {
		return nil, err
	}
	all, err := h.readDeployment(e)
	r.change = all
	return r, err
}

// members returns what the agents that the change concerns say of it.
func (r *moving) members(now time.Time, agents []fleet.Agent) (out []rollout.Agent) {
	plans := planned(agents)
	change := r.change
	elsewhere := change.Elsewhere(plans)
	if elsewhere {
		change = change.Around(plans)
	}
	for i := range agents {
		if a := &agents[i]; change.Concerns(&plans[i], 0) {
			m := member(now, a, protocol.WorkflowName(r.name))
			m.Labels, m.Tries = plans[i].Labels, r.tries(m.Name)
			out = append(out, m)
		}
		if elsewhere && change.Hosts(&plans[i]) {
			m := member(now, &agents[i], protocol.WorkflowName(r.name))
			if m.Hosts = true; change.Fires(&plans[i]) {
				m.Status = nil // it is that of its own runs
			}
			out = append(out, m)
		}
	}
	return out
}

// tries reports whether an agent has a version whose waves were not done when the next came.
func (r *moving) tries(name protocol.AgentName) bool {
	return slices.ContainsFunc(r.kept.bases(), func(b *deployed) bool { return b.holds(name) })
}

func member(now time.Time, a *fleet.Agent, name protocol.WorkflowName) rollout.Agent {
	m := rollout.Agent{
		Name: a.Address.Agent, Site: a.Address.Site,
		Heard: a.Presence.Online || now.Sub(a.LastSeen) < heardWithin,
	}
	r := a.Reported
	if r == nil {
		m.Heard = false // nothing can be told of it
		return m
	}
	if no := r.Refused; no != nil && no.Revision == a.Desired.Revision && !passing(no.Error.Code) {
		m.Refused = &no.Error
	}
	m.Holds = a.Desired.Revision > 0 && r.Digest == a.Desired.Digest
	for i := range r.Assignments {
		if s := &r.Assignments[i]; s.Workflow == name && m.Holds {
			m.Status = s
		}
	}
	return m
}

// passing reports whether an agent that refuses a document for that reason may take it yet.
func passing(code protocol.Code) bool {
	return code == protocol.CodeUnavailable || code == protocol.CodeStorage
}

// Steer lets an operator change how a rollout goes on.
func (h *Hub) Steer(now time.Time, name protocol.WorkflowName, do api.Steering,
) (out *api.Rollout, err error) {
	err = h.Operate(func(tx *store.Tx) error {
		r, err := h.rolloutOf(tx, name)
		if err != nil {
			return err
		}
		state, err := steer(now, r.kept.Rollout, do)
		if err != nil {
			return fmt.Errorf("rollout of %s: %w", name, err)
		}
		if _, err := h.moveOn(tx, now, r, state); err != nil {
			return err
		}
		out, err = h.showRollout(tx, now, r)
		return err
	})
	return out, err
}

func steer(now time.Time, s rollout.State, do api.Steering) (rollout.State, error) {
	running, paused := s.Phase == rollout.Running, s.Phase == rollout.Paused
	switch {
	case do == api.Pause && running:
		s.Phase, s.Reason = rollout.Paused, "by an operator"
	case do == api.Resume && paused:
		s.Phase, s.Reason, s.Since, s.Stuck = rollout.Running, "", now, false
	case do == api.Abort && (running || paused):
		s.Phase, s.Reason, s.Taken = rollout.Returned, "by an operator", nil
	case do == api.Promote && s.Phase != rollout.Done:
		s.Phase, s.Reason, s.Taken = rollout.Done, "by an operator, in wave "+fmt.Sprint(s.Wave+1), nil
	case do == api.Pause, do == api.Resume, do == api.Abort, do == api.Promote:
		return s, protocol.Errorf(protocol.CodeRefused, "%s: it is %s", do, s.Phase)
	default:
		return s, protocol.Errorf(protocol.CodeBadInput, "%q: want %s, %s, %s or %s", do, api.Pause, api.Resume,
			api.Abort, api.Promote)
	}
	return s, nil
}

func (h *Hub) rolloutOf(tx *store.Tx, name protocol.WorkflowName) (*moving, error) {
	value, err := tx.Entry(bookDeployments, string(name))
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeNotFound, "workflow %q: not deployed", name)
	}
	r, err := h.readRollout(store.Entry{Book: bookDeployments, Key: string(name), Value: value})
	if err == nil && r.kept.Rollout.Phase == "" {
		return nil, protocol.Errorf(protocol.CodeNotFound, "workflow %q: was deployed without waves", name)
	}
	return r, err
}

// Rollouts returns every workflow that was deployed in waves, by name.
func (h *Hub) Rollouts(tx *store.Tx, now time.Time) (out []api.Rollout, err error) {
	entries, err := tx.Entries(bookDeployments)
	for i := 0; err == nil && i < len(entries); i++ {
		var r *moving
		if r, err = h.readRollout(entries[i]); err != nil || r.kept.Rollout.Phase == "" {
			continue
		}
		var shown *api.Rollout
		if shown, err = h.showRollout(tx, now, r); err == nil {
			out = append(out, *shown)
		}
	}
	return out, err
}

// Rollout returns how one rollout stands.
func (h *Hub) Rollout(tx *store.Tx, now time.Time, name protocol.WorkflowName) (*api.Rollout, error) {
	r, err := h.rolloutOf(tx, name)
	if err != nil {
		return nil, err
	}
	return h.showRollout(tx, now, r)
}

func (h *Hub) showRollout(tx *store.Tx, now time.Time, r *moving) (*api.Rollout, error) {
	agents, err := fleet.List(tx)
	if err != nil {
		return nil, err
	}
	out := &api.Rollout{
		Workflow: protocol.WorkflowName(r.name), State: r.kept.Rollout,
		Progress: rollout.Look(r.change.Workflow.Rollout, r.kept.Rollout, r.members(now, agents)),
	}
	for i := range r.change.Releases {
		out.Releases = append(out.Releases, r.change.Releases[i].Manifest.String())
	}
	for i := range r.change.Workflow.Rollout.Waves {
		out.Waves = append(out.Waves, r.change.Workflow.Rollout.Waves[i].String())
	}
	return out, nil
}
