package hub

import (
	"fmt"
	"slices"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/deploy"
	"github.com/stavily/stavily/hub/document"
	"github.com/stavily/stavily/hub/registry"
	"github.com/stavily/stavily/hub/rollout"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/hub/version"
	"github.com/stavily/stavily/hub/workflow"
	"github.com/stavily/stavily/protocol"
)

// A deployment is locked to the releases that its steps were resolved to: it keeps them when
// it is deployed again, as far as its ranges still take them, until somebody moves the lock.

// resolve chooses a release for each step.
func (h *Hub) resolve(tx *store.Tx, w *workflow.Workflow, how api.Moves, out *api.Deployed,
) (*deploy.Deployment, error) {
	held, err := holdings(tx, w.Name)
	if err != nil {
		return nil, err
	}
	d := &deploy.Deployment{Workflow: w}
	var wrong document.Found
	for _, step := range w.StepsInOrder() {
		r, err := h.choose(tx, step, held, how)
		if err != nil {
			wrong.Add(w.Errorf(step.Path+".plugin", "%v", err))
			continue
		}
		release, err := h.release(r.Digest)
		if err != nil {
			wrong.Add(w.Errorf(step.Path+".plugin", "%v", err))
			continue
		}
		d.Releases = append(d.Releases, release)
		out.Releases = append(out.Releases, release.Manifest.String())
		out.Locked = append(out.Locked, lockOf(step, &r))
		if r.State == registry.Yanked {
			out.Warnings = append(out.Warnings, fmt.Sprintf("step %s: %s is yanked; it stays, since the workflow "+
				"holds it; \"stavily workflow update %s\" moves on", step.Name, &release.Manifest, w.Name))
		}
		if from := held.change(step); from != nil && from.Digest != r.Digest {
			out.Moved = append(out.Moved, api.Moved{
				Step: step.Name, Plugin: r.Plugin, From: from.Version, To: r.Version,
			})
		}
	}
	return d, wrong.Err()
}

// choose returns the release that a step gets: the one that it is locked to while its range
// takes that, or else the newest.
func (h *Hub) choose(tx *store.Tx, s *workflow.Step, held holding, how api.Moves) (registry.Release, error) {
	within, err := version.Parse(s.Plugin.Range)
	if err != nil {
		return registry.Release{}, err
	}
	from := held.change(s)
	stays := from != nil && from.State != registry.Revoked && within.Takes(from.Version)
	if stays && !how.Update {
		return *from, nil
	}
	to, err := registry.Resolve(tx, s.Plugin.String())
	older := err != nil || stays && version.Compare(to.Version, from.Version) < 0
	switch {
	case stays && older && !how.Downgrade: // all that is left is older, or nothing is
		return *from, nil
	case err != nil:
		return to, err
	}
	for _, was := range held.all(s) {
		if err := h.mayMove(was, &to, how); err != nil {
			return to, err
		}
	}
	return to, nil
}

// mayMove refuses a version below the held one that nobody asked for, and one that cannot read
// the state of the held one (O-04, O-05).
func (h *Hub) mayMove(from, to *registry.Release, how api.Moves) error {
	if from.Digest == to.Digest {
		return nil
	}
	if version.Compare(to.Version, from.Version) < 0 && !how.Downgrade && from.State != registry.Revoked {
		return protocol.Errorf(protocol.CodeStale, "%s@%s is below %s, which the workflow holds; "+
			"say --downgrade if that is meant", to.Plugin, to.Version, from.Version)
	}
	old, err := h.release(from.Digest)
	if err != nil {
		return err
	}
	next, err := h.release(to.Digest)
	if err != nil {
		return err
	}
	if !next.Manifest.State.Reads(old.Manifest.State) {
		return protocol.Errorf(protocol.CodeIncompatible, "%s@%s cannot read the state of %s "+
			"(format %d, it reads %s): choose another version, or remove the workflow "+
			"first to begin with none", to.Plugin, to.Version, from.Version,
			old.Manifest.State.Number(), next.Manifest.State)
	}
	return nil
}

// holding is what the steps of a workflow are locked to: by its newest deployment, and by those
// that agents have whom its waves have not reached.
type holding struct {
	now   []held
	bases [][]held
}

type held struct {
	step    protocol.StepName
	release registry.Release
}

// change returns what the newest deployment holds for a step: that of the step of its name, or
// else of any step with the plugin; nil for nothing.
func (h holding) change(s *workflow.Step) *registry.Release { return heldFor(h.now, s) }

func (h holding) all(s *workflow.Step) (out []*registry.Release) {
	for _, list := range append([][]held{h.now}, h.bases...) {
		if r := heldFor(list, s); r != nil {
			out = append(out, r)
		}
	}
	return out
}

func heldFor(list []held, s *workflow.Step) *registry.Release {
	same := func(x held) bool { return x.release.Plugin == s.Plugin.Name }
	at := slices.IndexFunc(list, func(x held) bool { return same(x) && x.step == s.Name })
	if at < 0 {
		at = slices.IndexFunc(list, same)
	}
	if at < 0 {
		return nil
	}
	return &list[at].release
}

// holdings reads what a workflow is locked to, which is nothing when it is not deployed. A
// change that was taken back holds nothing.
func holdings(tx *store.Tx, name protocol.WorkflowName) (out holding, err error) {
	var kept deployed
	if _, err := getJSON(tx, bookDeployments, string(name), &kept); err != nil {
		return out, err
	}
	now := kept.current()
	if now == nil {
		return out, nil
	}
	if out.now, err = now.held(tx); err != nil {
		return out, err
	}
	for _, b := range now.bases() {
		list, err := b.held(tx)
		if err != nil {
			return out, err
		}
		out.bases = append(out.bases, list)
	}
	return out, nil
}

// current returns the deployment that holds: what a change that was taken back was to replace;
// nil for nothing.
func (d *deployed) current() *deployed {
	if d.Rollout.Phase == rollout.Returned {
		return d.Base
	}
	return d
}

// held reads back what the lock of a deployment names.
func (d *deployed) held(tx *store.Tx) (out []held, err error) {
	for _, l := range d.Lock {
		r, err := registry.ReleaseOf(tx, l.Release)
		if err != nil {
			return nil, err
		}
		out = append(out, held{l.Step, r})
	}
	return out, nil
}

func lockOf(s *workflow.Step, r *registry.Release) api.Locked {
	out := api.Locked{
		Step: s.Name, Plugin: r.Plugin, Range: s.Plugin.Range, Version: r.Version, Release: r.Digest,
		Commit: r.Commit, Tree: r.Tree,
	}
	for _, a := range r.Artifacts {
		out.Artifacts = append(out.Artifacts, api.LockedArtifact{Platform: a.Platform, Digest: a.Digest})
	}
	return out
}

// shown returns the lock with what its releases are now.
func (d *deployed) shown(tx *store.Tx) ([]api.Locked, error) {
	out := slices.Clone(d.Lock)
	for i := range out {
		r, err := registry.ReleaseOf(tx, out[i].Release)
		if err != nil {
			return nil, err
		}
		out[i].State = r.State
	}
	return out, nil
}
