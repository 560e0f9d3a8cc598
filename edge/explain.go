package edge

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stavily/stavily/protocol"
)

// Explaining is what an explanation on the device follows from: the agent's files, and what it
// said last of itself. It needs no agent that runs.
type Explaining struct {
	Status  Status
	Keyring protocol.Keyring
	// Read reads a whole file of the agent's, checked against its digest, and Has says whether
	// one is there.
	Read func(protocol.Digest) ([]byte, error)
	Has  func(protocol.Digest) bool
	Now  time.Time
	Runs bool // an agent runs on these files now
}

// Explained is why a workflow runs on this device or does not: the rules in their order, those
// that keep it from being placed up to the first that fails (T-06).
type Explained struct {
	Workflow protocol.WorkflowName
	Placed   bool
	Rules    []protocol.Rule
}

// Explain answers for one workflow, or with an empty name for each that the document names.
// Errors are those of a document that this device has and cannot open.
func (e *Explaining) Explain(name protocol.WorkflowName) ([]Explained, error) {
	x := explainer{Explaining: e, gen: &generation{}}
	if e.Status.Revision > 0 {
		x.opens = &Agent{
			store: filesOf{read: e.Read},
			cfg: Config{
				Address: e.Status.Address, Keyring: e.Keyring, Device: e.Status.Device,
				Native: e.Status.Device.Native != nil,
			},
		}
		gen, err := x.opens.openDesired(e.Status.Digest)
		if err != nil {
			return nil, err
		}
		x.gen = gen
	}
	names := []protocol.WorkflowName{name}
	if name == "" {
		names = x.names()
	}
	out := make([]Explained, 0, len(names))
	for _, n := range names {
		placed := x.place(n)
		if placed {
			x.fares(n)
		}
		out = append(out, Explained{Workflow: n, Placed: placed, Rules: x.rules})
		x.rules = nil
	}
	return out, nil
}

// explainer is an explanation under way.
type explainer struct {
	*Explaining
	opens *Agent // opens what it reads; it does not live
	gen   *generation
	rules []protocol.Rule
}

func (x *explainer) say(name string, ok bool, format string, args ...any) bool {
	x.rules = append(x.rules, protocol.Rule{Name: name, OK: ok, Text: fmt.Sprintf(format, args...)})
	return ok
}

