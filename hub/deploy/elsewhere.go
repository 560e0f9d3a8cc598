package deploy

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/stavily/stavily/hub/workflow"
	"github.com/stavily/stavily/protocol"
)

// Labels that say where steps run.
const (
	// LabelPool names the pool that an agent belongs to.
	LabelPool = "pool"
	// LabelHub marks, with the value yes, the agent that runs beside the hub.
	LabelHub = "hub"
	// LabelDuty restricts an agent: a sensor only watches, an action agent only runs steps.
	LabelDuty = "duty"
	// LabelActionAgent names, on a sensor, the agent that runs the steps of what it detects.
	LabelActionAgent = "action-agent"

	dutySensor = "sensor"
	dutyAction = "action"
)

// withinDefault is how long a step waits for another agent where its workflow does not say.
const withinDefault = 5 * 60 * 1000 // ms

// placement is where one step runs: at the run's own agent when it has neither of these.
type placement struct {
	place *protocol.Place
	err   *protocol.Error // why it can run nowhere
}

func (p placement) in(e protocol.Edition) placement {
	if p.place != nil {
		p.place.Edition = e
	}
	return p
}

// layout is where the steps of a deployment run, as far as that is the same for all agents
// on which it fires.
type layout struct {
	fixed    []placement        // of each step in order
	editions []protocol.Edition // of each that was asked for; 0: not yet
	// paired are the agents that run the steps of sensors, by name.
	paired map[protocol.AgentName]bool
	// origins are the agents on which it fires, ascending, by site; through are those of them
	// whose steps another agent runs, by its name too.
	origins map[protocol.Site][]protocol.AgentName
	through map[protocol.Address][]protocol.AgentName
}

// edition names the i-th step as this version has it: by all that its hosts run it by, but for
// what follows from the agent. See RATIONALE.md, Why do hosts have editions?
func (l *layout) edition(d *Deployment, i int) protocol.Edition {
	if l.editions[i] != 0 {
		return l.editions[i]
	}
	s := d.Workflow.StepsInOrder()[i]
	step := hosted(stepFor(s, &d.Releases[i], nil))
	written := []any{s.Type, step, s.With, d.Workflow.Once}
	for k := range s.Templates {
		written = append(written, s.Templates[k].Keys, s.Templates[k].Tree.Text)
	}
	sum := protocol.DigestOf(protocol.MustMarshal(written))
	l.editions[i] = protocol.Edition(binary.BigEndian.Uint32(sum[:])) | editionBit
	return l.editions[i]
}

// editionBit keeps editions apart from 0 and from the small numbers by which an agent tells
// its own steps' instances apart.
const editionBit = 1 << 31

// Elsewhere reports whether a step may run on another agent than the one on which the
// workflow fired, so that a plan for one agent follows from the others too.
func (d *Deployment) Elsewhere(fleet []Agent) bool {
	for _, v := range append(d.Versions(), d) {
		for _, s := range v.Workflow.StepsInOrder()[1:] {
			if !v.affected(s) {
				return true
			}
		}
	}
	return slices.ContainsFunc(fleet, func(a Agent) bool { return a.Labels[LabelActionAgent] != "" })
}

// affected reports whether a step runs where the workflow fired.
func (d *Deployment) affected(s *workflow.Step) bool {
	return s.Target.Kind == workflow.Affected || s.Target.String() == d.Workflow.Trigger.Target.String()
}

