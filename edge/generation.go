package edge

import (
	"cmp"
	"fmt"

	"github.com/stavily/stavily/protocol"
)

// openDesired reads a sealed desired document from the disk and opens it: sealed by a
// key that this agent believes, for this agent, every name and bound as it must be.
func (a *Agent) openDesired(d protocol.Digest) (*generation, error) {
	sealed, err := a.store.ReadFile(d)
	if err != nil {
		return nil, err
	}
	payload, err := protocol.Open(protocol.ContextDesired, a.cfg.Keyring, sealed)
	if err != nil {
		return nil, err
	}
	gen := &generation{digest: d, releases: map[protocol.Digest]*opened{}}
	if err := protocol.UnmarshalExact(payload, &gen.desired); err != nil {
		return nil, err
	}
	gen.revoked = digestSet(gen.desired.Revoked)
	if gen.desired.Address != a.cfg.Address {
		return nil, protocol.Errorf(protocol.CodeNotMine, "desired: for %s, this is %s",
			gen.desired.Address, a.cfg.Address)
	}
	return gen, checkDesired(&gen.desired)
}

// openRelease reads a sealed release from the disk, opens it, holds it against what
// the desired document says of it and chooses the artifact for this device.
func (a *Agent) openRelease(gen *generation, ref protocol.ReleaseRef) error {
	if gen.releases[ref.Digest] != nil {
		return nil
	}
	sealed, err := a.store.ReadFile(ref.Digest)
	if err != nil {
		return err
	}
	payload, err := protocol.Open(protocol.ContextRelease, a.cfg.Keyring, sealed)
	if err != nil {
		return err
	}
	var o opened
	if err := protocol.UnmarshalExact(payload, &o.release); err != nil {
		return err
	}
	info := o.release.Manifest.Plugin
	if info.Name != ref.Plugin || info.Version != ref.Version {
		return protocol.Errorf(protocol.CodeIncompatible, "release %s: is %s, desired says %s@%s",
			ref.Digest.Short(), &o.release.Manifest, ref.Plugin, ref.Version)
	}
	platform := gen.platform(ref.Digest)
	if platform != protocol.PlatformWASM && (!a.cfg.Native || platform != a.cfg.Device.Platform) {
		return protocol.Errorf(protocol.CodeIncompatible, "release %s: its artifact for %s is wanted, "+
			"this agent is %s and runs native artifacts: %t", &o.release.Manifest, clip(platform),
			a.cfg.Device.Platform, a.cfg.Native)
	}
	if o.artifact, err = o.release.For(platform); err != nil {
		return err
	}
	if err := checkArtifact(&o.release, o.artifact); err != nil {
		return err
	}
	gen.releases[ref.Digest] = &o
	return nil
}

// platform returns that of the artifact which the steps of a release load.
func (gen *generation) platform(release protocol.Digest) string {
	for _, s := range gen.local() {
		if s.Release == release && s.Platform != "" {
			return s.Platform
		}
	}
	return protocol.PlatformWASM
}

func checkArtifact(r *protocol.Release, art protocol.Artifact) error {
	if err := art.Check(); err != nil {
		return protocol.Errorf(protocol.CodeOf(err), "release %s: %w", &r.Manifest, err)
	}
	return nil
}

// localStep is a step that this agent runs, of its own workflows or for others.
type localStep struct {
	protocol.Step
	workflow protocol.WorkflowName
	slot     protocol.PluginType
}

// local returns the steps that this agent runs, in the order of the document: not those of
// assignments that stand still.
func (gen *generation) local() (out []localStep) {
	for i := range gen.desired.Assignments {
		of := &gen.desired.Assignments[i]
		steps := stepsOf(of)
		if gen.barred(steps...) != nil {
			continue
		}
		for n, s := range steps {
			if s.Place == nil {
				out = append(out, localStep{s, of.Workflow, slotOf(of, n)})
			}
		}
	}
	for _, h := range gen.desired.Hosts {
		if gen.barred(h.Step) == nil {
			out = append(out, localStep{h.Step, h.Workflow, h.Type})
		}
	}
	return out
}

// fit checks that each step's release is of the type that its place asks for, and its artifact
// the one that the step wants.
func (gen *generation) fit() error {
	for _, s := range gen.local() {
		o := gen.releases[s.Release]
		if got := o.release.Manifest.Plugin.Type; got != s.slot {
			return protocol.Errorf(protocol.CodeIncompatible, "workflow %q step %q: %s is of type %s, want %s",
				s.workflow, s.Name, &o.release.Manifest, got, s.slot)
		}
		if want := cmp.Or(s.Platform, protocol.PlatformWASM); o.artifact.Platform != want {
			return protocol.Errorf(protocol.CodeIncompatible, "workflow %q step %q: artifact for %s, other steps "+
				"want that for %s", s.workflow, s.Name, clip(want), o.artifact.Platform)
		}
	}
	return nil
}

// stepsOf returns all steps of an assignment: the trigger, the actions, the outputs.
func stepsOf(of *protocol.Assignment) []protocol.Step {
	steps := make([]protocol.Step, 0, 1+len(of.Actions)+len(of.Outputs))
	return append(append(append(steps, of.Trigger), of.Actions...), of.Outputs...)
}

// slotOf returns the type that the n-th of stepsOf must have.
func slotOf(of *protocol.Assignment, n int) protocol.PluginType {
	switch {
	case n == 0:
		return protocol.Trigger
	case n <= len(of.Actions):
		return protocol.Action
	default:
		return protocol.Output
	}
}

