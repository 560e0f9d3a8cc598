package hub

import (
	"encoding/json"
	"fmt"
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

// bookDeployments holds a deployed for every workflow.
const bookDeployments = "deployments"

// deployed is a deployment as the books keep it.
type deployed struct {
	File     string            `json:"file"`
	Text     string            `json:"text"`
	Releases []protocol.Digest `json:"releases"` // one for each step in order
	Lock     []api.Locked      `json:"lock"`     // the same, with all that they are
	At       time.Time         `json:"at"`
	// Rollout is how far it is where it goes in waves, and Base what the agents have until
	// it reaches them.
	Rollout rollout.State `json:"rollout,omitzero"`
	Base    *deployed     `json:"base,omitempty"`
	// Held are, of a Base whose own waves were not done, those who have it, ascending: the others
	// have its Base.
	Held []protocol.AgentName `json:"held,omitempty"`
	// Leaving are versions that agents had before, the newest last; see leave.
	Leaving []leaving `json:"leaving,omitempty"`
}

// Deploy checks a workflow, resolves its plugins to releases, plans, and sends every
// agent whose content changed its new revision. All of it happens, or nothing. Errors
// of the text carry line and column.
func (h *Hub) Deploy(now time.Time, file string, text []byte) (out *api.Deployed, err error) {
	return h.DeployAs(now, api.Deploy{File: file, Text: string(text)})
}

// DeployAs is Deploy that says how the workflow may leave the releases that it is locked to,
// and may be a dry run: then it says what each agent would get, load and need, and leaves books
// and agents as they are.
func (h *Hub) DeployAs(now time.Time, in api.Deploy) (out *api.Deployed, err error) {
	w, err := workflow.Parse(in.File, []byte(in.Text))
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return h.dryRun(now, w, in)
	}
	err = h.Operate(func(tx *store.Tx) error {
		out, err = h.deploy(tx, now, w, in)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (h *Hub) deploy(
	tx *store.Tx, now time.Time, w *workflow.Workflow, in api.Deploy,
) (*api.Deployed, error) {
	out := &api.Deployed{Workflow: w.Name, At: now, Urgent: w.Urgent}
	d, err := h.resolve(tx, w, in.Moves, out)
	if err != nil {
		return nil, err
	}
	agents, err := fleet.List(tx)
	if err != nil {
		return nil, err
	}
	if err := deploy.Check(d, planned(agents)); err != nil {
		return nil, err
	}
	held, err := h.deployments(tx)
	if err != nil {
		return nil, err
	}
	if err := deploy.CheckCircle(d, held, planned(agents), h.cfg.Approve); err != nil {
		return nil, err
	}
	if err := keepDeployment(tx, now, d, &deployed{File: in.File, Lock: out.Locked}); err != nil {
		return nil, err
	}
	h.still = false
	all, contents, err := h.contents(tx, agents, w.Name)
	if err != nil {
		return nil, err
	}
	if err := deploy.Admit(d, contents, planned(all), h.cfg.Overcommit); err != nil {
		return nil, err
	}
	if w.Rollout == nil {
		out.Agents, err = h.reviseAll(tx, revision{now, all, contents, w.Name})
		return out, err
	}
	if out.Agents, err = h.plan(tx, now, agents, w.Name); err != nil {
		return nil, err
	}
	return out, h.launch(tx, now, out)
}

// Undeploy ends a workflow on all agents.
func (h *Hub) Undeploy(now time.Time, name protocol.WorkflowName) (changes []api.AgentChange, err error) {
	err = h.Operate(func(tx *store.Tx) error {
		if err := tx.DropEntry(bookDeployments, string(name)); err != nil {
			return protocol.Errorf(protocol.CodeNotFound, "workflow %q: not deployed", name)
		}
		changes, err = h.replan(tx, now, name)
		return err
	})
	return changes, err
}

// release reads a sealed release back, checked by the hub's own keyring.
func (h *Hub) release(digest protocol.Digest) (deploy.Release, error) {
	sealed, err := h.files.Get(digest)
	if err != nil {
		return deploy.Release{}, err
	}
	payload, err := protocol.Open(protocol.ContextRelease, h.keys.Ring, sealed)
	if err != nil {
		return deploy.Release{}, err
	}
	var r protocol.Release
	if err := protocol.UnmarshalExact(payload, &r); err != nil {
		return deploy.Release{}, err
	}
	info := r.Manifest.Plugin
	out := deploy.Release{
		Ref: protocol.ReleaseRef{
			Plugin: info.Name, Version: info.Version, Digest: digest,
			Size: int64(len(sealed)),
		},
		Manifest: r.Manifest, Schema: r.Schema,
	}
	out.DeviceSchema, _ = deploy.DeviceSchema(r.Schema)
	for _, a := range r.Artifacts {
		out.Platforms = append(out.Platforms, a.Platform)
		out.Sizes = append(out.Sizes, a.Size)
		out.Files = append(out.Files, a.Files())
		code := a.Size
		if a.Engine != nil {
			code = a.Engine.Module.Size
		}
		out.Modules = append(out.Modules, code)
	}
	return out, nil
}

// keepDeployment keeps d, in waves when it is to go so.
func keepDeployment(tx *store.Tx, now time.Time, d *deploy.Deployment, kept *deployed) error {
	kept.Text, kept.At = string(d.Workflow.Text), now
	for _, r := range d.Releases {
		kept.Releases = append(kept.Releases, r.Ref.Digest)
	}
	name := d.Workflow.Name
	if d.Workflow.Rollout != nil {
		kept.Rollout = rollout.Begin(string(name)+"@"+now.UTC().Format(time.RFC3339Nano), now)
	}
	if err := kept.succeed(tx, now, name); err != nil {
		return fmt.Errorf("workflow %s: %w", name, err)
	}
	return putDeployed(tx, name, kept)
}

func putDeployed(tx *store.Tx, name protocol.WorkflowName, kept *deployed) error {
	return putJSON(tx, bookDeployments, string(name), kept)
}

// Workflows returns what is deployed, by name.
func (h *Hub) Workflows(tx *store.Tx) ([]api.Workflow, error) {
	entries, err := tx.Entries(bookDeployments)
	out := make([]api.Workflow, 0, len(entries))
	if err != nil || len(entries) == 0 {
		return out, err
	}
	limited, repeated, err := suppressed(tx)
	for _, e := range entries {
		var kept deployed
		if err := json.Unmarshal(e.Value, &kept); err != nil {
			return nil, fmt.Errorf("workflow %s: %w", e.Key, err)
		}
		w := api.Workflow{Workflow: protocol.WorkflowName(e.Key), File: kept.File, Text: kept.Text, At: kept.At}
		w.Limited, w.Repeated = limited[w.Workflow], repeated[w.Workflow]
		for _, digest := range kept.Releases {
			r, err := registry.ReleaseOf(tx, digest)
			if err != nil {
				return nil, fmt.Errorf("workflow %s: %w", e.Key, err)
			}
			w.Releases = append(w.Releases, string(r.Plugin)+"@"+r.Version)
		}
		if w.Lock, err = kept.shown(tx); err != nil {
			return nil, fmt.Errorf("workflow %s: %w", e.Key, err)
		}
		out = append(out, w)
	}
	return out, err
}

// suppressed counts the events that became no run, by workflow, as the agents reported.
func suppressed(tx *store.Tx) (limited, repeated map[protocol.WorkflowName]uint64, err error) {
	limited, repeated = map[protocol.WorkflowName]uint64{}, map[protocol.WorkflowName]uint64{}
	agents, err := fleet.List(tx)
	for i := range agents {
		if agents[i].Reported == nil {
			continue
		}
		for _, s := range agents[i].Reported.Assignments {
			limited[s.Workflow] += s.Limited
			repeated[s.Workflow] += s.Repeated
		}
	}
	return limited, repeated, err
}