// lay works out once what is the same for all agents.
func (d *Deployment) lay() *layout {
	if d.laid != nil {
		return d.laid
	}
	steps := d.Workflow.StepsInOrder()
	l := &layout{
		paired: map[protocol.AgentName]bool{}, editions: make([]protocol.Edition, len(steps)),
		origins: map[protocol.Site][]protocol.AgentName{}, through: map[protocol.Address][]protocol.AgentName{},
	}
	for i, s := range steps {
		one := placement{}
		if s.Type != protocol.Trigger && !d.affected(s) {
			one = d.among(i, s, func(a *Agent) bool { return meant(a, s.Target) }).in(l.edition(d, i))
		}
		l.fixed = append(l.fixed, one)
	}
	for i := range d.Fleet {
		a := &d.Fleet[i]
		if !watches(a, d.Workflow.Trigger.Target) {
			continue
		}
		site := a.Address.Site
		l.origins[site] = append(l.origins[site], a.Address.Agent)
		if name := protocol.AgentName(a.Labels[LabelActionAgent]); name != "" {
			l.paired[name] = true
			at := protocol.Address{Site: site, Agent: name}
			l.through[at] = append(l.through[at], a.Address.Agent)
		}
	}
	for _, names := range l.origins { // each alone: order does not matter
		slices.Sort(names)
	}
	for _, names := range l.through {
		slices.Sort(names)
	}
	d.laid = l
	return l
}

// meant reports whether a target names a.
func meant(a *Agent, t workflow.Target) bool {
	switch t.Kind {
	case workflow.OneAgent:
		return t.Agent == a.Address.Agent
	case workflow.Group:
		return t.Group.Match(a.Labels)
	case workflow.Pool:
		return t.Pool == a.Labels[LabelPool]
	case workflow.Hub:
		return a.Labels[LabelHub] == "yes"
	default:
		return false
	}
}

// mayRun says why a cannot run a step of r for others, nil when it can.
func mayRun(s *workflow.Step, r *Release, a *Agent) error {
	if _, err := Choose(r, a); err != nil {
		return err
	}
	if a.Labels[LabelDuty] == dutySensor {
		return protocol.Errorf(protocol.CodeIncompatible, "agent %s is a sensor (label %s): it runs no steps",
			a.Address, LabelDuty)
	}
	_, err := configOn(s, r, a)
	return err
}

// among makes a place of the agents of the fleet that are meant and can run the step.
func (d *Deployment) among(i int, s *workflow.Step, named func(*Agent) bool) placement {
	r := &d.Releases[i]
	p := &protocol.Place{Pick: s.Target.Pick, WithinMS: s.Target.Within.Milliseconds()}
	if p.Pick == 0 {
		p.Pick = protocol.PickRendezvous
	}
	if s.Target.Kind == workflow.Group {
		p.Pick = protocol.PickAll
	}
	if p.WithinMS == 0 {
		p.WithinMS = withinDefault
	}
	var unfit error
	for k := range d.Fleet {
		a := &d.Fleet[k]
		if !named(a) {
			continue
		}
		if err := mayRun(s, r, a); err != nil {
			unfit = cmp.Or(unfit, err)
			continue
		}
		p.Members = append(p.Members, a.Address)
	}
	where := s.Target.String()
	if s.Target.Kind == workflow.Affected {
		where = "the sensor's action agent"
	}
	switch n := len(p.Members); {
	case n == 0 && unfit != nil:
		return placement{err: protocol.Errorf(protocol.CodeIncompatible, "%s: nobody can run it: %w", where, unfit)}
	case n == 0:
		return placement{err: protocol.Errorf(protocol.CodeNotFound, "%s: there is no such agent", where)}
	case n > protocol.MembersMax:
		return placement{err: protocol.Errorf(protocol.CodeLimit, "%s: %d agents, limit %d", where, n,
			protocol.MembersMax)}
	}
	slices.SortFunc(p.Members, func(m, n protocol.Address) int {
		return strings.Compare(m.String(), n.String())
	})
	return placement{place: p}
}

// placeFor returns where the i-th step runs when the workflow fires on origin.
func (d *Deployment) placeFor(i int, s *workflow.Step, origin *Agent) placement {
	if s.Type == protocol.Trigger {
		return placement{}
	}
	if !d.affected(s) {
		return d.lay().fixed[i]
	}
	through := protocol.AgentName(origin.Labels[LabelActionAgent])
	switch {
	case through != "":
		named := func(a *Agent) bool { return a.Address.Agent == through }
		return d.among(i, s, named).in(d.lay().edition(d, i))
	case origin.Labels[LabelDuty] == dutySensor:
		return placement{err: protocol.Errorf(protocol.CodeIncompatible,
			"agent %s is a sensor (label %s) and names no agent that runs its steps (label %s)", origin.Address,
			LabelDuty, LabelActionAgent)}
	default:
		return placement{}
	}
}