// checkDesired holds a document against the bounds that every agent relies on.
func checkDesired(d *protocol.Desired) error {
	if len(d.Assignments) > protocol.AssignmentsMax {
		return protocol.Errorf(protocol.CodeLimit, "desired: %d assignments, limit AssignmentsMax %d",
			len(d.Assignments), protocol.AssignmentsMax)
	}
	if err := protocol.CheckGone(d.Gone); err != nil {
		return err
	}
	if len(d.Revoked) > protocol.RevokedMax {
		return protocol.Errorf(protocol.CodeLimit, "desired: %d revoked releases, limit RevokedMax %d",
			len(d.Revoked), protocol.RevokedMax)
	}
	listed := map[protocol.Digest]bool{}
	for _, ref := range d.Releases {
		if ref.Size <= 0 || ref.Size > protocol.DocumentMax {
			return protocol.Errorf(protocol.CodeLimit, "desired: release %s@%s: %d bytes, limit DocumentMax %d",
				clip(string(ref.Plugin)), clip(ref.Version), ref.Size, protocol.DocumentMax)
		}
		listed[ref.Digest] = true
	}
	known := map[protocol.WorkflowName]bool{}
	for i := range d.Assignments {
		of := &d.Assignments[i]
		if known[of.Workflow] {
			return protocol.Errorf(protocol.CodeBadMessage, "desired: workflow %q: assigned twice", of.Workflow)
		}
		known[of.Workflow] = true
		if err := checkAssignment(of, listed); err != nil {
			return fmt.Errorf("desired: workflow %q: %w", clip(string(of.Workflow)), err)
		}
	}
	return checkHosts(d, listed)
}

func checkAssignment(of *protocol.Assignment, listed map[protocol.Digest]bool) error {
	if err := of.Workflow.Check(); err != nil {
		return err
	}
	if len(of.Actions) > protocol.StepsMax || len(of.Outputs) > protocol.StepsMax {
		return protocol.Errorf(protocol.CodeLimit, "%d actions, %d outputs, limit StepsMax %d",
			len(of.Actions), len(of.Outputs), protocol.StepsMax)
	}
	if of.CatchUp > protocol.CatchUpAll {
		return protocol.Errorf(protocol.CodeIncompatible, "catch-up %d is not known here", of.CatchUp)
	}
	for _, err := range []error{of.Limit.Check(), of.Once.Check()} {
		if err != nil {
			return err
		}
	}
	if of.Trigger.Place != nil {
		return protocol.Errorf(protocol.CodeBadMessage, "step %q: a trigger elsewhere", of.Trigger.Name)
	}
	if len(of.Trigger.If) > 0 {
		return protocol.Errorf(protocol.CodeBadMessage, "step %q: a condition before there is an event",
			of.Trigger.Name)
	}
	if _, err := readConditions(of); err != nil {
		return err
	}
	known := map[protocol.StepName]bool{}
	for _, s := range stepsOf(of) {
		if known[s.Name] {
			return protocol.Errorf(protocol.CodeBadMessage, "step %q: twice", s.Name)
		}
		known[s.Name] = true
		if err := checkStep(&s); err != nil {
			return err
		}
		if s.Place == nil && !listed[s.Release] {
			return protocol.Errorf(protocol.CodeBadMessage, "step %q: release %s is not listed",
				s.Name, s.Release.Short())
		}
	}
	return nil
}

func checkStep(s *protocol.Step) error {
	if err := s.Name.Check(); err != nil {
		return err
	}
	switch {
	case len(s.Config) > protocol.ConfigMax:
		return protocol.Errorf(protocol.CodeLimit, "step %q: configuration of %d bytes, limit ConfigMax %d",
			s.Name, len(s.Config), protocol.ConfigMax)
	case s.When > protocol.IfError:
		return protocol.Errorf(protocol.CodeIncompatible, "step %q: condition %d is not known here", s.Name, s.When)
	case s.Timeout < 0 || s.Retry.WaitMS < 0:
		return protocol.Errorf(protocol.CodeBadMessage, "step %q: timeout %d ms, retry wait %d ms: below 0",
			s.Name, s.Timeout, s.Retry.WaitMS)
	}
	if _, err := readFilling(s); err != nil {
		return err
	}
	return checkPlace(s)
}

// load returns what makes an instance of step, before the policy cut its grants.
func (gen *generation) load(s protocol.Step) Load {
	o := gen.releases[s.Release]
	return Load{Manifest: o.release.Manifest, Artifact: o.artifact, Step: s}
}

// artifacts returns the files of every artifact that this device loads, its engine's too,
// in the order of the assignments, each once.
func (gen *generation) artifacts() []file {
	var out []file
	seen := map[protocol.Digest]bool{}
	for _, s := range gen.local() {
		o := gen.releases[s.Release]
		if o == nil {
			continue
		}
		for i, f := range o.artifact.Files() {
			if !seen[f.Digest] {
				seen[f.Digest] = true
				out = append(out, file{f.Digest, f.Size, f.Chunks, o.kin(i)})
			}
		}
	}
	return out
}

// kin names what the n-th file of the artifact is in every version of it.
func (o *opened) kin(n int) string {
	if n == 0 {
		return "plugin " + string(o.release.Manifest.Plugin.Name) + " " + o.artifact.Platform
	}
	return fmt.Sprintf("engine %s %d", o.artifact.Engine.Name, n)
}

// files returns the digests of all that the generation stands on.
func (gen *generation) files() []protocol.Digest {
	out := []protocol.Digest{gen.digest}
	for _, ref := range gen.wanted() {
		out = append(out, ref.Digest)
	}
	for _, f := range gen.artifacts() {
		out = append(out, f.digest)
	}
	return out
}
