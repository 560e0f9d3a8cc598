package edge

import (
	"log/slog"
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// keyGuest is followed by run and step: the result of a step that was run for another agent,
// until that agent has it.
const keyGuest = "hop/"

const (
	// takeFor is how long a Take of this agent stands: a Go that comes later begins nothing.
	takeFor = 30 * time.Second
	// guestsAtOnce bounds the steps that one host runs or has queued up, guestsMax the
	// results that are kept for others.
	guestsAtOnce = 32
	guestsMax    = 1024
	// strangeMax bounds the agents that are remembered for asking without being named.
	strangeMax = 16
)

// hosting is a step of others' runs that this agent runs.
type hosting struct {
	of      protocol.Host
	digest  protocol.Digest
	load    Load
	filling *filling
	phase   protocol.Phase
	err     *protocol.Error
	barred  *protocol.Error // why it stands still: its release is revoked; nil: it may run
	tries   int
	loadAt  time.Time // when to load again; zero: not
	ran     uint64
	failed  uint64
	waiting int // steps that run or are queued up
	strange []protocol.AgentName
	// seen is one for all editions of a step which tell by the same what an event means.
	seen *seen
}

// guest is one step of one run of another agent.
type guest struct {
	savedGuest
	host  *hosting // nil when only the result is left
	nonce uint64   // of the last Take
	took  time.Time
	call  CallID    // 0: not begun
	over  bool      // Result is how it ended
	again time.Time // when to say so again
	tries int
}

// savedGuest is what a guest leaves on the disk when it has ended.
type savedGuest struct {
	From   protocol.Address `cbor:"1,keyasint"`
	Order  uint64           `cbor:"2,keyasint"`
	Result protocol.Result  `cbor:"3,keyasint"`
}

func guestKey(run protocol.RunID, step protocol.StepName) string {
	return keyGuest + run.String() + "/" + string(step)
}

// assignHosts makes gen's hosts the ones at work: equal ones are not touched.
func (a *Agent) assignHosts(gen *generation) {
	var hosts []*hosting
	for _, of := range gen.desired.Hosts {
		step := of
		step.Origins, step.Open = nil, false // who may ask for it changes nothing of the step
		old, digest := a.host(of.Workflow, of.Step.Name, of.Edition), protocol.DigestOf(protocol.MustMarshal(step))
		barred := gen.barred(of.Step)
		if old != nil && old.digest == digest && (old.barred == nil) == (barred == nil) {
			old.of = of
			hosts = append(hosts, old)
			continue
		}
		h := &hosting{of: of, digest: digest, barred: barred}
		h.seen = seenWith(slices.Concat(hosts, a.hosts), &of)
		if barred == nil {
			h.load = gen.load(of.Step)
			h.load.Step.Grants, _ = a.cfg.Policy.Cut(of.Step.Grants)
		}
		h.filling, _ = readFilling(&of.Step) // opening the document has read it once
		hosts = append(hosts, h)
	}
	for _, old := range a.hosts {
		if !slices.Contains(hosts, old) {
			a.dropHost(old)
		}
	}
	a.hosts = hosts
	for _, h := range hosts {
		if h.phase == 0 {
			a.loadHost(h)
		}
	}
}

func (a *Agent) host(workflow protocol.WorkflowName, step protocol.StepName, e protocol.Edition) *hosting {
	for _, h := range a.hosts {
		if h.of.Workflow == workflow && h.of.Step.Name == step && h.of.Edition == e {
			return h
		}
	}
	return nil
}

// seenWith returns what of is to remember of events: the same as another edition of its step, so
// that what two agents detect is done once also while one of them has moved and the other has not.
func seenWith(hosts []*hosting, of *protocol.Host) *seen {
	for _, h := range hosts {
		same := h.of.Workflow == of.Workflow && h.of.Step.Name == of.Step.Name
		if same && h.of.Once.SameMeaning(of.Once) {
			return h.seen
		}
	}
	return &seen{}
}

// dropHost ends a host; what it was at is not answered, and offered again by those who want
// it.
func (a *Agent) dropHost(h *hosting) {
	a.leave(h)
	instance := h.instance()
	a.after(func() { a.plugins.Stop(instance) })
}

// leave forgets the calls of a host, and the guests that waited for them.
func (a *Agent) leave(h *hosting) {
	for id, c := range a.calls { // all of them go: order does not matter
		if c.host == h {
			delete(a.calls, id)
		}
	}
	for key, g := range a.guests { // all of them go: order does not matter
		if g.host == h && !g.over {
			delete(a.guests, key)
		}
	}
	h.waiting = 0
}

func (h *hosting) instance() Instance {
	return Instance{Workflow: h.of.Workflow, Step: h.of.Step.Name, Turn: uint32(h.of.Edition)}
}

func (a *Agent) loadHost(h *hosting) {
	h.phase, h.loadAt, h.err = protocol.PhaseLoading, time.Time{}, h.barred
	if h.err != nil {
		h.phase = protocol.PhaseFailed
		a.report.touch(a.now)
		return
	}
	a.startLoad(&call{kind: forHostLoad, host: h, instance: h.instance()}, h.load)
	a.report.touch(a.now)
}

func (a *Agent) hostLoaded(h *hosting, err *protocol.Error) {
	a.report.touch(a.now)
	if err == nil {
		h.phase, h.tries = protocol.PhaseRunning, 0
		return
	}
	h.phase, h.err = protocol.PhaseFailed, err
	if h.tries++; h.tries < a.cfg.LoadTries {
		h.loadAt = a.now.Add(a.pause(h.tries - 1))
	}
	a.log.Warn("host not loaded", slog.String("workflow", string(h.of.Workflow)),
		slog.String("step", string(h.of.Step.Name)), slog.String("error", err.Error()))
}

// hostAgain loads a host afresh; what it was at is not answered.
func (a *Agent) hostAgain(h *hosting) {
	a.dropHost(h)
	a.loadHost(h)
}

// tendHosts loads again what failed to load.
func (a *Agent) tendHosts() {
	for _, h := range a.hosts {
		if h.phase == protocol.PhaseFailed && !h.loadAt.IsZero() && !a.now.Before(h.loadAt) {
			a.loadHost(h)
		}
	}
}

// hearOrigin takes a word of the agent whose run a step belongs to.
func (a *Agent) hearOrigin(in *protocol.Hop) {
	key := guestKey(in.Run, in.Step)
	g := a.guests[key]
	if g != nil && g.From != in.From {
		return // nobody speaks for another's run
	}
	switch in.Word {
	case protocol.HopOffer:
		a.offered(key, g, in)
	case protocol.HopGo:
		a.begins(g, in)
	case protocol.HopKept:
		if g != nil && (g.over || g.call == 0) {
			a.forgetGuest(key, g)
		}
	default:
	}
}

// offered answers an offer: with the result when there is one, with a Take when the step
// could begin now, with nothing when it could not.
func (a *Agent) offered(key string, g *guest, in *protocol.Hop) {
	reply := protocol.Hop{To: in.From, Run: in.Run, Workflow: in.Workflow, Step: in.Step}
	switch {
	case g != nil && g.over:
		a.sayDone(g)
		return
	case g != nil && g.call != 0:
		reply.Word = protocol.HopBusy
		a.say(reply)
		return
	}
	h := a.host(in.Workflow, in.Step, in.Edition)
	if h == nil || !a.admits(h, in.From) || h.phase != protocol.PhaseRunning || h.waiting >= guestsAtOnce ||
		a.draining {
		return
	}
	if g == nil {
		a.sweepGuests()
		g = &guest{}
		g.From = in.From
		a.guests[key] = g
	}
	a.nonce++
	g.host, g.nonce, g.took = h, a.boot<<32|a.nonce, a.now
	reply.Word, reply.Nonce, reply.Load = protocol.HopTake, g.nonce, uint32(h.waiting)
	a.say(reply)
}

// admits reports whether the hub named an agent as one whose runs a step may be of. Each that it
// did not is told to the hub once, and not answered.
func (a *Agent) admits(h *hosting, from protocol.Address) bool {
	if h.of.Takes(from, a.cfg.Address) {
		return true
	}
	if slices.Contains(h.strange, from.Agent) {
		return false
	}
	h.strange = append(h.strange[:min(len(h.strange), strangeMax-1)], from.Agent)
	a.log.Warn("step refused: no workflow lets that agent ask for it", slog.String("from", from.String()),
		slog.String("workflow", string(h.of.Workflow)), slog.String("step", string(h.of.Step.Name)))
	a.tell(protocol.LaneAudit, protocol.Audit{
		Plugin: h.load.Manifest.Plugin.Name, Workflow: h.of.Workflow, Capability: protocol.AuditHop, Denied: 1,
		Subject: from.String(),
	})
	return false
}

// begins asks the plugin, when the Go answers the last Take and that is not long ago.
func (a *Agent) begins(g *guest, in *protocol.Hop) {
	if g == nil || g.over || g.call != 0 || in.Nonce != g.nonce || a.now.Sub(g.took) > takeFor || a.draining {
		return
	}
	h := g.host
	if !a.admits(h, in.From) { // any more
		return
	}
	if a.repeats(g, h, in.Event) {
		return
	}
	req := &wasmhost.Request{
		Kind: wasmhost.Run, Now: a.stamp(), Event: in.Event, Results: in.Results,
		Key: in.Run.String() + "/" + string(in.Step), TimeoutMS: h.of.Step.Timeout,
	}
	if h.of.Type == protocol.Output {
		req.Kind = wasmhost.Deliver
	}
	h.waiting++
	g.Result = protocol.Result{Run: in.Run, Workflow: in.Workflow, Step: in.Step, Type: h.of.Type, Tries: 1}
	var err error
	if req.Config, err = h.filling.fill(in.Event.Data, in.Results); err != nil {
		a.guestEnded(h, g, wasmhost.Answer{Error: protocol.AsError(err)})
		return
	}
	c := &call{kind: forGuest, host: h, guest: g, instance: h.instance()}
	timeout := time.Duration(req.TimeoutMS) * time.Millisecond
	c.deadline = a.now.Add(time.Duration(h.waiting)*timeout + a.cfg.CallGrace)
	g.call = a.start(c, Call{Instance: c.instance, Request: req})
}

// guestEnded takes the answer of a step that was run for another agent: it goes to the disk
// and then to that agent, which asks for it again until it has it.
func (a *Agent) guestEnded(h *hosting, g *guest, ans wasmhost.Answer) {
	h.waiting--
	if ans.Error != nil && ans.Error.Code == protocol.CodeUnavailable {
		delete(a.guests, guestKey(g.Result.Run, g.Result.Step)) // it was not asked: no try
		return
	}
	h.ran++
	res := &g.Result
	res.Status, res.Time, res.TookUS, res.Data = protocol.StatusOK, a.stamp(), ans.Usage.TookUS, ans.Data
	if ans.Error == nil && len(ans.Data) > protocol.DataMax {
		ans.Error = protocol.Errorf(protocol.CodeContract, "result of %d bytes, limit DataMax %d", len(ans.Data),
			protocol.DataMax)
	}
	if ans.Error != nil {
		h.failed++
		res.Status, res.Error, res.Data = protocol.StatusError, protocol.AsError(ans.Error), nil
	}
	a.keepGuest(g)
}

// keepGuest puts how a guest ended on the disk, and tells.
func (a *Agent) keepGuest(g *guest) {
	a.nonce++
	g.call, g.over, g.Order = 0, true, a.boot<<32|a.nonce
	a.put(guestKey(g.Result.Run, g.Result.Step), g.savedGuest)
	a.sayDone(g)
}

// sayDone tells how a step ended, and again later: nobody else remembers it.
func (a *Agent) sayDone(g *guest) {
	res := &g.Result
	a.say(protocol.Hop{
		To: g.From, Word: protocol.HopDone, Run: res.Run, Workflow: res.Workflow, Step: res.Step, Result: res,
	})
	g.again = a.now.Add(doubled(hopPatience, g.tries, time.Hour))
	g.tries++
	a.guestsAt = sooner(a.guestsAt, g.again)
}

// tendGuests says again what others have not taken yet. A line that is new is tried at once.
func (a *Agent) tendGuests() {
	if a.guestsAt.IsZero() || a.now.Before(a.guestsAt) || !a.heard() {
		return
	}
	a.guestsAt = time.Time{}
	for _, key := range slices.Sorted(maps.Keys(a.guests)) {
		g := a.guests[key]
		if !g.over {
			continue
		}
		if !a.now.Before(g.again) {
			a.sayDone(g)
		}
		a.guestsAt = sooner(a.guestsAt, g.again)
	}
}

func (a *Agent) forgetGuest(key string, g *guest) {
	delete(a.guests, key)
	if g.over {
		a.remove(key)
	}
}

// sweepGuests bounds what is kept for others: offers that led to nothing go first, then the
// results that were kept longest.
func (a *Agent) sweepGuests() {
	if len(a.guests) < guestsMax {
		return
	}
	var oldest string
	for key, g := range a.guests { // the oldest of all: order does not matter
		switch {
		case !g.over && g.call == 0 && a.now.Sub(g.took) > takeFor:
			delete(a.guests, key)
		case g.over && (oldest == "" || g.Order < a.guests[oldest].Order):
			oldest = key
		}
	}
	if len(a.guests) >= guestsMax && oldest != "" {
		a.log.Warn("result for another agent forgotten: it never took it", slog.String("key", oldest))
		a.forgetGuest(oldest, a.guests[oldest])
	}
}

// readGuests takes up the results that others have not taken yet.
func (a *Agent) readGuests() error {
	return a.store.Scan(keyGuest, "", func(key string, value []byte) bool {
		g := &guest{over: true}
		if err := protocol.UnmarshalExact(slices.Clone(value), &g.savedGuest); err != nil {
			a.log.Error("result for another agent not readable: dropped", slog.String("key", key),
				slog.String("error", err.Error()))
			a.remove(key)
			return true
		}
		a.guests[key], a.guestsAt = g, a.now
		return true
	})
}

// hostStatuses returns how the hosts of workflows fare that have no part here of their own.
func (a *Agent) hostStatuses() []protocol.AssignmentStatus {
	var out []protocol.AssignmentStatus
	for _, h := range a.hosts {
		if a.work(h.of.Workflow) != nil {
			continue
		}
		s := protocol.AssignmentStatus{
			Workflow: h.of.Workflow, Phase: h.phase, Error: brief(h.err), Fired: h.ran, Failed: h.failed,
		}
		at := slices.IndexFunc(out, func(o protocol.AssignmentStatus) bool { return o.Workflow == s.Workflow })
		if at < 0 {
			out = append(out, s)
			continue
		}
		out[at].Fired += s.Fired
		out[at].Failed += s.Failed
		if out[at].Phase == protocol.PhaseRunning { // the worst of them says how the workflow is here
			out[at].Phase, out[at].Error = s.Phase, s.Error
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Workflow < out[j].Workflow })
	return out
}

// checkHosts holds the hosts of a desired document against what this agent relies on.
func checkHosts(d *protocol.Desired, listed map[protocol.Digest]bool) error {
	if len(d.Hosts) > protocol.AssignmentsMax {
		return protocol.Errorf(protocol.CodeLimit, "desired: %d hosts, limit AssignmentsMax %d", len(d.Hosts),
			protocol.AssignmentsMax)
	}
	seen := map[Instance]bool{}
	for i := range d.Assignments {
		for _, s := range stepsOf(&d.Assignments[i]) {
			seen[Instance{Workflow: d.Assignments[i].Workflow, Step: s.Name}] = s.Place == nil
		}
	}
	for i := range d.Hosts {
		h := &d.Hosts[i]
		if err := h.Workflow.Check(); err != nil {
			return err
		}
		at := (&hosting{of: *h}).instance()
		switch {
		case seen[at]:
			return protocol.Errorf(protocol.CodeBadMessage, "desired: workflow %q: step %q is here twice", h.Workflow,
				clip(string(h.Step.Name)))
		case h.Type != protocol.Action && h.Type != protocol.Output:
			return protocol.Errorf(protocol.CodeBadMessage, "desired: workflow %q: step %q: type %q is not hosted",
				h.Workflow, clip(string(h.Step.Name)), clip(string(h.Type)))
		case h.Once.Check() != nil:
			return h.Once.Check()
		case h.CheckOrigins() != nil:
			return h.CheckOrigins()
		case h.Step.Place != nil || h.Step.Timeout <= 0:
			return protocol.Errorf(protocol.CodeBadMessage,
				"desired: workflow %q: step %q: hosted elsewhere, or without end", h.Workflow, clip(string(h.Step.Name)))
		case !listed[h.Step.Release]:
			return protocol.Errorf(protocol.CodeBadMessage, "desired: workflow %q: step %q: release %s is not listed",
				h.Workflow, clip(string(h.Step.Name)), h.Step.Release.Short())
		}
		seen[at] = true
		if err := checkStep(&h.Step); err != nil {
			return err
		}
	}
	return nil
}
