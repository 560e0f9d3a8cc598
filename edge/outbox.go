package edge

import (
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/stavily/stavily/protocol"
)

// keyOut and keyLane are where records and the lanes' accounts stand. The key of a
// record is out/<lane>/<boot>/<sequence>, both 16 hexadecimal digits, so that the
// order of the keys is the order of the records.
const (
	keyOut  = "out/"
	keyLane = "lane/"
)

// outbox keeps what the hub has not acknowledged yet, in lanes. Records are on the
// disk; here are the lanes' accounts and the newest records.
type outbox struct {
	lanes  [protocol.LaneEnd]lane
	leaves time.Time // when the records leave that are gathered now
	packed []byte    // of the batch that is being made; used again
	ahead  ahead
	page   []byte // in which records are encoded, one behind the other
}

// account is what is known of a lane without reading its records: opening an outbox
// costs the same with one record and with a million.
type account struct {
	Count   uint64 `cbor:"1,keyasint"`
	Bytes   int64  `cbor:"2,keyasint"` // keys and values
	Dropped uint64 `cbor:"3,keyasint"` // let go unacknowledged, ever
}

type lane struct {
	account
	sequence uint64        // of the last record of this boot
	onDisk   protocol.Mark // the last record that survives a power cut
	recent   recent
	older    bool   // there may be records on the disk that are not among the recent ones
	head     string // no record stands below this key
	touched  bool   // account differs from the disk
	waiting  bool   // there may be records to send

	sent   protocol.Mark // last record of the batch under way; zero: none
	flying []flown       // the records up to sent that are still here, oldest first
	at     time.Time     // when that batch goes again, or the next one at the earliest
	try    int
	handed handed // the batch that went last
}

// flown is a record of a batch under way.
type flown struct {
	mark protocol.Mark
	size int64
}

// record adds a record to a lane and returns its mark. When the lane is over its
// bytes the oldest records go, counted; the hub sees the hole in the sequence. The
// error has CodeContract when the hub would not be able to read the record: body
// holds something that came from a plugin.
func (a *Agent) record(of protocol.Lane, body any) (protocol.Mark, error) {
	l := &a.out.lanes[of]
	mark, at := protocol.Mark{Boot: a.boot, Sequence: l.sequence + 1}, a.stamp()
	value, err := a.out.encode(&protocol.Record{Mark: mark, Time: at, Steady: a.tenths()}, body)
	if err != nil {
		return mark, err
	}
	size := sizeOf(value)
	a.makeRoom(of, size)
	a.pen.timed = true
	a.pen.changes = append(a.pen.changes, LaneChange{Change: Change{Value: value}, Lane: of, Mark: mark})
	l.recent.add(mark, value)
	if at.Quality == protocol.QualityClock {
		a.prove(at.UnixMS)
	}
	l.sequence++
	l.Count++
	l.Bytes += size
	if !l.waiting {
		a.collect(l)
	}
	l.touched, l.waiting = true, true
	a.goesAhead(of)
	return mark, nil
}

// paceMax bounds the pace that a hub can ask for, in milliseconds.
const paceMax = 3_600_000

const (
	// keySize is the length of a record's key, which counts with it.
	keySize = len(keyOut) + len("1/") + 16 + 1 + 16
	// pageSize is how many bytes of records are encoded in one piece of memory, which they
	// hold until the last of them is gone.
	pageSize = 8 << 10
)

// sizeOf is what a record counts for.
func sizeOf(value []byte) int64 { return int64(keySize + len(value)) }

