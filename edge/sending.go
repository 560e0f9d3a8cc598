package edge

import (
	"log/slog"
	"time"

	"github.com/stavily/stavily/protocol"
)

// sayRecords sends the next batch of each lane that has none under way, the most important
// first, and the same batch again when its acknowledgement stays away.
func (a *Agent) sayRecords() {
	a.sayAhead()
	for _, of := range protocol.Lanes() {
		l := &a.out.lanes[of]
		if l.waiting && !a.now.Before(l.at) && !a.sayLane(of) || l.goesFirst() {
			return
		}
	}
}

// sayLane sends the next batch of a lane, or the one under way again. It reports false when the
// line takes nothing now.
func (a *Agent) sayLane(of protocol.Lane) bool {
	l := &a.out.lanes[of]
	if l.handed.waits() {
		l.later(a)
		return true
	}
	if !a.allowsLane(of) {
		l.at, l.before = a.nextDay(), protocol.Mark{}
		return true
	}
	payload, last, err := a.batch(of)
	if err != nil {
		a.log.Error("lane not read", slog.String("lane", of.String()), slog.String("error", err.Error()))
		l.at, l.before = a.now.Add(a.cfg.PauseMax), protocol.Mark{}
		return true
	}
	if payload == nil {
		a.nothing(of)
		return true
	}
	if !a.hand(protocol.UpRecords, payload, &l.handed) {
		l.handed = handed{}
		a.out.pause(of, a.now.Add(a.cfg.PauseMin))
		return false
	}
	l.sent = last
	l.later(a)
	return true
}

// goesFirst reports whether what waits in the less important lanes leaves when the hub has what
// waited in this one as the line came up. A hub that does not answer holds nothing up.
func (l *lane) goesFirst() bool { return l.before != (protocol.Mark{}) && l.try <= 1 }

// first has what waits in the lanes for control and alarms leave before all else.
func (o *outbox) first(boot uint64) {
	for _, of := range [...]protocol.Lane{protocol.LaneControl, protocol.LaneAlarm} {
		if l := &o.lanes[of]; l.owes() {
			l.before = protocol.Mark{Boot: boot, Sequence: l.sequence}
		}
	}
}

// collect has the first record of a lane that waits leave together with what comes within
// Config.Gather after it, in any lane.
func (a *Agent) collect(l *lane) {
	if !a.now.Before(a.out.leaves) {
		a.out.leaves = a.now.Add(a.cfg.Gather)
	}
	if l.at.Before(a.out.leaves) {
		l.at = a.out.leaves
	}
}

// later has the batch under way go again when its acknowledgement stays away.
func (l *lane) later(a *Agent) {
	l.at = a.now.Add(doubled(a.cfg.AckWait, l.try, max(a.cfg.AckWait, a.cfg.PauseMax)))
	l.try++
}

// nothing has a lane wait for its next record. What its account says of records that are
// not there is corrected: the flash has lost them.
func (a *Agent) nothing(of protocol.Lane) {
	l := &a.out.lanes[of]
	l.sent, l.flying, l.before = protocol.Mark{}, nil, protocol.Mark{}
	if l.at = a.syncAt; !l.at.IsZero() || a.pen.stuck {
		return // some are on their way to the disk
	}
	l.waiting = false
	if l.Count == 0 {
		return
	}
	a.log.Error("records are not on the disk any more: counted as dropped", slog.String("lane", of.String()),
		slog.Uint64("dropped", l.Count))
	end := protocol.Mark{Boot: a.boot, Sequence: l.sequence}
	lost := protocol.Gap{From: l.first(of), To: end, Count: l.Count, Why: protocol.GapLost}
	l.Count, l.Bytes, l.older = 0, 0, true
	l.recent.drop(end)
	a.lose(of, lost)
}