// names returns the workflows that have a part here, or will have when what is on its way is.
func (x *explainer) names() (out []protocol.WorkflowName) {
	add := func(n protocol.WorkflowName) {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	for i := range x.gen.desired.Assignments {
		add(x.gen.desired.Assignments[i].Workflow)
	}
	for i := range x.gen.desired.Hosts {
		add(x.gen.desired.Hosts[i].Workflow)
	}
	for i := range x.Status.Assignments {
		add(x.Status.Assignments[i].Workflow)
	}
	return out
}

// place asks the rules by which this device takes a workflow, until one fails.
func (x *explainer) place(name protocol.WorkflowName) bool {
	d := &x.gen.desired
	at := slices.IndexFunc(d.Assignments, func(a protocol.Assignment) bool { return a.Workflow == name })
	var steps []protocol.Step
	var hosted []string
	for _, h := range d.Hosts {
		if h.Workflow == name {
			steps, hosted = append(steps, h.Step), append(hosted, string(h.Step.Name))
		}
	}
	switch {
	case at >= 0:
		x.say("target", true, "the document of revision %d names it", d.Revision)
		x.rules = append(x.rules, protocol.RuleRoom(at))
		if d.Assignments[at].Urgent {
			x.rules = append(x.rules, protocol.RuleUrgent())
		}
		steps = append(stepsOf(&d.Assignments[at]), steps...)
	case len(hosted) > 0:
		x.rules = append(x.rules, protocol.RuleHosts(hosted))
	default:
		return x.unnamed(name)
	}
	x.say("platform", true, "%s", x.Status.Device.Platform)
	if bad := x.gen.barred(steps...); bad != nil {
		return x.say("revoked", false, "%s", bad.Text)
	}
	for i := range steps {
		if !x.step(&steps[i]) {
			return false
		}
	}
	x.grants(steps)
	x.admission()
	return true
}

// unnamed says of a workflow without a part in the document why it has none, as far as this
// device can know.
func (x *explainer) unnamed(name protocol.WorkflowName) bool {
	s := x.status(name)
	switch {
	case s != nil:
		return x.say("taken", false, "a document that names it is on its way: %s", s.Phase)
	case x.gen.desired.Revision == 0:
		x.say("target", false, "nothing was deployed to this device yet")
	default:
		x.say("target", false, "the document of revision %d does not name it; the hub knows why: "+
			"stavily explain %s %s", x.gen.desired.Revision, name, x.Status.Address.Agent)
	}
	x.refused()
	return false
}

// step asks whether what a step is made of is here and is for this device.
func (x *explainer) step(s *protocol.Step) bool {
	if s.Place != nil {
		members := make([]string, len(s.Place.Members))
		for i, m := range s.Place.Members {
			members[i] = m.String()
		}
		which := "one of "
		if s.Place.Pick == protocol.PickAll {
			which = "each of "
		}
		return x.say("artifact", true, "step %s: runs on %s%s", s.Name, which, strings.Join(members, ", "))
	}
	ref := x.gen.ref(s.Release)
	name := string(ref.Plugin) + "@" + ref.Version
	if err := x.opens.openRelease(x.gen, ref); err != nil {
		return x.say("platform", false, "step %q: release %s: %v", s.Name, name, err)
	}
	artifact := x.gen.releases[s.Release].artifact
	rule := protocol.RuleArtifact(s.Name, name, artifact.Platform, "it is here")
	for _, f := range artifact.Files() {
		if rule.OK && !x.Has(f.Digest) {
			rule = protocol.RuleArtifact(s.Name, name, artifact.Platform, "file "+f.Digest.Short()+" is not here")
			rule.OK = false
		}
	}
	x.rules = append(x.rules, rule)
	return rule.OK
}

// grants says what this device's policy takes away: the steps run without it.
func (x *explainer) grants(steps []protocol.Step) {
	var cut []string
	for _, s := range steps {
		_, taken := x.Status.Policy.Cut(s.Grants)
		for _, t := range taken {
			cut = append(cut, string(s.Name)+": "+t)
		}
	}
	if len(cut) > 0 {
		x.say("grants", false, "%s", withLess(cut))
		return
	}
	x.say("grants", true, "this device's policy allows what the document grants")
}

// admission holds the sums of all that runs here to what the device has.
func (x *explainer) admission() {
	for _, ref := range x.gen.wanted() {
		if err := x.opens.openRelease(x.gen, ref); err != nil {
			return // of another workflow, which says so itself
		}
	}
	x.rules = append(x.rules,
		protocol.RuleAdmission(x.gen.demands(), &x.Status.Device, x.gen.overcommit()))
}

func (x *explainer) refused() {
	if r := x.Status.Refused; r != nil && r.Revision != x.Status.Revision {
		x.rules = append(x.rules, protocol.RuleRefused(r))
	}
}

func (x *explainer) status(name protocol.WorkflowName) *protocol.AssignmentStatus {
	for i := range x.Status.Assignments {
		if s := &x.Status.Assignments[i]; s.Workflow == name {
			return s
		}
	}
	return nil
}

// fares says how a workflow does that is placed here.
func (x *explainer) fares(name protocol.WorkflowName) {
	x.refused()
	if d := x.Status.Data; d != nil && d.Waiting {
		x.say("data", false, "%d of %d bytes of this day are used: records wait, what runs here goes on",
			d.Bytes, d.Limit)
	}
	if x.Now.Before(x.Status.Floor) {
		x.say("clock", false, "shows %s, and it is %s at least: schedules wait for a clock",
			x.Now.UTC().Format(time.DateTime), x.Status.Floor.UTC().Format(time.DateTime))
	}
	s := x.status(name)
	if s == nil {
		x.say("running", false, "the agent does not speak of it yet")
		return
	}
	if s.Filtered > 0 {
		x.say("if", true, "its condition did not hold for %d events", s.Filtered)
	}
	if s.Limited+s.Repeated > 0 {
		x.say("limit", true, "%d events were above its limit, %d meant what another had", s.Limited, s.Repeated)
	}
	if t := s.Trial; t != (protocol.Trial{}) {
		x.say("trial", t.Troubles == 0,
			"since it changed, or the agent started: %d s, %d runs, %d failed, %d troubles",
			t.RunningS, t.Ended, t.Failed, t.Troubles)
	}
	rule := protocol.RuleRunning(s)
	if !x.Runs {
		rule.OK, rule.Text = false, "no agent runs here; the last one said: "+rule.Text
	}
	x.rules = append(x.rules, rule)
}

// filesOf is a Store of which there are only files to read.
type filesOf struct {
	Store
	read func(protocol.Digest) ([]byte, error)
}

// ReadFile reads a whole file.
func (f filesOf) ReadFile(d protocol.Digest) ([]byte, error) { return f.read(d) }

var _ Store = filesOf{}
