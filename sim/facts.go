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
)

// fact is what one change on an agent's disk says to those who check.
type fact struct {
	kind     factKind
	lane     protocol.Lane
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
	newest          newest
	digest          protocol.Digest
}

// account and newest are how an agent keeps them; body and the rest are as much of a
// record as is looked at here.
type (
	account struct {
		Count   uint64 `cbor:"1,keyasint"`
		Bytes   int64  `cbor:"2,keyasint"`
		Dropped uint64 `cbor:"3,keyasint"`
	}
	newest struct {
		Epoch    uint64 `cbor:"1,keyasint"`
		Revision uint64 `cbor:"2,keyasint"`
	}
	recordPart struct {
		Mark protocol.Mark `cbor:"1,keyasint"`
		Body protocol.Raw  `cbor:"3,keyasint"`
	}
	eventPart struct {
		Run protocol.RunID `cbor:"1,keyasint"`
	}
	resultPart struct {
		Run      protocol.RunID        `cbor:"1,keyasint"`
		Workflow protocol.WorkflowName `cbor:"2,keyasint"`
		Step     protocol.StepName     `cbor:"3,keyasint"`
		Status   protocol.Status       `cbor:"5,keyasint"`
		Last     bool                  `cbor:"11,keyasint"`
	}
)

// factsOf tells what changes say; was are the values before. The slice is used again by
// the next call.
func (w *World) factsOf(changes []edge.Change, was [][]byte) []fact {
	out := w.facts[:0]
	for i := range changes {
		if f, ok := w.factOf(&changes[i], was[i]); ok {
			out = append(out, f)
		}
	}
	w.facts = out
	return out
}

func (w *World) factOf(c *edge.Change, was []byte) (fact, bool) {
	switch {
	case strings.HasPrefix(c.Key, "out/"):
		return w.recordFact(c, was)
	case strings.HasPrefix(c.Key, "run/"):
		id, err := protocol.ParseRunID(c.Key[len("run/"):])
		f := fact{kind: factRun, id: id, fresh: was == nil}
		if c.Value == nil {
			f.kind = factRunGone
		}
		return f, err == nil && (c.Value != nil || was != nil)
	case strings.HasPrefix(c.Key, "lane/"):
		f := fact{kind: factLane, lane: laneOf(c.Key[len("lane/"):])}
		w.decode(c.Value, &f.account)
		if was != nil {
			w.decode(was, &f.before)
		}
		return f, true
	case c.Key == "gen/newest":
		f := fact{kind: factNewest}
		w.decode(c.Value, &f.newest)
		return f, true
	case c.Key == "gen/current":
		f := fact{kind: factCurrent}
		w.decode(c.Value, &f.digest)
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
func (w *World) recordFact(c *edge.Change, was []byte) (fact, bool) {
	f := fact{lane: laneOf(c.Key[len("out/"):])}
	value := c.Value
	if value == nil {
		if was == nil {
			return f, false
		}
		f.kind, value = factGone, was
	}
	f.size = int64(len(c.Key) + len(value))
	var rec recordPart
	w.decode(value, &rec)
	f.mark = rec.Mark
	switch f.lane {
	case protocol.LaneEvent:
		if f.kind == 0 {
			f.kind = factEvent
		}
		var e eventPart
		w.decode(rec.Body, &e)
		f.id = e.Run
	case protocol.LaneResult:
		if f.kind == 0 {
			f.kind = factResult
		}
		var r resultPart
		w.decode(rec.Body, &r)
		f.id, f.step, f.status, f.last, f.workflow = r.Run, r.Step, r.Status, r.Last, r.Workflow
	default:
	}
	return f, true
}

// decode reads what an agent wrote; that it cannot be read is a defect of the agent.
func (w *World) decode(b []byte, v any) {
	if err := protocol.Unmarshal(b, v); err != nil {
		w.broken(err)
	}
}
