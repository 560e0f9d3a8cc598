package edge

import (
	"log/slog"
	"slices"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// keyRun is followed by the run's ID.
const keyRun = "run/"

// run is one firing on its way through the steps.
type run struct {
	savedRun
	at   time.Time        // the next step not before
	call CallID           // 0: none under way
	off  int              // tries that the plugin could not be asked at all
	by   protocol.Address // who ran the step that ends, when it was not this agent

	saved int  // where its progress stands among the changes, plus one; 0: nowhere
	over  bool // it has ended

	config protocol.Raw // of the next step, filled; nil when it is the same for all runs
}

// savedRun is what a run leaves on the disk. After a power cut it goes on at the step
// that had not ended, under the same idempotency key.
type savedRun struct {
	Event   protocol.Event    `cbor:"1,keyasint"`
	Mark    protocol.Mark     `cbor:"2,keyasint"` // of the event's record: the order of runs
	Shape   protocol.Digest   `cbor:"3,keyasint"` // of the steps' names
	Next    uint32            `cbor:"4,keyasint"` // step, counted from the first action
	Results []protocol.Result `cbor:"5,keyasint,omitempty"`
	Tries   uint32            `cbor:"6,keyasint"` // of the next step
	// Depth counts the local messages that led to the event.
	Depth uint8 `cbor:"7,keyasint,omitempty"`
	// Repeated says that another run means the same: nothing more of it is run.
	Repeated bool `cbor:"8,keyasint,omitempty"`
	// Done are steps that ended well before the run was begun again.
	Done []protocol.StepName `cbor:"9,keyasint,omitempty"`
}

// encode returns what protocol.Marshal does, without reflection: it is written twice for
// every event.
func (r *savedRun) encode() []byte {
	if r.Repeated || len(r.Done) > 0 {
		return protocol.MustMarshal(r) // seldom
	}
	n, size := 5, 128+len(r.Event.Data)
	for i := range r.Results {
		size += 96 + len(r.Results[i].Data)
	}
	if len(r.Results) > 0 {
		n++
	}
	if r.Depth > 0 {
		n++
	}
	b := append(protocol.AppendMap(make([]byte, 0, size), n), 1)
	b = append(r.Event.AppendCBOR(b), 2)
	b = append(r.Mark.AppendCBOR(b), 3)
	b = append(r.Shape.AppendCBOR(b), 4)
	b = protocol.AppendUint(b, uint64(r.Next))
	if len(r.Results) > 0 {
		b = protocol.AppendArray(append(b, 5), len(r.Results))
		for i := range r.Results {
			b = r.Results[i].AppendCBOR(b)
		}
	}
	b = protocol.AppendUint(append(b, 6), uint64(r.Tries))
	if r.Depth > 0 {
		b = protocol.AppendUint(append(b, 7), uint64(r.Depth))
	}
	return b
}

// save writes how far a run is with the input's other changes. It is encoded when they go to
// the disk: of a run that goes on meanwhile only the last is written.
func (a *Agent) save(r *run) {
	if r.saved > 0 {
		return
	}
	a.remove(r.key())
	r.saved = len(a.pen.changes)
	a.pen.runs = append(a.pen.runs, r)
}

// endRun removes a run that is over.
func (a *Agent) endRun(r *run) {
	if r.over = true; r.saved == 0 {
		a.remove(r.key())
	}
}

func (r *run) key() string { return keyRun + r.Event.Run.String() }

// step asks the next step of the first run that waits, and with it of those behind it
// that have come as far and are due too: a queue is worked off together. Nothing more is
// asked before all of them are answered, so that no run gets ahead of the first by more
// than one step.
func (a *Agent) step(w *work) {
	if w.asked > 0 || len(w.runs) == 0 {
		return
	}
	n := 0
	for most := min(len(w.runs), w.together(a.cfg.RunsAtOnce)); n < most; n++ {
		if r := w.runs[n]; r.Next != w.runs[0].Next || a.now.Before(r.at) {
			break
		}
	}
	w.asks.begin(n)
	a.asking, w.speeds[w.runs[0].Next+1] = &w.asks, speed{}
	asked := w.runs[:n]
	if n > 1 { // what is asked elsewhere may move them
		asked = slices.Clone(asked)
	}
	for i, r := range asked {
		switch res := a.judge(w, r); {
		case res == nil:
			a.askStep(w, r)
		case i == 0:
			a.move(w, r, res)
			return
		default:
			return // it is judged again when it comes first
		}
	}
}

const (
	// quickRun is how long one run may take a step on average for more of them to be asked
	// together: nobody waits long for the first of them, and a cut repeats little.
	quickRun = 400 * time.Microsecond
	// quickTimes is how many times as many then are, as far as one request holds.
	quickTimes = 4
)

// speed is how long what a step was asked together last took.
type speed struct {
	took time.Duration
	runs int
}

func (p speed) quick() bool { return p.took > 0 && p.took <= time.Duration(p.runs)*quickRun }

// together returns how many runs are asked the next step of the first at most, given how
// many in any case.
func (w *work) together(always int) int {
	always = max(always, 1)
	if always == 1 || !w.speeds[w.runs[0].Next+1].quick() {
		return always
	}
	return max(min(always*quickTimes, wasmhost.BatchMax), always)
}

// asks is room for what is asked together: one piece of memory for all of it, used again when
// all of it is answered.
type asks struct {
	most     int // as many as can come
	requests []wasmhost.Request
	calls    []call
}

// begin empties it for as many as n. Nobody may hold what was in it.
func (s *asks) begin(n int) {
	s.most = max(n, 1)
	clear(s.requests)
	clear(s.calls)
	s.requests, s.calls = s.requests[:0], s.calls[:0]
}

// request keeps a request.
func (s *asks) request(r wasmhost.Request) *wasmhost.Request {
	if len(s.requests) == cap(s.requests) {
		s.requests = make([]wasmhost.Request, 0, s.most)
	}
	s.requests = append(s.requests, r)
	return &s.requests[len(s.requests)-1]
}

// call keeps a call.
func (s *asks) call(c call) *call {
	if len(s.calls) == cap(s.calls) {
		s.calls = make([]call, 0, s.most)
	}
	s.calls = append(s.calls, c)
	return &s.calls[len(s.calls)-1]
}

// askStep asks the next step of a run.
func (a *Agent) askStep(w *work, r *run) {
	n := int(r.Next) + 1
	s := &w.steps[n]
	if s.Place != nil {
		a.sendAway(w, r)
		return
	}
	req := a.asking.request(wasmhost.Request{
		Kind: wasmhost.Run, Now: a.stamp(), Event: &r.Event, Results: r.Results[:len(r.Results):len(r.Results)],
		Key: r.Event.Run.String() + "/" + string(s.Name), TimeoutMS: s.Timeout, Config: r.config,
	})
	if slotOf(&w.of, n) == protocol.Output {
		req.Kind = wasmhost.Deliver
	}
	w.asked++
	r.call = a.ask(w, n, forRun, req)
	c := a.calls[r.call]
	c.run = r
	c.deadline = c.deadline.Add(time.Duration(w.asked-1) * w.timeout(n, req)) // it may wait for the others
}

// ended takes a step's answer: its result and how far the run is go to the disk
// together. A retryable error has the step asked again, as often as it says.
func (a *Agent) ended(w *work, r *run, ans wasmhost.Answer) {
	w.asked--
	s, p := &w.steps[r.Next+1], &w.speeds[r.Next+1]
	p.took, p.runs = p.took+time.Duration(ans.Usage.TookUS)*time.Microsecond, p.runs+1
	r.call = 0
	if ans.Error != nil && ans.Error.Code == protocol.CodeUnavailable {
		r.at = a.now.Add(a.pause(r.off)) // it was not asked: no try
		r.off++
		return
	}
	r.off = 0
	r.Tries++
	w.trial.answered(ans.Error)
	if ans.Error != nil && ans.Error.Code == protocol.CodeRetryable && r.Tries <= s.Retry.Times {
		wait := time.Duration(min(s.Retry.WaitMS, time.Hour.Milliseconds())) * time.Millisecond
		r.at = a.now.Add(doubled(wait, int(min(r.Tries-1, 32)), time.Hour))
		a.save(r)
		return
	}
	res := a.result(w, r, protocol.StatusOK)
	res.TookUS, res.Tries, res.Data, res.By = ans.Usage.TookUS, r.Tries, ans.Data, r.by
	r.by = protocol.Address{}
	if ans.Error == nil && len(ans.Data) > protocol.DataMax {
		ans.Error = protocol.Errorf(protocol.CodeContract, "result of %d bytes, limit DataMax %d",
			len(ans.Data), protocol.DataMax)
	}
	if ans.Error != nil {
		res.Status, res.Error, res.Data = protocol.StatusError, protocol.AsError(ans.Error), nil
	}
	a.move(w, r, &res)
}

// result returns the result of a run's next step.
func (a *Agent) result(w *work, r *run, status protocol.Status) protocol.Result {
	n := int(r.Next) + 1
	return protocol.Result{
		Run: r.Event.Run, Workflow: w.of.Workflow, Step: w.steps[n].Name, Type: slotOf(&w.of, n),
		Status: status, Time: a.stamp(),
	}
}

// move takes a run past the step that ended with res, if any, and past all that are
// not to be run, to the next that is. After the last step the run is over.
func (a *Agent) move(w *work, r *run, res *protocol.Result) {
	results := a.results[:0]
	if res != nil {
		results = append(results, *res)
		r.past(res)
	}
	for int(r.Next)+1 < len(w.steps) && !r.wants(w) {
		if r.did(w.steps[r.Next+1].Name) {
			r.Next++
			continue
		}
		skip := a.result(w, r, protocol.StatusSkipped)
		results = append(results, skip)
		r.past(&skip)
	}
	over := int(r.Next)+1 >= len(w.steps)
	for i := range results {
		results[i].Last = over && i == len(results)-1
		a.recordResult(w, &results[i])
	}
	clear(results)
	a.results = results
	r.at = a.now
	if !over {
		a.save(r)
		return
	}
	a.endRun(r)
	if r.failed() {
		w.failed++
	}
	w.trial.ended(r)
	w.dismiss(r)
}

// dismiss takes a run that is over out of those that wait: nearly always the first, and then
// without moving the rest.
func (w *work) dismiss(r *run) {
	switch at := slices.Index(w.runs, r); {
	case at == 0:
		w.runs[0] = nil
		w.runs = w.runs[1:]
	case at > 0:
		w.runs = slices.Delete(w.runs, at, at+1)
	}
}

// past moves the run behind a step. Only actions' results are shown to later steps.
func (r *run) past(res *protocol.Result) {
	if res.Type == protocol.Action {
		r.Results = append(r.Results, *res)
	}
	r.Next++
	r.Tries = 0
}

// wants reports whether the next step is to be run: an action while none failed, an
// output as its When says.
func (r *run) wants(w *work) bool {
	n := int(r.Next) + 1
	if r.Repeated || len(r.Done) > 0 && r.did(w.steps[n].Name) {
		return false
	}
	if slotOf(&w.of, n) == protocol.Action {
		return !r.failed()
	}
	switch w.steps[n].When {
	case protocol.IfOK:
		return !r.failed()
	case protocol.IfError:
		return r.failed()
	default:
		return true
	}
}

// failed reports whether an action of the run did not end well.
func (r *run) failed() bool {
	return slices.ContainsFunc(r.Results, func(res protocol.Result) bool {
		return res.Status == protocol.StatusError || res.Status == protocol.StatusDropped
	})
}

// recordResult puts a result on its way to the hub. Data that no hub could read is
// the plugin's fault and leaves the result without it.
func (a *Agent) recordResult(w *work, res *protocol.Result) {
	_, err := a.record(w.laneOf(res), res)
	if err == nil {
		return
	}
	a.log.Warn("result without its data", slog.String("workflow", string(w.of.Workflow)),
		slog.String("step", string(res.Step)), slog.String("error", err.Error()))
	res.Data, res.Error = nil, protocol.AsError(err)
	if res.Status == protocol.StatusOK {
		res.Status = protocol.StatusError
	}
	if _, err := a.record(w.laneOf(res), res); err != nil {
		a.log.Error("result lost", slog.String("run", res.Run.String()), slog.String("error", err.Error()))
	}
}

// laneOf is where a result goes: one of a step that never ran, on which the hub acts, before all else.
func (w *work) laneOf(res *protocol.Result) protocol.Lane {
	switch {
	case res.Status == protocol.StatusDropped:
		return protocol.LaneControl
	case w.of.Urgent:
		return protocol.LaneAlarm
	default:
		return protocol.LaneResult
	}
}

// abandon ends runs whose steps are gone: each step that was not done is recorded as
// dropped, so that every event has an end at the hub.
func (a *Agent) abandon(w *work, runs []*run, why string) {
	for _, r := range runs {
		for int(r.Next)+1 < len(w.steps) {
			if r.did(w.steps[r.Next+1].Name) {
				r.Next++
				continue
			}
			res := a.result(w, r, protocol.StatusDropped)
			res.Error = protocol.AsError(protocol.Errorf(protocol.CodeStale, "%s", why))
			r.past(&res)
			res.Last = int(r.Next)+1 == len(w.steps)
			a.recordResult(w, &res)
		}
		a.endRun(r)
	}
}

// expire gives up calls that took longer than they ever should: the instance is
// loaded afresh, the call counts as ended by its deadline.
func (a *Agent) expire() {
	var ids []CallID
	for id, c := range a.calls {
		if !a.now.Before(c.deadline) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		c := a.calls[id]
		if c == nil {
			continue
		}
		a.log.Error("plugin does not answer", slog.String("workflow", string(c.instance.Workflow)),
			slog.String("step", string(c.instance.Step)))
		instance := c.instance
		a.after(func() { a.plugins.Stop(instance) })
		late := wasmhost.Answer{Error: protocol.Errorf(protocol.CodeDeadline, "no answer in time")}
		a.answer(Answered{ID: id, Instance: c.instance, Answer: late})
		switch {
		case c.work != nil && c.kind != forLoad:
			a.again(c.work)
		case c.host != nil && c.kind == forGuest:
			a.hostAgain(c.host)
		}
	}
}

// again loads all of w afresh; calls under way are no longer waited for.
func (a *Agent) again(w *work) {
	a.forget(w)
	for _, r := range w.runs {
		r.call = 0
	}
	w.asked, w.trigger.call = 0, 0
	w.asks = asks{} // a plugin that does not answer may still read the old ones
	a.load(w)
}
