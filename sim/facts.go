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
		if f, ok := w.factOf(&changes[i]); ok {
			out = append(out, f)
		}
	}
	w.facts = out
	return out
}

func (w *World) factOf(c *written) (fact, bool) {
	switch {
	case c.lane != 0:
		return w.recordFact(c)
	case strings.HasPrefix(c.key, "run/"):
		id, err := protocol.ParseRunID(c.key[len("run/"):])
		f := fact{kind: factRun, id: id, fresh: c.was == nil}
		if c.value == nil {
			f.kind = factRunGone
		}
		return f, err == nil && (c.value != nil || c.was != nil)
	case strings.HasPrefix(c.key, "lane/"):
		f := fact{kind: factLane, lane: laneOf(c.key[len("lane/"):])}
		f.account = w.account(c.value)
		if c.was != nil {
			f.before = w.account(c.was)
		}
		return f, true
	case strings.HasPrefix(c.key, "storm/"):
		if c.value == nil {
			return fact{}, false
		}
		f := fact{kind: factStorm, storm: w.storm(c.value)}
		if c.was != nil {
			f.calm = w.storm(c.was)
		}
		return f, true
	case c.key == "gen/newest":
		f := fact{kind: factNewest}
		f.newest = w.newest(c.value)
		return f, true
	case c.key == "gen/current":
		f := fact{kind: factCurrent}
		p := peek{}
		p.id(f.digest[:], p.content(c.value))
		w.readable(c.key, &p)
		return f, true
	default:
		return fact{}, false
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
func (w *World) recordFact(c *written) (fact, bool) {
	f, value := fact{lane: c.lane, mark: c.mark}, c.value
	if value == nil {
		if c.was == nil {
			return f, false
		}
		f.kind, value = factGone, c.was
	}
	f.size = int64(edge.RecordKeySize + len(value))
	switch f.lane {
	case protocol.LaneAudit, protocol.LaneMetric, protocol.LaneLog:
		return f, true // nobody asks for more of it
	case protocol.LaneEvent:
		if f.kind == factGone {
			return f, true
		}
	default:
	}
	rec := newPeek(value)
	for rec.next() {
		if rec.key == 3 {
			w.bodyFact(&f, rec.value)
		}
	}
	w.readable("record", &rec)
	return f, true
}

// bodyFact reads the body of an event or a result.
func (w *World) bodyFact(f *fact, body []byte) {
	of := factEvent
	if f.holds = f.lane.Holds(body); f.holds == protocol.LaneResult {
		of = factResult
	}
	if f.kind == 0 {
		f.kind = of
	}
	p := newPeek(body)
	for p.next() {
		switch {
		case p.key == 1:
			p.id(f.id[:], p.bytes())
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
	w.readable("body", &p)
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
