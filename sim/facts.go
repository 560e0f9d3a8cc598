package sim

import (
	"strings"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// factKind is what a change on an agent's disk says.
type factKind uint8

const (
	factEvent   factKind = iota + 1 // an event was recorded
	factResult                      // a result was recorded
	factGone                        // a record of a lane was let go
	factRun                         // a run stands on the disk
	factRunGone                     // a run does not any more
	factLane                        // a lane's account
	factNewest                      // the highest revision ever held
	factCurrent                     // the document that is held
	factStorm                       // events of a workflow became no run
)

// fact is what one change on an agent's disk says to those who check.
type fact struct {
	kind     factKind
	lane     protocol.Lane
	holds    protocol.Lane // what kind of record it is, when it was looked into
	mark     protocol.Mark // of a record
	size     int64         // of a record, with its key
	fresh    bool          // a run: it was not there before
	id       protocol.RunID
	step     protocol.StepName
	workflow protocol.WorkflowName
	status   protocol.Status
	last     bool
	// account is what the disk says of a lane now and before, newest of revisions.
	account, before account
	storm, calm     storm // the same for what a workflow's limit and once let go by
	newest          newest
	digest          protocol.Digest
}

// account, storm and newest are how an agent keeps them.
type (
	account struct {
		Count   uint64
		Bytes   int64
		Dropped uint64
	}
	storm struct {
		Limited  uint64
		Repeated uint64
	}
	newest struct {
		Epoch    uint64
		Revision uint64
	}
)

// factsOf tells what changes say. The slice is used again by the next call.
func (w *World) factsOf(changes []written) []fact {
	out := w.facts[:0]
	for i := range changes {
		out = append(out, fact{})
		if !w.factOf(&changes[i], &out[len(out)-1]) {
			out = out[:len(out)-1]
		}
	}
	w.facts = out
	return out
}

// factOf puts into f, which is empty, what a change says; false: nothing.
func (w *World) factOf(c *written, f *fact) bool {
	switch {
	case c.lane != 0:
		return w.recordFact(c, f)
	case strings.HasPrefix(c.key, "run/"):
		id, err := protocol.ParseRunID(c.key[len("run/"):])
		f.kind, f.id, f.fresh = factRun, id, c.was == nil
		if c.value == nil {
			f.kind = factRunGone
		}
		return err == nil && (c.value != nil || c.was != nil)
	case strings.HasPrefix(c.key, "lane/"):
		f.kind, f.lane = factLane, laneOf(c.key[len("lane/"):])
		f.account = w.account(c.value)
		if c.was != nil {
			f.before = w.account(c.was)
		}
		return true
	case strings.HasPrefix(c.key, "storm/"):
		if c.value == nil {
			return false
		}
		f.kind, f.storm = factStorm, w.storm(c.value)
		if c.was != nil {
			f.calm = w.storm(c.was)
		}
		return true
	case c.key == "gen/newest":
		f.kind, f.newest = factNewest, w.newest(c.value)
		return true
	case c.key == "gen/current":
		f.kind = factCurrent
		p := peek{rest: c.value}
		p.id(f.digest[:])
		w.readable(c.key, &p)
		return true
	default:
		return false
	}
}

func laneOf(digit string) protocol.Lane {
	if len(digit) < 1 {
		return 0
	}
	return protocol.Lane(digit[0] - '0')
}

// recordFact tells of a record that was put or let go. Only events and results are
// looked into.
func (w *World) recordFact(c *written, f *fact) bool {
	value := c.value
	f.lane, f.mark = c.lane, c.mark
	if value == nil {
		if c.was == nil {
			return false
		}
		f.kind, value = factGone, c.was
	}
	f.size = int64(edge.RecordKeySize + len(value))
	switch f.lane {
	case protocol.LaneAudit, protocol.LaneMetric, protocol.LaneLog:
		return true // nobody asks for more of it
	case protocol.LaneEvent:
		if f.kind == factGone {
			return true
		}
	default:
	}
	rec := newPeek(value)
	for rec.next() {
		if rec.key == 3 {
			w.bodyFact(f, &rec)
		}
	}
	w.readable("record", &rec)
	return true
}

// bodyFact reads the body of an event or a result, which is rec's value.
func (w *World) bodyFact(f *fact, rec *peek) {
	of := factEvent
	if f.holds = f.lane; f.lane == protocol.LaneAlarm || f.lane == protocol.LaneControl {
		body := *rec
		body.pass(1)
		f.holds = f.lane.Holds(rec.rest[:len(rec.rest)-len(body.rest)])
	}
	if f.holds == protocol.LaneResult {
		of = factResult
	}
	if f.kind == 0 {
		f.kind = of
	}
	p := rec.enter()
	for p.next() {
		switch {
		case p.key == 1:
			p.id(f.id[:])
		case of == factEvent:
		case p.key == 2:
			f.workflow = protocol.WorkflowName(w.word(p.bytes()))
		case p.key == 3:
			f.step = protocol.StepName(w.word(p.bytes()))
		case p.key == 5:
			f.status = protocol.Status(p.uint())
		case p.key == 11:
			f.last = p.truth()
		default:
		}
	}
	rec.leave(&p)
}

func (w *World) account(b []byte) (a account) {
	p := newPeek(b)
	for p.next() {
		switch p.key {
		case 1:
			a.Count = p.uint()
		case 2:
			a.Bytes = p.int()
		case 3:
			a.Dropped = p.uint()
		default:
		}
	}
	w.readable("account", &p)
	return a
}

// storm reads the events of a workflow that became no run.
func (w *World) storm(b []byte) (s storm) {
	p := newPeek(b)
	for p.next() {
		switch p.key {
		case 1:
			s.Limited = p.uint()
		case 2:
			s.Repeated = p.uint()
		default:
		}
	}
	w.readable("storm", &p)
	return s
}

// newest reads the epoch and revision that a document, or a hint at one, begins with.
func (w *World) newest(b []byte) (n newest) {
	p := newPeek(b)
	for p.next() {
		switch p.key {
		case 1:
			n.Epoch = p.uint()
		case 2:
			n.Revision = p.uint()
		default:
		}
	}
	w.readable("revision", &p)
	return n
}

// word returns b as a string; those of one world are few and shared.
func (w *World) word(b []byte) string {
	if s, known := w.words[string(b)]; known {
		return s
	}
	s := string(b)
	w.words[s] = s
	return s
}

// readable ends the run when what an agent or the hub wrote could not be read: a defect
// of theirs.
func (w *World) readable(what string, p *peek) {
	if p.bad {
		w.broken(protocol.Errorf(protocol.CodeBadMessage, "read %s: not a map as the project writes it", what))
	}
}