// pause has the lanes from the one called from on wait: the line takes nothing now, and later lanes
// do not overtake.
func (o *outbox) pause(from protocol.Lane, until time.Time) {
	reached := false
	for _, of := range protocol.Lanes() {
		reached = reached || of == from
		if l := &o.lanes[of]; reached && l.at.Before(until) {
			l.at = until
		}
	}
}

// packing is a batch that is being made.
type packing struct {
	a    *Agent
	of   protocol.Lane
	n    int    // records
	room int    // bytes of them, at most
	b    []byte // them; used again

	last         protocol.Mark // of them
	before, next protocol.Mark // the record read last; the first that does not go now, zero: none
	holes        []protocol.Gap
}

// batch reads the oldest records of a lane: those of the batch under way, or as many as fit
// a new one. It returns them as they are sent, and the last one's mark; nil for none.
func (a *Agent) batch(of protocol.Lane) (payload []byte, last protocol.Mark, err error) {
	l, p := &a.out.lanes[of], &a.out.packing
	l.flying = l.flying[:0]
	if len(l.thinned) > 0 || l.loose && !a.syncAt.IsZero() {
		return nil, last, nil // it is not on the disk yet which are gone, and they must not be passed untold
	}
	*p = packing{a: a, of: of, room: a.batchRoom(of), b: p.b[:0]}
	err = a.pack(p)
	n, packed, last := p.n, p.b, p.last
	head := protocol.Batch{
		Epoch: a.cfg.Epoch, Lane: of, Steady: a.tenths(), Gaps: l.gapsBefore(p.next), Together: true,
	}
	for _, h := range p.holes {
		head.Gaps = insertGap(head.Gaps[:len(head.Gaps):len(head.Gaps)], h)
	}
	if *p = (packing{b: packed}); cap(packed) > 2*a.cfg.BatchBytes {
		p.b = nil
	}
	if err != nil || n+len(head.Gaps) == 0 {
		return nil, last, err
	}
	if g := len(head.Gaps); g > 0 && head.Gaps[g-1].To.After(last) {
		last = head.Gaps[g-1].To
	}
	return protocol.EncodeBatch(head, n, packed), last, nil
}

// pack gives p the records of its lane that survive a power cut, oldest first, until it takes no
// more: from memory when there are no older ones on the disk.
func (a *Agent) pack(p *packing) error {
	l := &a.out.lanes[p.of]
	if l.older {
		l.older = len(l.recent.all) == 0
		err := a.eachRecord(p.of, func(_ string, m protocol.Mark, value []byte) bool {
			l.older = l.older || l.recent.all[0].mark.After(m)
			return p.take(m, value)
		})
		l.older = l.older || err != nil
		return err
	}
	for _, r := range l.recent.all {
		if r.mark.After(l.onDisk) || !p.take(r.mark, r.value) {
			break
		}
	}
	return nil
}

// take takes the lane's next record, and reports whether it wants the one behind it.
func (p *packing) take(m protocol.Mark, value []byte) bool {
	l := &p.a.out.lanes[p.of]
	full := p.n == protocol.BatchMax || p.n > 0 && len(p.b)+len(value) > p.room || len(p.holes) == holesMax
	if l.hole(p.before, m) {
		p.holes = append(p.holes, between(p.before, m))
	}
	p.before = m
	if full || l.sent != (protocol.Mark{}) && m.After(l.sent) {
		p.next = m
		return false
	}
	l.flying = append(l.flying, flown{m, sizeOf(value)})
	if !p.a.readable(p.of, m, value) {
		return true
	}
	p.n, p.last, p.b = p.n+1, m, append(p.b, value...)
	return true
}

// readable reports whether a record can stand in a batch. One of this boot was made by this
// program, and the store keeps what it was given; an older one may be of another program.
func (a *Agent) readable(of protocol.Lane, m protocol.Mark, value []byte) bool {
	if m.Boot == a.boot {
		return true
	}
	var rec protocol.Record
	err := protocol.Unmarshal(value, &rec)
	if err == nil && rec.Mark != m {
		err = protocol.Errorf(protocol.CodeBadMessage, "record of another mark")
	}
	if err != nil {
		a.log.Warn("record not readable: passed over", slog.String("key", RecordKey(of, m)),
			slog.String("error", err.Error()))
		a.unreadable(of, m)
	}
	return err == nil
}