// encode returns an encoded record.
func (o *outbox) encode(head *protocol.Record, body any) ([]byte, error) {
	if cap(o.page)-len(o.page) < max(cap(o.page)/8, pageSize/16) {
		o.page = make([]byte, 0, min(max(2*cap(o.page), pageSize/4), pageSize))
	}
	from := len(o.page)
	b, err := protocol.AppendRecord(o.page, *head, body)
	if err != nil || cap(b) != cap(o.page) { // a large one has its own memory
		return b[from:], err
	}
	o.page = b
	return b[from:len(b):len(b)], nil
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

// makeRoom drops the oldest records of a lane until size bytes fit. Records of the
// input under way are not on the disk yet and stay.
func (a *Agent) makeRoom(of protocol.Lane, size int64) {
	l := &a.out.lanes[of]
	over := l.Bytes + size - a.cfg.LaneBytes[of]
	if over <= 0 {
		return
	}
	dropped := uint64(0)
	err := a.eachRecord(of, func(key string, m protocol.Mark, value []byte) bool {
		n := sizeOf(value)
		a.discard(l, entry{key, m, n})
		l.Dropped++
		dropped++
		over -= n
		return over > 0
	})
	a.log.Warn("lane full: oldest records dropped", slog.String("lane", of.String()),
		slog.Uint64("dropped", dropped), slog.Uint64("ever", l.Dropped))
	if err != nil {
		a.log.Error("lane not read", slog.String("lane", of.String()), slog.String("error", err.Error()))
	}
	a.report.touch(a.now)
}

// recordTaker takes a record of the disk, which is its own only until it returns, and says
// whether it wants the next.
type recordTaker func(key string, m protocol.Mark, value []byte) bool

// eachRecord yields the records of a lane on the disk from its head on.
func (a *Agent) eachRecord(of protocol.Lane, yield recordTaker) error {
	return a.store.Scan(lanePrefix(of), a.out.lanes[of].head, func(key string, value []byte) bool {
		mark, err := markOf(of, key)
		if err != nil {
			a.log.Warn("strange key in lane", slog.String("key", key))
			a.remove(key)
			return true
		}
		return yield(key, mark, value)
	})
}

// entry is a record of the disk, without its contents.
type entry struct {
	key  string
	mark protocol.Mark
	size int64
}

// discard removes a record of the disk from its lane. A batch under way of which
// nothing is left is over.
func (a *Agent) discard(l *lane, e entry) {
	a.remove(e.key)
	l.head = e.key + "\x00"
	l.less(e.mark, e.size)
	for len(l.flying) > 0 && !l.flying[0].mark.After(e.mark) {
		l.flying = l.flying[1:]
	}
	if !l.sent.After(e.mark) {
		l.landed()
	}
}

// less takes a record that goes out of the lane's account.
func (l *lane) less(m protocol.Mark, size int64) {
	l.Count -= min(l.Count, 1)
	l.Bytes = max(0, l.Bytes-size)
	l.touched = true
	l.recent.drop(m)
}

// landed ends the batch under way.
func (l *lane) landed() {
	l.sent, l.flying, l.at, l.try = protocol.Mark{}, l.flying[:0], time.Time{}, 0
}

// ack lets go of what the hub has in its store. An acknowledgement of more than was
// sent counts only for what was sent; one of less, or from another life, for nothing.
func (a *Agent) ack(payload []byte) error {
	in, err := protocol.DecodeLaneAck(payload)
	if err != nil {
		return err
	}
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
	all := upTo == l.sent
	a.discardSome(in.Lane, l.flying[:n])
	if all || n > 0 { // perhaps by a part: the rest goes in a new batch
		l.landed()
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
			a.remove(recordKey(of, f.mark))
		}
	} else {
		a.pen.changes = append(a.pen.changes, LaneChange{Lane: of, Mark: last, Through: true})
	}
	for _, f := range some {
		l.less(f.mark, f.size)
	}
	l.head = recordKey(of, last) + "\x00"
}

// letGo removes the records of a lane up to and with upTo, sent or not.
func (a *Agent) letGo(of protocol.Lane, upTo protocol.Mark) error {
	return a.eachRecord(of, func(key string, m protocol.Mark, value []byte) bool {
		if !m.After(upTo) {
			a.discard(&a.out.lanes[of], entry{key, m, sizeOf(value)})
		}
		return !m.After(upTo)
	})
}

