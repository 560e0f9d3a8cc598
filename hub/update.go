package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/rollout"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/hub/workflow"
	"github.com/stavily/stavily/protocol"
)

// UpdateWorkflow moves the lock of a deployed workflow to the newest releases that its ranges
// take, as a deployment of the same text does, in its waves. It says what moved; when nothing
// does, nothing is deployed. The error has CodeNotFound for a workflow that is not deployed.
func (h *Hub) UpdateWorkflow(now time.Time, name protocol.WorkflowName, how api.Update,
) (out *api.Deployed, err error) {
	err = h.Operate(func(tx *store.Tx) error {
		kept, err := deployedAs(tx, name)
		if err != nil {
			return err
		}
		in := api.Deploy{
			File: kept.File, Text: kept.Text, DryRun: how.DryRun,
			Moves: api.Moves{Update: true, Downgrade: how.Downgrade},
		}
		if out, err = h.update(tx, now, in); err == nil && how.DryRun {
			return errDryRun
		}
		return err
	})
	if err != nil && !errors.Is(err, errDryRun) {
		return nil, fmt.Errorf("update %s: %w", name, err)
	}
	return out, nil
}

// update deploys a text again when that moves something.
func (h *Hub) update(tx *store.Tx, now time.Time, in api.Deploy) (*api.Deployed, error) {
	w, err := workflow.Parse(in.File, []byte(in.Text))
	if err != nil {
		return nil, err
	}
	out := &api.Deployed{Workflow: w.Name, At: now}
	if _, err := h.resolve(tx, w, in.Moves, out); err != nil || len(out.Moved) == 0 {
		return out, err
	}
	return h.deploy(tx, now, w, in)
}

// automatic moves the workflows that ask for it to newer releases of a plugin, and tells of
// each one.
func (h *Hub) automatic(now time.Time, plugin protocol.PluginName) error {
	var using []api.Hit
	err := h.Operate(func(tx *store.Tx) (err error) {
		using, err = h.using(tx, func(l *api.Locked) bool { return l.Plugin == plugin })
		return err
	})
	for i := 0; err == nil && i < len(using); i++ {
		err = h.moveByItself(now, &using[i])
	}
	return err
}

// moveByItself updates one workflow if it is automatic. What refuses the update leaves the
// workflow as it is and is told; only the books' own errors are returned.
func (h *Hub) moveByItself(now time.Time, hit *api.Hit) error {
	err := h.Operate(func(tx *store.Tx) (err error) {
		hit.Moved, err = h.moveOne(tx, now, hit.Workflow)
		return err
	})
	told := api.Notice{At: now, Kind: "updated", Subject: string(hit.Workflow), Text: movesText(hit.Moved)}
	switch {
	case errors.Is(err, errManual):
		hit.Error = fmt.Sprintf("it does not update by itself: \"stavily workflow update %s\"", hit.Workflow)
		return nil
	case err != nil:
		hit.Error = err.Error()
		told.Kind, told.Text = "not-updated", hit.Error
	case len(hit.Moved) == 0:
		return nil
	}
	return h.Operate(func(tx *store.Tx) error { return notice(tx, told) })
}

// errManual says that a workflow does not update by itself.
var errManual = errors.New("not automatic")

func (h *Hub) moveOne(tx *store.Tx, now time.Time, name protocol.WorkflowName) ([]api.Moved, error) {
	kept, err := deployedAs(tx, name)
	if err != nil {
		return nil, err
	}
	w, err := workflow.Parse(kept.File, []byte(kept.Text))
	if err != nil {
		return nil, err
	}
	if !w.Automatic {
		return nil, errManual
	}
	in := api.Deploy{File: kept.File, Text: kept.Text, Moves: api.Moves{Update: true}}
	probe := &api.Deployed{Workflow: w.Name}
	if _, err = h.resolve(tx, w, in.Moves, probe); err != nil || len(probe.Moved) == 0 {
		return nil, err
	}
	if err := kept.triedBefore(probe); err != nil {
		return nil, err
	}
	_, err = h.deploy(tx, now, w, in)
	return probe.Moved, err
}

// triedBefore refuses releases that the waves have taken back: nobody but a person tries them
// again.
func (d *deployed) triedBefore(next *api.Deployed) error {
	if d.Rollout.Phase != rollout.Returned {
		return nil
	}
	for i := range next.Locked {
		if i >= len(d.Lock) || next.Locked[i].Release != d.Lock[i].Release {
			return nil
		}
	}
	return protocol.Errorf(protocol.CodeRefused, "%s was taken back by its waves (%s): "+
		"\"stavily workflow update\" tries it again", movesText(next.Moved), d.Rollout.Reason)
}

func movesText(moved []api.Moved) string {
	var text []string
	for _, m := range moved {
		text = append(text, fmt.Sprintf("%s: %s %s -> %s", m.Step, m.Plugin, m.From, m.To))
	}
	return strings.Join(text, ", ")
}

// using returns the deployed workflows whose lock has an entry of a kind, with the agents that
// have or get them, by name.
func (h *Hub) using(tx *store.Tx, of func(*api.Locked) bool) (out []api.Hit, err error) {
	entries, err := tx.Entries(bookDeployments)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		var kept deployed
		if err := json.Unmarshal(e.Value, &kept); err != nil {
			return nil, fmt.Errorf("workflow %s: %w", e.Key, err)
		}
		uses := func(d *deployed) bool {
			return slices.ContainsFunc(d.Lock, func(l api.Locked) bool { return of(&l) })
		}
		if !uses(&kept) && !slices.ContainsFunc(kept.bases(), uses) {
			continue
		}
		hit := api.Hit{Workflow: protocol.WorkflowName(e.Key)}
		if hit.Agents, err = h.agentsOf(tx, hit.Workflow); err != nil {
			return nil, err
		}
		out = append(out, hit)
	}
	return out, nil
}

// agentsOf returns whom a workflow's trigger is placed on.
func (h *Hub) agentsOf(tx *store.Tx, name protocol.WorkflowName) (out []protocol.AgentName, err error) {
	value, err := tx.Entry(bookDeployments, string(name))
	if err != nil {
		return nil, err
	}
	d, err := h.readDeployment(store.Entry{Book: bookDeployments, Key: string(name), Value: value})
	if err != nil {
		return nil, err
	}
	agents, err := fleetPlanned(tx)
	for i := range agents {
		if have := d.For(agents[i].Address.Agent); have != nil && have.Concerns(&agents[i], 0) {
			out = append(out, agents[i].Address.Agent)
		}
	}
	return out, err
}

func deployedAs(tx *store.Tx, name protocol.WorkflowName) (kept deployed, err error) {
	found, err := getJSON(tx, bookDeployments, string(name), &kept)
	if err == nil && !found {
		err = protocol.Errorf(protocol.CodeNotFound, "workflow %q: not deployed", name)
	}
	return kept, err
}