// waits reports whether there may be records to send.
func (o *outbox) waits() bool {
	for i := range o.lanes {
		if o.lanes[i].waiting {
			return true
		}
	}
	return false
}

// resend has every lane begin at its oldest record at once: the line is new.
func (o *outbox) resend() {
	for i := range o.lanes {
		l := &o.lanes[i]
		l.at, l.try, l.waiting = time.Time{}, 0, l.owes()
		l.handed.again()
	}
}

// due returns when a batch goes again.
func (o *outbox) due() time.Time {
	t := o.ahead.at
	for _, of := range protocol.Lanes() {
		l := &o.lanes[of]
		if l.waiting {
			t = sooner(t, l.at)
		}
		if l.goesFirst() {
			break
		}
	}
	return t
}

// paceMax bounds the pace that a hub can ask for, in milliseconds.
const paceMax = 3_600_000

// ack lets go of what the hub has in its store. An acknowledgement of more than was
// sent counts only for what was sent; one of less, or from another life, for nothing.
func (a *Agent) ack(payload []byte) error {
	all, err := protocol.DecodeLaneAcks(payload)
	if err != nil {
		return err
	}
	for i := range all {
		if err := a.ackLane(&all[i]); err != nil {
			return err
		}
	}
	return nil
}

// ackLane is ack of one lane.
func (a *Agent) ackLane(in *protocol.LaneAck) error {
	if in.Lane == 0 || in.Lane >= protocol.LaneEnd {
		return protocol.Errorf(protocol.CodeBadMessage, "acknowledgement of lane %d", in.Lane)
	}
	l := &a.out.lanes[in.Lane]
	if in.Epoch != a.cfg.Epoch || l.sent == (protocol.Mark{}) {
		return nil
	}
	upTo := in.Mark
	if upTo.After(l.sent) {
		upTo = l.sent
	}
	n := 0
	for n < len(l.flying) && !l.flying[n].mark.After(upTo) {
		n++
	}
	all, told := upTo == l.sent, l.told(upTo)
	a.discardSome(in.Lane, l.flying[:n])
	if all || told || n > 0 { // perhaps by a part: the rest goes in a new batch
		l.landed()
		if !l.before.After(upTo) || !l.owes() {
			l.before = protocol.Mark{}
		}
		if in.WaitMS > 0 {
			l.at = a.now.Add(min(time.Duration(min(in.WaitMS, paceMax))*time.Millisecond, a.cfg.PauseMax))
		}
	}
	return nil
}

// discardSome lets go of the first records of a lane.
func (a *Agent) discardSome(of protocol.Lane, some []flown) {
	l := &a.out.lanes[of]
	if len(some) == 0 {
		return
	}
	last := some[len(some)-1].mark
	if a.lanes == nil {
		for _, f := range some {
			a.remove(RecordKey(of, f.mark))
		}
	} else {
		a.pen.changes = append(a.pen.changes, LaneChange{Lane: of, Mark: last, Through: true})
	}
	for _, f := range some {
		l.less(f.mark, f.size)
	}
	l.head = RecordKey(of, last) + "\x00"
}

// letGo removes the records of a lane up to and with upTo, sent or not, which the hub has.
func (a *Agent) letGo(of protocol.Lane, upTo protocol.Mark) error {
	a.out.lanes[of].told(upTo)
	return a.eachRecord(of, func(key string, m protocol.Mark, value []byte) bool {
		if !m.After(upTo) {
			a.discard(of, entry{key, m, sizeOf(value)})
		}
		return !m.After(upTo)
	})
}