// sayRecords sends the next batch of each lane that has none under way, lower lanes
// first, and the same batch again when its acknowledgement stays away.
func (a *Agent) sayRecords() {
	a.sayAhead()
	for of := protocol.LaneEvent; of < protocol.LaneEnd; of++ {
		l := &a.out.lanes[of]
		if !l.waiting || a.now.Before(l.at) {
			continue
		}
		if l.handed.waits() {
			l.later(a)
			continue
		}
		if !a.allowsLane(of) {
			l.at = a.nextDay()
			continue
		}
		payload, last, err := a.batch(of)
		if err != nil {
			a.log.Error("lane not read", slog.String("lane", of.String()), slog.String("error", err.Error()))
			l.at = a.now.Add(a.cfg.PauseMax)
			continue
		}
		if payload == nil {
			a.nothing(of)
			continue
		}
		if !a.hand(protocol.UpRecords, payload, &l.handed) {
			l.handed = handed{}
			a.out.pause(of, a.now.Add(a.cfg.PauseMin))
			return
		}
		l.sent = last
		l.later(a)
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
	l.sent, l.flying = protocol.Mark{}, nil
	if l.at = a.syncAt; !l.at.IsZero() || a.pen.stuck {
		return // some are on their way to the disk
	}
	l.waiting = false
	if l.Count == 0 {
		return
	}
	a.log.Error("records are not on the disk any more: counted as dropped", slog.String("lane", of.String()),
		slog.Uint64("dropped", l.Count))
	l.Dropped += l.Count
	l.Count, l.Bytes, l.touched, l.older = 0, 0, true, true
	l.recent.drop(protocol.Mark{Boot: a.boot, Sequence: l.sequence})
	a.report.touch(a.now)
}

// pause has the lanes from of on wait: the line takes nothing now, and later lanes do not
// overtake.
func (o *outbox) pause(of protocol.Lane, until time.Time) {
	for ; of < protocol.LaneEnd; of++ {
		if l := &o.lanes[of]; l.at.Before(until) {
			l.at = until
		}
	}
}

// batch reads the oldest records of a lane: those of the batch under way, or as many as fit
// a new one. It returns them as they are sent, and the last one's mark; nil for none.
func (a *Agent) batch(of protocol.Lane) (payload []byte, last protocol.Mark, err error) {
	l := &a.out.lanes[of]
	l.flying = l.flying[:0]
	n, packed, room := 0, a.out.packed[:0], a.batchRoom(of)
	err = a.eachToSend(of, func(m protocol.Mark, value []byte) bool {
		full := n == protocol.BatchMax || n > 0 && len(packed)+len(value) > room
		if full || l.sent != (protocol.Mark{}) && m.After(l.sent) {
			return false
		}
		l.flying = append(l.flying, flown{m, sizeOf(value)})
		if !a.readable(of, m, value) {
			return true
		}
		n, last, packed = n+1, m, append(packed, value...)
		return true
	})
	if a.out.packed = packed; cap(packed) > 2*a.cfg.BatchBytes {
		a.out.packed = nil
	}
	if n == 0 {
		return nil, last, err
	}
	head := protocol.Batch{Epoch: a.cfg.Epoch, Lane: of, Steady: a.tenths()}
	return protocol.EncodeBatch(head, n, packed), last, err
}

// eachToSend yields the records of a lane that survive a power cut, oldest first: from
// memory when there are no older ones on the disk.
func (a *Agent) eachToSend(of protocol.Lane, yield func(protocol.Mark, []byte) bool) error {
	l := &a.out.lanes[of]
	if l.older {
		l.older = len(l.recent.all) == 0
		err := a.eachRecord(of, func(_ string, m protocol.Mark, value []byte) bool {
			l.older = l.older || l.recent.all[0].mark.After(m)
			return yield(m, value)
		})
		l.older = l.older || err != nil
		return err
	}
	for _, r := range l.recent.all {
		if r.mark.After(l.onDisk) || !yield(r.mark, r.value) {
			break
		}
	}
	return nil
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
		a.log.Warn("record not readable: passed over", slog.String("key", recordKey(of, m)),
			slog.String("error", err.Error()))
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

// rest gives back memory, while no record waits.
func (o *outbox) rest() {
	o.page, o.packed = nil, nil
	for i := range o.lanes {
		l := &o.lanes[i]
		if len(l.flying) == 0 {
			l.flying = nil
		}
		if len(l.recent.all) == 0 {
			l.recent = recent{}
		}
	}
}

// resend has every lane begin at its oldest record at once: the line is new.
func (o *outbox) resend() {
	for i := range o.lanes {
		l := &o.lanes[i]
		l.at, l.try, l.waiting = time.Time{}, 0, l.Count > 0
		l.handed.again()
	}
}

// due returns when a batch goes again.
func (o *outbox) due() time.Time {
	t := o.ahead.at
	for i := range o.lanes {
		if l := &o.lanes[i]; l.waiting {
			t = sooner(t, l.at)
		}
	}
	return t
}

// encode returns what Marshal returns for c: it is written with each record.
func (c *account) encode() []byte {
	b := protocol.AppendMap(make([]byte, 0, 20), 3)
	b = protocol.AppendUint(append(b, 1), c.Count)
	b = protocol.AppendUint(append(b, 2), uint64(max(0, c.Bytes)))
	return protocol.AppendUint(append(b, 3), c.Dropped)
}

// save writes the accounts that changed along with the records.
func (o *outbox) save(a *Agent) {
	for of := protocol.LaneEvent; of < protocol.LaneEnd; of++ {
		if l := &o.lanes[of]; l.touched {
			a.change(Change{Key: laneKey(of), Value: l.encode()})
			l.touched = false
		}
	}
}

// stored notes that all records are on the disk. Not so many stay in memory; none while the
// hub does not hear.
func (o *outbox) stored(heard bool) {
	most := 0
	if heard {
		most = recentMax
	}
	for i := range o.lanes {
		l := &o.lanes[i]
		if r := l.recent.all; len(r) > 0 {
			l.onDisk = r[len(r)-1].mark
			l.older = l.recent.shrink(most, l.onDisk) || l.older
		}
	}
}

// open reads the accounts; a lane without a readable one is counted.
func (o *outbox) open(a *Agent) error {
	for of := protocol.LaneEvent; of < protocol.LaneEnd; of++ {
		l := &o.lanes[of]
		value, err := a.store.Get(laneKey(of))
		if err != nil {
			return err
		}
		if value == nil || protocol.UnmarshalExact(value, &l.account) != nil {
			if err := a.count(of); err != nil {
				return err
			}
		}
		l.older, l.waiting = true, l.Count > 0
	}
	return nil
}

func (a *Agent) count(of protocol.Lane) error {
	l := &a.out.lanes[of]
	l.account = account{}
	return a.eachRecord(of, func(_ string, _ protocol.Mark, value []byte) bool {
		l.Count++
		l.Bytes += sizeOf(value)
		l.touched = true
		return true
	})
}

// pending and dropped are the sums over all lanes.
func (o *outbox) pending() (n uint64) {
	for i := range o.lanes {
		n += o.lanes[i].Count
	}
	return n
}

func (o *outbox) dropped() (n uint64) {
	for i := range o.lanes {
		n += o.lanes[i].Dropped
	}
	return n
}

func laneKey(of protocol.Lane) string { return keyLane + strconv.Itoa(int(of)) }

func lanePrefix(of protocol.Lane) string { return keyOut + strconv.Itoa(int(of)) + "/" }

func recordKey(of protocol.Lane, m protocol.Mark) string {
	b := make([]byte, 0, len(keyOut)+20+1+16+1+16)
	b = append(strconv.AppendInt(append(b, keyOut...), int64(of), 10), '/')
	b = append(appendHex(b, m.Boot), '/')
	return string(appendHex(b, m.Sequence))
}

// appendHex adds v with 16 digits.
func appendHex(b []byte, v uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[v>>shift&15])
	}
	return b
}

func markOf(of protocol.Lane, key string) (protocol.Mark, error) {
	boot, sequence, _ := strings.Cut(strings.TrimPrefix(key, lanePrefix(of)), "/")
	b, err := strconv.ParseUint(boot, 16, 64)
	if err != nil {
		return protocol.Mark{}, err
	}
	s, err := strconv.ParseUint(sequence, 16, 64)
	return protocol.Mark{Boot: b, Sequence: s}, err
}
