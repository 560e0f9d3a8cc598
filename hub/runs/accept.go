// Package runs gathers what agents tell, record by record, into runs, metrics, log lines
// and audit rows.
//
// An agent sends the records of a lane in order and again until they are acknowledged;
// Accept keeps each once, by the lane's mark, and answers what it holds. Events and
// results travel in different lanes, so that either may come first. A record that
// cannot be kept goes into quarantine and the mark moves on: it never blocks those
// behind it.
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
	if batch.Lane < protocol.LaneEvent || batch.Lane >= protocol.LaneEnd {
		return ack, 0, protocol.Errorf(protocol.CodeBadMessage, "records of %s: lane %d: not known", from,
			batch.Lane)
	}
	if len(batch.Records) > protocol.BatchMax {
		return ack, 0, protocol.Errorf(protocol.CodeLimit, "records of %s: %d in a batch, limit %d", from,
			len(batch.Records), protocol.BatchMax)
	}
	l, err := laneOf(tx, from.Agent, batch.Epoch, batch.Lane)
	if err != nil {
		return ack, 0, err
	}
	in := intake{tx: tx, agent: from.Agent, lane: &l, received: store.Millis(received)}
	for i := range batch.Records {
		r := &batch.Records[i]
		if !r.Mark.After(l.mark) {
			continue
		}
		l.moveTo(r.Mark)
		if err := in.take(r); err != nil {
			return ack, 0, err
		}
		fresh++
	}
	if err := in.flush(); err != nil {
		return ack, 0, err
	}
	if fresh > 0 {
		err = l.save(tx)
	}
	return protocol.LaneAck{Epoch: batch.Epoch, Lane: batch.Lane, Mark: l.mark}, fresh, err
}

// intake takes the records of one batch.
type intake struct {
	tx       *store.Tx
	agent    protocol.AgentName
	lane     *lane
	received int64 // ms since 1970

	// open is the run that the last results were of, not yet in its row: the results
	// of one run lie side by side.
	open pending
}

// take keeps one record, or puts it into quarantine when the fault is its own.
func (in *intake) take(r *protocol.Record) error {
	err := in.keep(r)
	if err == nil {
		in.lane.stored++
		return nil
	}
	if !isRefusal(err) {
		return err
	}
	return in.quarantine(r, err)
}

func (in *intake) keep(r *protocol.Record) error {
	if len(r.Body) > protocol.RecordMax {
		return protocol.Errorf(protocol.CodeLimit, "record of %d bytes, limit %d", len(r.Body), protocol.RecordMax)
	}
	switch in.lane.lane {
	case protocol.LaneEvent:
		return in.event(r)
	case protocol.LaneResult:
		return in.result(r)
	case protocol.LaneAudit:
		return in.audit(r)
	case protocol.LaneMetric:
		return in.metric(r)
	default:
		return in.logLine(r)
	}
}

// AddEvent keeps one event outside of any lane, such as one of the hub's own. The error
// has the code of what is wrong with the record.
func AddEvent(tx *store.Tx, agent protocol.AgentName, r protocol.Record, received time.Time) error {
	in := intake{tx: tx, agent: agent, lane: &lane{lane: protocol.LaneEvent}, received: store.Millis(received)}
	return in.keep(&r)
}

// AddResult keeps one result outside of any lane. Of two results of one step the one
// with the later mark holds, in whatever order they come.
func AddResult(tx *store.Tx, agent protocol.AgentName, r protocol.Record, received time.Time) error {
	in := intake{tx: tx, agent: agent, lane: &lane{lane: protocol.LaneResult}, received: store.Millis(received)}
	if err := in.keep(&r); err != nil {
		return err
	}
	return in.flush()
}
