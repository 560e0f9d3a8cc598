// Package deploy turns wishes into desired documents. Plan is a pure function: the same
// workflows, releases and agents give the same documents, byte for byte, on any hub.
package deploy

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/stavily/stavily/hub/workflow"
	"github.com/stavily/stavily/protocol"
)

// Deployment is one workflow with the releases that its steps were resolved to when
// the operator deployed it; a newer release does not change it by itself.
type Deployment struct {
	Workflow *workflow.Workflow
	Releases []Release // one for each of Workflow.StepsInOrder
	// Takes says who has it while it goes through the fleet in waves; nil is everybody.
	// Base is what the others have, nil for nothing; its own waves may not have been done.
	Takes func(protocol.AgentName) bool
	Base  *Deployment
	// Back says that it was taken back from all. Leaving are versions that agents had before:
	// those who run their steps for others go on with that.
	Back    bool
	Leaving []*Deployment
	// Fleet is every agent, for steps that run on another one than the workflow's own. It is
	// looked at only where there may be such; see Elsewhere.
	Fleet []Agent
	laid  *layout
}

// For returns the deployment that holds for an agent: d, or what it is to replace; nil for
// none.
func (d *Deployment) For(name protocol.AgentName) *Deployment {
	for d != nil && d.Takes != nil && !d.Takes(name) {
		d = d.Base
	}
	return d
}

// Versions returns the versions whose steps agents run for others.
func (d *Deployment) Versions() (out []*Deployment) {
	if !d.Back {
		out = append(out, d)
	}
	for base := d.Base; base != nil; base = base.Base {
		out = append(out, base)
	}
	return append(out, d.Leaving...)
}

// Fires reports whether a version of d is one for a to begin runs of, or was: those who run its
// steps wait until all of them have the newest.
func (d *Deployment) Fires(a *Agent) bool {
	return slices.ContainsFunc(append(d.Versions(), d),
		func(v *Deployment) bool { return watches(a, v.Workflow.Trigger.Target) })
}

// Around returns d with all its versions in a fleet.
func (d *Deployment) Around(fleet []Agent) Deployment {
	out := *d
	out.Fleet, out.laid, out.Leaving = fleet, nil, slices.Clone(d.Leaving)
	if d.Base != nil {
		base := d.Base.Around(fleet)
		out.Base = &base
	}
	for i, v := range out.Leaving {
		there := v.Around(fleet)
		out.Leaving[i] = &there
	}
	return out
}

// Concerns reports whether a is one of those on whom d is to run. assigned counts the
// workflows that the agent gets before this one.
func (d *Deployment) Concerns(a *Agent, assigned int) bool {
	return watches(a, d.Workflow.Trigger.Target) && exclude(a, d, assigned) == nil
}

// Release is a release as the plan needs it.
type Release struct {
	Ref      protocol.ReleaseRef
	Manifest protocol.Manifest
	// Platforms are those of its artifacts; protocol.PlatformWASM runs anywhere.
	Platforms []string
	Sizes     []int64           // of those artifacts, bytes
	Files     [][]protocol.File // of each: its own, and those of its engine
	// Modules are the bytes of the code that an agent compiles for them: their engine's where
	// there is one.
	Modules []int64
	Schema  []byte // JSON Schema of the configuration, nil for none
	// DeviceSchema is what devices hold the configuration to; see the function of that name.
	DeviceSchema []byte
}

// SizeFor returns the bytes of the artifact for that platform, 0 when there is none.
func (r *Release) SizeFor(platform string) int64 {
	if i := slices.Index(r.Platforms, platform); i >= 0 && i < len(r.Sizes) {
		return r.Sizes[i]
	}
	return 0
}

// filesFor returns what an agent keeps of the release that loads the artifact for that platform.
func (r *Release) filesFor(platform string) []protocol.File {
	if i := slices.Index(r.Platforms, platform); i >= 0 && i < len(r.Files) {
		return r.Files[i]
	}
	return nil
}

// Agent is an agent as the plan needs it.
type Agent struct {
	Address   protocol.Address
	Labels    map[string]string
	Platform  string // empty while the agent has not reported
	Kernel    string
	MemoryMB  uint32           // 0: not known
	Cores     uint32           // 0: not known
	StorageMB uint32           // 0: not known
	Native    *protocol.Native // nil: it runs no native artifacts
	// DataBytesPerDay bounds what goes over its line; 0: none.
	DataBytesPerDay uint64
	// Gone are, for a gateway, whom it lets in no more, ascending.
	Gone []protocol.Gone
}

