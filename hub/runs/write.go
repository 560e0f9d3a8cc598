package runs

import (
	"github.com/stavily/stavily/protocol"
)

// The order in which a run's steps decide what the run is: one error outweighs any
// drop, one drop any success. A step that was skipped decides nothing.
const (
	worstNone    = 0
	worstOK      = 1
	worstDropped = 2
	worstError   = 3
)

func weight(s protocol.Status) int {
	switch s {
	case protocol.StatusOK:
		return worstOK
	case protocol.StatusDropped:
		return worstDropped
	case protocol.StatusError:
		return worstError
	default:
		return worstNone
	}
}

// pending is what is known of one run and is not in the books yet.
type pending struct {
	id       protocol.RunID
	workflow protocol.WorkflowName
	received int64 // ms since 1970: when the hub heard of it first
	fired    *fired
	steps    []step
}

// fired is the event of a run. A run belongs to the agent whose event was first: no
// other may take it over.
type fired struct {
	protocol.Event
	lane   *lane // that it came in
	record protocol.Record

	happened int64 // ms since 1970, by the hub's clock; 0: not known
}

// step is how one step of a run ended, as it stands in a run's row.
type step struct {
	_     struct{} `cbor:",toarray"`
	Agent protocol.AgentName
	Mark  protocol.Mark
	Body  []byte // protocol.Result, as it came

	result protocol.Result
}

// run returns what waits of a run, and begins it.
func (in *Intake) run(id protocol.RunID, w protocol.WorkflowName, received int64) *pending {
	if p := in.fresh.byID[id]; p != nil {
		return p
	}
	p := &pending{id: id, workflow: w, received: received}
	in.fresh.add(p)
	return p
}

// event begins a run, or completes one that a result began.
func (in *Intake) event(l *lane, r *protocol.Record, at arrival) error {
	e, err := protocol.DecodeEvent(r.Body)
	if err != nil {
		return err
	}
	if err := checkRun(e.Run, e.Workflow, e.Data); err != nil {
		return err
	}
	p := in.run(e.Run, e.Workflow, at.received)
	if p.fired != nil && p.fired.lane.agent != l.agent {
		return notIts(e.Run)
	}
	p.workflow, p.fired = e.Workflow, &fired{e, l, *r, at.happened}
	return nil
}

func notIts(id protocol.RunID) error {
	return protocol.Errorf(protocol.CodeNotMine, "event: run %s belongs to another agent", id)
}

// refuse puts the event into quarantine after it was counted as kept.
func (f *fired) refuse(received int64) *statement {
	f.lane.stored--
	row := f.lane.quarantine(&f.record, received, notIts(f.Run))
	return &row
}

// result keeps how one step of a run ended.
func (in *Intake) result(l *lane, r *protocol.Record, at arrival) error {
	result, err := protocol.DecodeResult(r.Body)
	if err != nil {
		return err
	}
	s := step{Agent: l.agent, Mark: turn(r), Body: r.Body, result: result}
	if err := checkResult(&s.result); err != nil {
		return err
	}
	in.run(s.result.Run, s.result.Workflow, at.received).add(s)
	return nil
}

// turnBits is how much of a turn is the sequence: a million records in a tenth of a second.
const turnBits = 20

// turn is where a result stands among all of its agent, in whichever lane each came: by the agent's
// steady clock, and within one tenth of a second of it by the mark. An agent that does not say what
// that clock showed has all its results in one lane, where the mark alone tells.
func turn(r *protocol.Record) protocol.Mark {
	if r.Steady == 0 {
		return r.Mark
	}
	return protocol.Mark{Boot: r.Mark.Boot, Sequence: r.Steady<<turnBits | r.Mark.Sequence&(1<<turnBits-1)}
}

// add adds a step; of two results of one step the later holds.
func (p *pending) add(s step) {
	for i := range p.steps {
		if was := &p.steps[i]; was.same(&s) {
			if s.Mark.After(was.Mark) {
				*was = s
			}
			return
		}
	}
	p.steps = append(p.steps, s)
}

func (s *step) same(o *step) bool {
	return s.Agent == o.Agent && s.result.Step == o.result.Step
}

// absorb adds what came later. It returns what keeps an event that is not its agent's.
func (p *pending) absorb(o *pending) (refused *statement) {
	switch {
	case o.fired == nil:
	case p.fired != nil && p.fired.lane.agent != o.fired.lane.agent:
		refused = o.fired.refuse(o.received)
	default:
		p.workflow, p.fired = o.workflow, o.fired
	}
	for _, s := range o.steps {
		p.add(s)
	}
	return refused
}

// sum returns what the steps make of their run.
func sum(steps []step) (worst int, ended bool) {
	for i := range steps {
		r := &steps[i].result
		worst, ended = max(worst, weight(r.Status)), ended || r.Last
	}
	return worst, ended
}

func checkRun(id protocol.RunID, workflow protocol.WorkflowName, data protocol.Raw) error {
	if id.IsZero() {
		return protocol.Errorf(protocol.CodeBadMessage, "run id: want one, got zeros")
	}
	if len(data) > protocol.DataMax {
		return protocol.Errorf(protocol.CodeLimit, "run %s: data of %d bytes, limit %d", id, len(data),
			protocol.DataMax)
	}
	return workflow.Check()
}

func checkResult(res *protocol.Result) error {
	if err := checkRun(res.Run, res.Workflow, res.Data); err != nil {
		return err
	}
	if err := res.Step.Check(); err != nil {
		return err
	}
	return res.Type.Check()
}
