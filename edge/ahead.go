package edge

import (
	"time"

	"github.com/stavily/stavily/protocol"
)

// What happens now is told before its turn while a backlog is on its way: a copy goes ahead,
// and the record itself keeps its place, so that no order and no acknowledgement is touched. A
// copy that is lost is no loss.
const (
	// aheadWorth is how many records of a lane make a backlog: more than the next two batches.
	aheadWorth = 2 * protocol.BatchMax
	// aheadMax bounds the copies of one batch, the newest; aheadEvery is the least time between two.
	aheadMax   = 64
	aheadEvery = 10 * time.Second
)

// ahead is what has gone ahead.
type ahead struct {
	to     [protocol.LaneEnd]protocol.Mark // up to where; the records of before a connection do not
	at     time.Time                       // when the next go; zero: nothing waits
	last   time.Time
	handed handed
}

// goesAhead notes a record that is made while a backlog of its lane is on its way. Where a
// budget bounds the line nothing goes twice.
func (a *Agent) goesAhead(of protocol.Lane) {
	h := &a.out.ahead
	if !of.HasCopies() || !a.up || !h.at.IsZero() || a.out.lanes[of].Count < aheadWorth ||
		a.dataLimit() > 0 {
		return
	}
	h.at = a.now.Add(a.cfg.Gather)
	if next := h.last.Add(aheadEvery); h.at.Before(next) {
		h.at = next
	}
}

// sayAhead sends copies of what was made since the last ones.
func (a *Agent) sayAhead() {
	h := &a.out.ahead
	if h.at.IsZero() || a.now.Before(h.at) {
		return
	}
	h.at, h.last = time.Time{}, a.now
	if h.handed.waits() {
		return
	}
	for _, of := range [...]protocol.Lane{protocol.LaneAlarm, protocol.LaneEvent, protocol.LaneResult} {
		n, packed := a.copies(of)
		if n == 0 {
			continue
		}
		head := protocol.Batch{Epoch: a.cfg.Epoch, Lane: protocol.LaneAhead + of, Steady: a.tenths()}
		if !a.hand(protocol.UpRecords, protocol.EncodeBatch(head, n, packed), &h.handed) {
			return
		}
	}
}

// copies returns the newest records of a lane that have not gone yet, and are on the disk.
func (a *Agent) copies(of protocol.Lane) (n int, packed []byte) {
	l, to := &a.out.lanes[of], &a.out.ahead.to[of]
	all := l.recent.all
	for len(all) > 0 && all[len(all)-1].mark.After(l.onDisk) {
		all = all[:len(all)-1]
	}
	for _, r := range all[max(0, len(all)-aheadMax):] {
		if !r.mark.After(*to) || !r.mark.After(l.sent) || len(packed)+len(r.value) > a.cfg.BatchBytes {
			continue
		}
		n, packed, *to = n+1, append(packed, r.value...), r.mark
	}
	return n, packed
}

// connected has only what is made from now on go ahead.
func (h *ahead) connected(a *Agent) {
	for of := range h.to {
		h.to[of] = protocol.Mark{Boot: a.boot, Sequence: a.out.lanes[of].sequence}
	}
	h.at = time.Time{}
	h.handed.again()
}