// Input is all that a plan follows from.
type Input struct {
	Deployments []Deployment
	Agents      []Agent
	Fleet       []Agent           // every agent, where Agents are only some; nil: they are all
	Approve     []protocol.Grant  // what the operator allows any plugin
	Revoked     []protocol.Digest // of sealed releases, ascending: agents stop and forget them
	Settings    protocol.Settings
}

// Content is what one agent is to do: a desired document without the parts that only
// the sealing hub knows (epoch, revision, time).
type Content struct {
	Address     protocol.Address
	Releases    []protocol.ReleaseRef
	Assignments []protocol.Assignment
	Hosts       []protocol.Host
	Settings    protocol.Settings
	Revoked     []protocol.Digest
	Gone        []protocol.Gone
	// Excluded says which workflows name this agent and why they do not run on it.
	Excluded []Exclusion

	agent *Agent
	of    []*Release // those that Releases names, in any order
}

// Exclusion is a workflow that an agent is named by and does not get (T-06).
type Exclusion struct {
	Workflow protocol.WorkflowName
	Step     protocol.StepName
	Error    *protocol.Error
}

// Plan returns the content for every agent of in, in ascending order of addresses.
func Plan(in Input) []Content {
	agents := slices.Clone(in.Agents)
	slices.SortFunc(agents, func(a, b Agent) int { return cmp.Compare(a.Address.String(), b.Address.String()) })
	deployments := slices.Clone(in.Deployments)
	slices.SortFunc(deployments,
		func(a, b Deployment) int { return cmp.Compare(a.Workflow.Name, b.Workflow.Name) })
	fleet := agents
	if in.Fleet != nil {
		fleet = slices.Clone(in.Fleet)
		slices.SortFunc(fleet, func(a, b Agent) int { return cmp.Compare(a.Address.String(), b.Address.String()) })
	}
	for i := range deployments {
		deployments[i] = deployments[i].Around(fleet)
	}
	out := make([]Content, len(agents))
	for i := range agents {
		out[i] = contentFor(&agents[i], deployments, &in)
	}
	return out
}

// Digest names what the content asks of its agent: two that ask the same have the same.
func (c *Content) Digest() protocol.Digest {
	return protocol.DigestOf(c.encode())
}

func (c *Content) encode() []byte { return protocol.MustMarshal(c.Desired(0, 0, 0)) }

// Empty reports whether the content asks nothing, as before an agent was sent any.
func (c *Content) Empty() bool {
	return c.Digest() == (&Content{Address: c.Address, Revoked: c.Revoked}).Digest()
}

// Desired completes the content to the document that is sealed.
func (c *Content) Desired(epoch, revision uint64, issued int64) protocol.Desired {
	return protocol.Desired{
		Address: c.Address, Epoch: epoch, Revision: revision, Issued: issued,
		Releases: c.Releases, Assignments: c.Assignments, Settings: c.Settings, Hosts: c.Hosts,
		Revoked: c.Revoked, Gone: c.Gone,
	}
}

func contentFor(a *Agent, deployments []Deployment, in *Input) Content {
	c := Content{
		Address: a.Address, Settings: in.Settings, Revoked: in.Revoked, Gone: a.Gone, agent: a,
	}
	c.Settings.DataBytesPerDay = a.DataBytesPerDay
	for i := range deployments {
		if d := deployments[i].For(a.Address.Agent); d != nil {
			c.assign(a, d, in.Approve)
		}
		c.host(a, &deployments[i], in.Approve)
	}
	slices.SortFunc(c.Releases,
		func(x, y protocol.ReleaseRef) int { return bytes.Compare(x.Digest[:], y.Digest[:]) })
	return c
}

// assign adds a's own part of d, if it has one.
func (c *Content) assign(a *Agent, d *Deployment, approve []protocol.Grant) {
	if !watches(a, d.Workflow.Trigger.Target) {
		return
	}
	if bad := exclude(a, d, len(c.Assignments)); bad != nil {
		c.Excluded = append(c.Excluded, *bad)
		return
	}
	c.Assignments = append(c.Assignments, assign(a, d, approve))
	for i, s := range d.Workflow.StepsInOrder() {
		if d.placeFor(i, s, a).place == nil {
			c.refer(&d.Releases[i])
		}
	}
}