// hosts returns the steps of d that a runs for the agents on which d fires, and their
// releases.
func (d *Deployment) hosts(a *Agent, approve []protocol.Grant) (out []protocol.Host, of []*Release) {
	l := d.lay()
	for i, s := range d.Workflow.StepsInOrder() {
		place := l.fixed[i].place
		here, origins := place != nil && slices.Contains(place.Members, a.Address), l.origins[a.Address.Site]
		if s.Type != protocol.Trigger && d.affected(s) {
			here, origins = l.paired[a.Address.Agent] && mayRun(s, &d.Releases[i], a) == nil, l.through[a.Address]
		}
		if !here {
			continue
		}
		host := protocol.Host{
			Workflow: d.Workflow.Name, Type: s.Type, Step: hosted(stepOn(s, &d.Releases[i], a, approve)),
			Once: d.Workflow.Once, Edition: l.edition(d, i),
		}
		letIn(&host, origins)
		out = append(out, host)
		of = append(of, &d.Releases[i])
	}
	return out, of
}

// letIn lets more agents, in ascending order, ask for a hosted step.
func letIn(h *protocol.Host, origins []protocol.AgentName) {
	all := origins // of a layout, and shared: never written
	if len(h.Origins) > 0 && !slices.Equal(h.Origins, origins) {
		all = slices.Concat(h.Origins, origins)
		slices.Sort(all)
		all = slices.Compact(all)
	}
	if h.Open = h.Open || len(all) > protocol.OriginsMax; h.Open {
		all = nil
	}
	h.Origins = all
}

// hosted is a step as its members have it.
func hosted(s protocol.Step) protocol.Step {
	s.When, s.If, s.Retry = 0, nil, protocol.Retry{} // the run's own agent sees to them
	s.Timeout = timeoutOf(&s)
	return s
}

// stepAway is what the run's own agent knows of a step that others run.
func stepAway(s *workflow.Step, r *Release, place *protocol.Place) protocol.Step {
	full := stepFor(s, r, nil)
	return protocol.Step{
		Name: s.Name, Place: place, Timeout: timeoutOf(&full), Retry: s.Retry, When: s.When, If: s.If,
	}
}

func timeoutOf(s *protocol.Step) int64 {
	if s.Timeout > 0 {
		return s.Timeout
	}
	return int64(s.Limits.Seconds) * 1000
}

// Connects reports whether a version of d lets a word about a step pass between the agent on
// which it fires and one that runs the step. It looks at these two only: it is asked for every
// word.
func (d *Deployment) Connects(origin, member *Agent, step protocol.StepName) bool {
	connects := func(v *Deployment) bool { return v.connects(origin, member, step) }
	return slices.ContainsFunc(d.Versions(), connects)
}

// Hosts reports whether a runs steps of d, as it is itself and not as it was, for other agents.
func (d *Deployment) Hosts(a *Agent) bool {
	hosts, _ := d.hosts(a, nil)
	return len(hosts) > 0
}

func (d *Deployment) connects(origin, member *Agent, step protocol.StepName) bool {
	if !watches(origin, d.Workflow.Trigger.Target) {
		return false
	}
	for i, s := range d.Workflow.StepsInOrder() {
		if s.Name != step || s.Type == protocol.Trigger {
			continue
		}
		named := meant(member, s.Target)
		if d.affected(s) {
			named = string(member.Address.Agent) == origin.Labels[LabelActionAgent]
		}
		return named && mayRun(s, &d.Releases[i], member) == nil
	}
	return false
}
