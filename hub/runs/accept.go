// Package runs gathers what agents tell, record by record, into runs, metrics, log lines
// and audit rows.
//
// An agent sends the records of a lane in order and again until they are acknowledged;
// Accept keeps each once, by the lane's mark, and answers what it holds. Events and
// results travel in different lanes, so that either may come first. A record that
// cannot be kept goes into quarantine and the mark moves on: it never blocks those
// behind it. A hub has one Intake, which gathers what comes until the books are
// committed, so that a run that is told as a whole costs one row.
package runs

import (
	"time"

	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// Accept keeps the records of batch that are new, and returns the acknowledgement for
// the agent and how many were new. The caller lets the acknowledgement out after Commit
// only. The error has CodeBadMessage or CodeLimit for a batch that is wrong as a whole,
// before anything is written; any other is the store's.
func Accept(tx *store.Tx, from protocol.Address, batch protocol.Batch, received time.Time) (
	ack protocol.LaneAck, fresh int, err error,
) {
	in := NewIntake()
	ack, fresh, err = in.Accept(func() (*store.Tx, error) { return tx, nil }, from, batch, received)
	if err != nil {
		return ack, fresh, err
	}
	return ack, fresh, in.Write(tx)
}

// Accept takes the records of batch that are new; begin is asked for the transaction when
// it takes one: for a mark that is not remembered, or too much in memory. It returns the acknowledgement for
// the agent and how many were new. The caller lets the acknowledgement out when they are
// kept: after Write and the Commit of its transaction. The error has CodeBadMessage or
// CodeLimit for a batch that is wrong as a whole, before anything is taken; after any
// other, which is the store's, the caller drops what was not kept.
func (in *Intake) Accept(begin Begin, from protocol.Address, batch protocol.Batch, received time.Time) (
	ack protocol.LaneAck, fresh int, err error,
) {
	if of, ahead := batch.Lane.Ahead(); ahead && len(batch.Records) <= protocol.BatchMax {
		return ack, 0, in.preview(begin, laneKey{from.Agent, batch.Epoch, of}, &batch, store.Millis(received))
	}
	if batch.Lane < protocol.LaneEvent || batch.Lane >= protocol.LaneEnd {
		return ack, 0, protocol.Errorf(protocol.CodeBadMessage, "records of %s: lane %d: not known", from,
			batch.Lane)
	}
	if len(batch.Records) > protocol.BatchMax {
		return ack, 0, protocol.Errorf(protocol.CodeLimit, "records of %s: %d in a batch, limit %d", from,
			len(batch.Records), protocol.BatchMax)
	}
	if err := checkGaps(from, batch.Gaps); err != nil {
		return ack, 0, err
	}
	l, err := in.lane(begin, laneKey{from.Agent, batch.Epoch, batch.Lane})
	if err != nil {
		return ack, 0, err
	}
	at, gaps := arrival{received: store.Millis(received)}, batch.Gaps
	for i := range batch.Records {
		r := &batch.Records[i]
		for len(gaps) > 0 && r.Mark.After(gaps[0].To) {
			in.gap(l, gaps[0], at.received)
			gaps = gaps[1:]
		}
		if !r.Mark.After(l.mark) {
			continue
		}
		if fresh++; fresh == 1 {
			in.touch(l)
		}
		l.moveTo(r.Mark)
		at.happened = 0
		if age := batch.Age(r); age >= 0 {
			at.happened = at.received - age
		}
		in.take(l, r, at)
	}
	for _, g := range gaps {
		in.gap(l, g, at.received)
	}
	ack = protocol.LaneAck{Epoch: batch.Epoch, Lane: batch.Lane, Mark: l.mark}
	return ack, fresh, in.spill(begin)
}

// preview takes copies of events and results that came before their turn. The lane's mark stays
// where it is, and they come again; what is wrong with one is said then. Whether a run went
// wrong for good is said in its turn too: an operator may have had it run again meanwhile.
func (in *Intake) preview(begin Begin, of laneKey, batch *protocol.Batch, received int64) error {
	l, err := in.lane(begin, of)
	if err != nil {
		return err
	}
	for i := range batch.Records {
		r := &batch.Records[i]
		at := arrival{received: received}
		if age := batch.Age(r); age >= 0 {
			at.happened = received - age
		}
		if r.Mark.After(l.mark) && !faulty(of.lane.Holds(r.Body), r) {
			_ = in.keep(l, r, at) // it comes again, and is refused then
		}
	}
	return in.spill(begin)
}

// faulty reports whether a record is a result that did not end well.
func faulty(of protocol.Lane, r *protocol.Record) bool {
	if of != protocol.LaneResult {
		return false
	}
	res, err := protocol.DecodeResult(r.Body)
	return err != nil || weight(res.Status) > worstOK
}

// arrival is when a record came and when the hub takes it that it was made, both by its own
// clock, in ms since 1970; 0: not known.
type arrival struct{ received, happened int64 }

// take takes one record, or puts it into quarantine when it cannot be kept.
func (in *Intake) take(l *lane, r *protocol.Record, at arrival) {
	if err := in.keep(l, r, at); err != nil {
		in.later(l.quarantine(r, at.received, err))
		return
	}
	l.stored++
}

// keep takes one record; the error is the record's own fault.
func (in *Intake) keep(l *lane, r *protocol.Record, at arrival) error {
	if len(r.Body) > protocol.RecordMax {
		return protocol.Errorf(protocol.CodeLimit, "record of %d bytes, limit %d", len(r.Body), protocol.RecordMax)
	}
	var row statement
	var err error
	switch l.lane.Holds(r.Body) {
	case protocol.LaneEvent:
		return in.event(l, r, at)
	case protocol.LaneResult:
		return in.result(l, r, at)
	case protocol.LaneAudit:
		row, err = l.audit(r, at)
	case protocol.LaneMetric:
		row, err = l.metric(r, at)
	default:
		row, err = l.logLine(r, at)
	}
	if err == nil {
		in.later(row)
	}
	return err
}

// AddEvent keeps one event outside of any lane, such as one of the hub's own. The error
// has the code of what is wrong with the record; one of a run that is another agent's goes
// into quarantine.
func AddEvent(tx *store.Tx, agent protocol.AgentName, r protocol.Record, received time.Time) error {
	return add(tx, &lane{laneKey: laneKey{agent: agent, lane: protocol.LaneEvent}}, &r, received)
}

// AddResult keeps one result outside of any lane. Of two results of one step the one
// with the later mark holds, in whatever order they come.
func AddResult(tx *store.Tx, agent protocol.AgentName, r protocol.Record, received time.Time) error {
	return add(tx, &lane{laneKey: laneKey{agent: agent, lane: protocol.LaneResult}}, &r, received)
}

func add(tx *store.Tx, l *lane, r *protocol.Record, received time.Time) error {
	in := NewIntake()
	if err := in.keep(l, r, arrival{received: store.Millis(received)}); err != nil {
		return err
	}
	return in.Write(tx)
}
