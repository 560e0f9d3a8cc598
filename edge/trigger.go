package edge

import (
	"bytes"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// keyTrigger is followed by the workflow's name.
const keyTrigger = "trigger/"

// KeyKV returns the prefix under which a store keeps what the plugins of a workflow put
// by. The agent removes it with the workflow.
func KeyKV(workflow protocol.WorkflowName) string { return "kv/" + string(workflow) + "/" }

// work is one assignment at work.
type work struct {
	of     protocol.Assignment
	digest protocol.Digest // of the assignment's encoding

	triggerDigest, shape protocol.Digest // of the trigger, and of the names of the steps

	steps      []protocol.Step
	loads      []Load // one for each step, grants already cut
	cut        []string
	conditions conditions
	fillings   []*filling // one for each step
	phase      protocol.Phase
	err        *protocol.Error
	barred     *protocol.Error // why it stands still: a release of it is revoked; nil: it may run
	turn       uint32
	ending     bool      // a newer one is in its place: its trigger is off
	waits      bool      // its plugins are loaded when the memory of the one before is free
	loading    int       // loads not answered yet
	tries      int       // loads of the whole assignment that went wrong in a row
	loadAt     time.Time // when to load again; zero: not
	trigger    trigger
	runs       []*run  // some of the first are under way
	asked      int     // how many of them
	asks       asks    // room for what they ask
	speeds     []speed // of the steps
	fired      uint64
	failed     uint64
	// filtered counts the events that the workflow's condition let go by.
	filtered uint64
	trial    trialSoFar
	storm    storm
	blocked  uint64 // wakes held back because too many runs wait
	held     bool   // a wake is being held back
	turns    uint64 // steps that went round a pool
}

// trigger is when and with what the assignment's trigger is woken next.
type trigger struct {
	state  protocol.Raw
	why    wasmhost.Why
	at     time.Time // zero: never
	wallMS int64     // what the wall clock is to show then; 0: that does not matter
	kept   time.Time // the timer from before an arming, which still goes off; zero: none
	missed int64     // the first firing that was missed while the agent was off, unix ms; 0: none
	back   uint32    // firings that were brought back in a row
	unsure *unsure   // nil: nothing is
	call   CallID    // 0: none under way
	tries  int

	topics  []string      // filters that it waits for
	heard   []Publication // what came on them, oldest first
	message *Publication  // of the wake that is due or under way
	refused []string      // filters beyond its grants
}

// callKind is what a call under way is for.
type callKind uint8

const (
	forTrial callKind = iota
	forLoad
	forWake
	forRun
	forHostLoad
	forGuest
)

// call is a question to a plugin that is not answered yet.
type call struct {
	kind     callKind
	instance Instance
	work     *work
	run      *run // of a call for a step
	trial    *candidate
	host     *hosting // of a call for another agent's runs
	guest    *guest
	deadline time.Time
	inward   bool // nothing leaves the agent by it
}

// assign makes gen's assignments the ones at work: equal ones are not touched, changed
// ones are loaded afresh, the ones that gen does not name end.
func (a *Agent) assign(gen *generation) {
	a.barEndings(gen)
	var works []*work
	for _, of := range gen.desired.Assignments {
		old, digest := a.work(of.Workflow), protocol.DigestOf(protocol.MustMarshal(of))
		barred := gen.barred(stepsOf(&of)...)
		if old != nil && old.digest == digest && (old.barred == nil) == (barred == nil) {
			works = append(works, old)
			continue
		}
		w := a.newWork(gen, of, digest)
		if old != nil {
			a.replace(w, old, gen)
		}
		w.turn = a.turn(of.Workflow)
		w.waits = w.turn > 0 && !a.fits(w)
		works = append(works, w)
		a.load(w)
	}
	for _, old := range a.works {
		if !slices.ContainsFunc(works, func(w *work) bool { return w.of.Workflow == old.of.Workflow }) {
			a.forget(old)
			a.erase(old)
		}
	}
	slices.SortFunc(works, func(v, w *work) int {
		return strings.Compare(string(v.of.Workflow), string(w.of.Workflow))
	})
	a.works = works
	a.assignHosts(gen)
	a.wantSecrets()
}

// erase ends a workflow that is no longer assigned here.
func (a *Agent) erase(w *work) {
	w.waits = false
	a.remove(keyTrigger + string(w.of.Workflow))
	a.eraseStorm(w)
	a.abandon(w, w.runs, "workflow is no longer assigned here")
	a.dropEndings(w.of.Workflow)
	a.copyAll(KeyKV(w.of.Workflow), "")
	a.copyAll(keyShot+string(w.of.Workflow)+"/", "")
}

// newWork prepares an assignment: what its steps load, under this device's policy.
func (a *Agent) newWork(gen *generation, of protocol.Assignment, digest protocol.Digest) *work {
	w := &work{of: of, digest: digest, steps: stepsOf(&of), trial: trialSoFar{revision: gen.desired.Revision}}
	w.barred = gen.barred(w.steps...)
	w.conditions, _ = readConditions(&of) // opening the document has read them once
	w.loads, w.fillings = make([]Load, 0, len(w.steps)), make([]*filling, 0, len(w.steps))
	w.speeds = make([]speed, len(w.steps))
	for _, s := range w.steps {
		f, _ := readFilling(&s) // as the conditions
		w.fillings = append(w.fillings, f)
		if w.barred != nil {
			w.loads = append(w.loads, Load{})
			continue
		}
		if s.Place != nil {
			w.loads = append(w.loads, Load{Step: s}) // it is loaded elsewhere
			continue
		}
		l := gen.load(s)
		left, taken := a.cfg.Policy.Cut(s.Grants)
		l.Step.Grants = left
		for _, t := range taken {
			w.cut = append(w.cut, string(s.Name)+": "+t)
		}
		w.loads = append(w.loads, l)
	}
	w.triggerDigest, w.shape = w.nameTrigger(gen.ref(of.Trigger.Release).Plugin), w.nameSteps()
	return w
}

// forget ends the instances of w; answers to its calls are no longer waited for.
func (a *Agent) forget(w *work) {
	for id, c := range a.calls { // all of them go: order does not matter
		if c.work == w {
			delete(a.calls, id)
		}
	}
	a.dropAways(w)
	for i, s := range w.steps {
		if s.Place == nil {
			instance := w.instance(i)
			a.after(func() { a.plugins.Stop(instance) })
		}
	}
}

// work returns the assignment of a workflow, nil if there is none.
func (a *Agent) work(name protocol.WorkflowName) *work {
	for _, w := range a.works {
		if w.of.Workflow == name {
			return w
		}
	}
	return nil
}

// nameTrigger names the trigger by plugin and configuration.
func (w *work) nameTrigger(plugin protocol.PluginName) protocol.Digest {
	return protocol.DigestOf(protocol.MustMarshal(
		[]any{plugin, w.of.Trigger.Name, w.of.Trigger.Config}))
}

// nameSteps names the steps of a run in order.
func (w *work) nameSteps() protocol.Digest {
	names := []any{len(w.of.Actions)}
	for _, s := range w.steps[1:] {
		names = append(names, s.Name)
	}
	return protocol.DigestOf(protocol.MustMarshal(names))
}

// load begins to load every step of w.
func (a *Agent) load(w *work) {
	w.phase, w.loadAt, w.loading = protocol.PhaseLoading, time.Time{}, 0
	if w.err = w.barred; w.err != nil {
		w.phase = protocol.PhaseFailed
		a.report.touch(a.now)
		return
	}
	if w.waits { // for the memory of the work before
		return
	}
	for i, l := range w.loads {
		if w.steps[i].Place != nil || w.ending && i == 0 {
			continue
		}
		w.loading++
		a.startLoad(&call{kind: forLoad, work: w, instance: w.instance(i)}, l)
	}
	a.report.touch(a.now)
}

func (a *Agent) startLoad(c *call, l Load) {
	c.deadline = a.now.Add(a.cfg.LoadWait)
	a.start(c, Call{Instance: c.instance, Load: &l})
}

// start asks a plugin once everything that the question stands on is on the disk.
func (a *Agent) start(c *call, ask Call) CallID {
	a.last++
	ask.ID = a.last
	a.calls[ask.ID] = c
	a.afterStart(ask, c.inward)
	return ask.ID
}

// reload loads again what failed to load.
func (a *Agent) reload() {
	for _, w := range a.works {
		if w.phase == protocol.PhaseFailed {
			w.tries = 0
			a.load(w)
		}
	}
}

// answer gives an answer to the one who waits for it.
func (a *Agent) answer(in Answered) {
	c := a.calls[in.ID]
	if c == nil {
		return
	}
	delete(a.calls, in.ID)
	if in.Lost && c.work != nil {
		a.log.Warn("plugin that rested did not come back", slog.String("workflow", string(in.Instance.Workflow)),
			slog.String("step", string(in.Instance.Step)), slog.String("error", in.Answer.Error.Error()))
		a.again(c.work)
		return
	}
	if in.Lost && c.host != nil {
		a.hostAgain(c.host)
		return
	}
	switch c.kind {
	case forTrial:
		a.tried(c, in.Answer.Error)
	case forLoad:
		a.loaded(c.work, in.Answer.Error)
	case forWake:
		a.woken(c.work, in.Answer)
	case forRun:
		a.ended(c.work, c.run, in.Answer)
	case forHostLoad:
		a.hostLoaded(c.host, in.Answer.Error)
	case forGuest:
		a.guestEnded(c.host, c.guest, in.Answer)
	}
}

// loaded takes the end of one load. When all are in, the trigger is armed; or the
// assignment has failed and is loaded again after a while.
func (a *Agent) loaded(w *work, err *protocol.Error) {
	w.loading--
	if err != nil && w.err == nil {
		w.err = err
	}
	if w.loading > 0 {
		return
	}
	a.report.touch(a.now)
	if w.err != nil {
		a.loadFailed(w)
		return
	}
	w.phase, w.tries = protocol.PhaseRunning, 0
	w.trial.begun = a.now
	if w.ending {
		return
	}
	w.trigger.rearm(a.now)
	a.log.Info("assignment running", slog.String("workflow", string(w.of.Workflow)))
}

func (a *Agent) loadFailed(w *work) {
	w.phase = protocol.PhaseFailed
	w.trigger.at = time.Time{}
	if w.tries++; w.tries < a.cfg.LoadTries {
		w.loadAt = a.now.Add(a.pause(w.tries - 1))
	}
	a.log.Warn("assignment not loaded", slog.String("workflow", string(w.of.Workflow)),
		slog.Int("tries", w.tries), slog.String("error", w.err.Error()))
	rotten := !w.ending && (w.err.Code == protocol.CodeDigest || w.err.Code == protocol.CodeNotFound)
	if rotten && a.next == nil && a.held != nil {
		a.next = &candidate{hint: protocol.Hint{
			Epoch: a.held.desired.Epoch, Revision: a.held.desired.Revision, Digest: a.held.digest,
		}, ready: true, trials: []trial{}}
	}
}

// advance begins everything that is due.
func (a *Agent) advance() {
	if a.draining {
		return
	}
	a.pursue()
	a.measure()
	a.hearSelf()
	a.tendHosts()
	a.tendGuests()
	a.hop()
	a.tendEndings()
	for _, w := range a.works {
		switch {
		case w.phase != protocol.PhaseRunning:
			if !w.loadAt.IsZero() && !a.now.Before(w.loadAt) {
				a.load(w)
			}
		default:
			a.fireLatest(w)
			a.wake(w)
			a.step(w)
		}
	}
}

// due returns when advance has something to do for w.
func (w *work) due(runsMax int) time.Time {
	if w.phase != protocol.PhaseRunning {
		return w.loadAt
	}
	var t time.Time
	if w.trigger.call == 0 && len(w.runs) < runsMax {
		t = w.trigger.at
	}
	if len(w.runs) > 0 && w.asked == 0 {
		t = sooner(t, w.runs[0].at)
	}
	return sooner(t, w.storm.due(len(w.runs) < runsMax))
}

// runsMax is how many runs of a workflow may wait before its trigger is held back: none while
// its lane is full.
func (a *Agent) runsMax(w *work) int {
	if a.full(w.lane()) {
		return 0
	}
	return a.cfg.RunsMax
}

// lane is where the events of a workflow go.
func (w *work) lane() protocol.Lane {
	if w.of.Urgent {
		return protocol.LaneAlarm
	}
	return protocol.LaneEvent
}

// wake wakes a trigger whose time has come, unless too many of its runs wait.
func (a *Agent) wake(w *work) {
	t := &w.trigger
	t.next(a.now)
	if t.call != 0 || t.at.IsZero() || a.now.Before(t.at) || a.tooSoon(w) {
		return
	}
	if len(w.runs) >= a.runsMax(w) {
		if !w.held {
			w.held = true
			w.blocked++
			a.log.Warn("trigger held back: too many runs or records wait",
				slog.String("workflow", string(w.of.Workflow)), slog.Int("runs", len(w.runs)),
				slog.Uint64("times", w.blocked))
		}
		return
	}
	w.held = false
	a.asking = &asks{most: 1}
	req := &wasmhost.Request{
		Kind: wasmhost.Wake, Now: a.stamp(), SteadyMS: a.steady(), Why: t.why, State: t.state,
		TimeoutMS: w.of.Trigger.Timeout,
	}
	if t.message != nil {
		req.Message = &t.message.Message
	}
	if w.of.CatchUp == protocol.CatchUpAll && t.why == wasmhost.WhyTimer && t.missed != 0 {
		req.Now.UnixMS = t.missed
	}
	t.call = a.ask(w, 0, forWake, req)
}

// ask puts a request to the n-th step of w.
func (a *Agent) ask(w *work, n int, kind callKind, req *wasmhost.Request) CallID {
	c := a.asking.call(call{kind: kind, work: w, instance: w.instance(n), inward: w.loads[n].inward()})
	c.deadline = a.now.Add(w.timeout(n, req) + a.cfg.CallGrace)
	return a.start(c, Call{Instance: c.instance, Request: req, Depth: w.depth(kind, req)})
}

// timeout returns how long the n-th step of w may take for a request.
func (w *work) timeout(n int, req *wasmhost.Request) time.Duration {
	if req.TimeoutMS > 0 {
		return time.Duration(req.TimeoutMS) * time.Millisecond
	}
	return time.Duration(w.limits(n).Seconds) * time.Second
}

func (w *work) limits(n int) protocol.Limits {
	if w.steps[n].Limits.Seconds > 0 {
		return w.steps[n].Limits
	}
	return w.loads[n].Manifest.Limits.WithDefaults()
}

// woken takes a trigger's answer: its new state and one run for each event go to the
// disk together.
func (a *Agent) woken(w *work, ans wasmhost.Answer) {
	t := &w.trigger
	t.call = 0
	err := ans.Error
	if err == nil {
		err = checkWake(&ans, t.state)
	}
	if err != nil {
		t.at = a.now.Add(a.pause(t.tries))
		t.tries++
		t.unheard()
		w.trial.troubles++
		a.log.Warn("wake failed", slog.String("workflow", string(w.of.Workflow)), slog.Int("tries", t.tries),
			slog.String("code", err.Code.String()), slog.String("error", err.Error()))
		return
	}
	t.tries = 0
	fromStart := t.why == wasmhost.WhyStart
	changed := !slices.Equal(t.state, ans.State)
	t.state, t.why = ans.State, wasmhost.WhyTimer
	a.setTimer(w, fromStart, &ans.Next)
	if changed || len(ans.Events) > 0 || a.lasts(w) {
		a.saveTrigger(w)
	}
	for _, data := range ans.Events {
		a.fire(w, data)
	}
	a.listens(w, ans.Next.Topics)
	t.message = nil
}

// checkWake holds an answer against the bounds of the conversation. A state that was checked
// before, as the trigger's last, is not read again, nor one that is a number alone.
func checkWake(ans *wasmhost.Answer, last protocol.Raw) *protocol.Error {
	if len(ans.Events) > protocol.EventsMax {
		return protocol.Errorf(protocol.CodeContract, "wake: %d events, limit EventsMax %d",
			len(ans.Events), protocol.EventsMax)
	}
	if len(ans.State) > protocol.StateMax {
		return protocol.Errorf(protocol.CodeContract, "wake: state of %d bytes, limit StateMax %d",
			len(ans.State), protocol.StateMax)
	}
	var state any
	known := len(ans.State) == 0 || bytes.Equal(ans.State, last) || number(ans.State)
	if !known && protocol.Unmarshal(ans.State, &state) != nil {
		return protocol.Errorf(protocol.CodeContract, "wake: state is not one CBOR item")
	}
	for i, data := range ans.Events {
		if len(data) > protocol.DataMax {
			return protocol.Errorf(protocol.CodeContract, "wake: event %d of %d bytes, limit DataMax %d",
				i, len(data), protocol.DataMax)
		}
	}
	return nil
}

// number reports whether b is one whole number and nothing else.
func number(b []byte) bool {
	major, _, rest, ok := protocol.ReadHead(b)
	return ok && len(rest) == 0 && major <= protocol.MajorNint
}

// fire makes an event and with it a run: its record for the hub and the run itself
// go to the disk together, so that none is without the other.
func (a *Agent) fire(w *work, data protocol.Raw) {
	passes, unclear := w.passes(data)
	if !passes {
		w.filtered++
		return
	}
	if f := (&fired{Data: data, Depth: w.trigger.depth(), unclear: unclear}); a.admit(w, f) {
		a.beginRun(w, f)
	}
}

// beginRun makes the run of an event that was admitted.
func (a *Agent) beginRun(w *work, f *fired) {
	ev := protocol.Event{Workflow: w.of.Workflow, Time: a.stamp(), Data: f.Data}
	if a.held != nil {
		ev.Revision = a.held.desired.Revision
	}
	if _, err := io.ReadFull(a.random, ev.Run[:]); err != nil {
		a.log.Error("no run without a run id", slog.String("error", err.Error()))
		w.failed++
		return
	}
	r := &run{savedRun: savedRun{Event: ev, Shape: w.shape, Depth: f.Depth}, at: a.now}
	var err error
	if r.Mark, err = a.record(w.lane(), &r.Event); err != nil {
		a.log.Warn("event dropped", slog.String("workflow", string(w.of.Workflow)),
			slog.String("error", err.Error()))
		w.failed++
		return
	}
	w.fired++
	w.runs = append(w.runs, r)
	if f.unclear != nil {
		a.move(w, r, a.unclear(w, r, f.unclear))
		return
	}
	at := Instance{Workflow: w.of.Workflow, Step: w.steps[0].Name}
	a.remember(&w.storm.seen, w.of.Once, at, sighting{key: f.key, run: ev.Run})
	a.move(w, r, nil)
	if f.at.After(r.at) {
		r.at = f.at
	}
}