// host adds what a runs for others of all versions of d that stand, each step once where it is
// the same in several.
func (c *Content) host(a *Agent, d *Deployment, approve []protocol.Grant) {
	first := len(c.Hosts)
	for _, v := range d.Versions() {
		hosts, of := v.hosts(a, approve)
		for i := range hosts {
			same := func(h protocol.Host) bool {
				return h.Edition == hosts[i].Edition && h.Step.Name == hosts[i].Step.Name
			}
			if at := slices.IndexFunc(c.Hosts[first:], same); at >= 0 {
				letIn(&c.Hosts[first+at], hosts[i].Origins)
				continue
			}
			c.Hosts = append(c.Hosts, hosts[i])
			c.refer(of[i])
		}
	}
}

// refer lists a release once.
func (c *Content) refer(r *Release) {
	if !slices.Contains(c.Releases, r.Ref) {
		c.Releases, c.of = append(c.Releases, r.Ref), append(c.of, r)
	}
}

// watches reports whether the workflow's trigger goes to a.
func watches(a *Agent, t workflow.Target) bool { return t.Kind != workflow.Pool && meant(a, t) }

// exclude returns why a cannot run d though it is named, nil when it can.
func exclude(a *Agent, d *Deployment, assigned int) *Exclusion {
	no := func(step protocol.StepName, code protocol.Code, format string, args ...any) *Exclusion {
		return &Exclusion{Workflow: d.Workflow.Name, Step: step, Error: protocol.Errorf(code, format, args...)}
	}
	if assigned >= protocol.AssignmentsMax {
		return no("", protocol.CodeLimit, "agent %s has %d assignments, limit %d", a.Address, assigned,
			protocol.AssignmentsMax)
	}
	if a.Labels[LabelDuty] == dutyAction {
		return no("trigger", protocol.CodeIncompatible,
			"agent %s is an action agent (label %s): it watches nothing", a.Address, LabelDuty)
	}
	for i, step := range d.Workflow.StepsInOrder() {
		switch p := d.placeFor(i, step, a); {
		case p.err != nil:
			return no(step.Name, p.err.Code, "step %q: %s", step.Name, p.err.Text)
		case p.place != nil:
			continue
		}
		if _, err := Choose(&d.Releases[i], a); err != nil {
			return no(step.Name, protocol.CodeIncompatible, "%w", err)
		}
		if _, err := configOn(step, &d.Releases[i], a); err != nil {
			return no(step.Name, protocol.CodeBadInput, "step %q: %w", step.Name, err)
		}
	}
	return nil
}

func assign(a *Agent, d *Deployment, approve []protocol.Grant) protocol.Assignment {
	as := protocol.Assignment{Workflow: d.Workflow.Name, CatchUp: d.Workflow.CatchUp, If: d.Workflow.If}
	as.Urgent = d.Workflow.Urgent
	as.Limit, as.Once = d.Workflow.Limit, d.Workflow.Once
	for i, step := range d.Workflow.StepsInOrder() {
		s := stepOn(step, &d.Releases[i], a, approve)
		if p := d.placeFor(i, step, a).place; p != nil {
			s = stepAway(step, &d.Releases[i], p)
		}
		switch step.Type {
		case protocol.Trigger:
			as.Trigger = s
		case protocol.Action:
			as.Actions = append(as.Actions, s)
		case protocol.Output:
			as.Outputs = append(as.Outputs, s)
		}
	}
	return as
}

// stepOn is a step as a runs it.
func stepOn(s *workflow.Step, r *Release, a *Agent, approve []protocol.Grant) protocol.Step {
	out := stepFor(s, r, approve)
	configure(&out, s, r, a)
	if choice, err := Choose(r, a); err == nil && isNative(choice.Platform) {
		out.Platform = choice.Platform
	}
	return out
}

// stepFor cuts what the manifest wishes by what the operator allows; the device cuts
// it once more by its own policy.
func stepFor(s *workflow.Step, r *Release, approve []protocol.Grant) protocol.Step {
	wishes, _ := r.Manifest.Wishes() // checked when the release was published
	grants := protocol.Intersect(wishes, protocol.Union(approve, s.Allow))
	out := protocol.Step{
		Name: s.Name, Release: r.Ref.Digest, Grants: protocol.Effective(grants),
		Limits: r.Manifest.Limits.WithDefaults(), Timeout: s.Timeout.Milliseconds(), Retry: s.Retry,
		When: s.When, If: s.If,
	}
	return out
}
