package edge

import (
	"log/slog"
	"slices"
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
	ahead  ahead
	page   []byte // in which records are encoded, one behind the other

	packing packing
}

type lane struct {
	account
	sequence uint64        // of the last record of this boot
	onDisk   protocol.Mark // the last record that survives a power cut
	recent   recent
	older    bool           // there may be records on the disk that are not among the recent ones
	head     string         // no record stands below this key
	touched  bool           // account differs from the disk
	safe     []protocol.Gap // those of the account that survive a power cut
	waiting  bool           // there may be records to send
	before   protocol.Mark  // what waits up to here leaves before the less important lanes do; zero: nothing

	sent   protocol.Mark // last record of the batch under way; zero: none
	flying []flown       // the records up to sent that are still here, oldest first
	at     time.Time     // when that batch goes again, or the next one at the earliest
	try    int
	handed handed // the batch that went last

	loose   bool            // the disk still has records that it let go of
	thinned []protocol.Mark // those of them from the midst of it
	sweep   sweep

	shut   bool      // it is full and keeps what it has
	agesAt time.Time // when its oldest record may be too old; zero: it has none, or keeps all
}

// flown is a record of a batch under way.
type flown struct {
	mark protocol.Mark
	size int64
}

// record adds a record to a lane and returns its mark. When the lane is over its
// bytes it or the oldest records go, counted; the hub is told by a gap. The
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
	l.sequence++
	a.pen.timed = true
	if !a.makeRoom(of, size) {
		if !l.touched {
			a.remove(laneKey(of)) // it is written again with the input's changes, of which there may be no other
		}
		a.lose(of, protocol.Gap{From: mark, To: mark, Count: 1, Why: protocol.GapNewest})
		return mark, nil
	}
	a.pen.add(LaneChange{Change: Change{Value: value}, Lane: of, Mark: mark})
	l.recent.add(mark, value)
	if at.Quality == protocol.QualityClock {
		a.prove(at.UnixMS)
	}
	l.Count++
	l.Bytes += size
	if age := a.cfg.LaneAge[of]; age > 0 && l.agesAt.IsZero() {
		l.agesAt = a.now.Add(age)
	}
	a.owe(l)
	a.goesAhead(of)
	return mark, nil
}

// pageSize is how many bytes of records are encoded in one piece of memory, which they hold until
// the last of them is gone.
const pageSize = 8 << 10

// sizeOf is what a record counts for.
func sizeOf(value []byte) int64 { return int64(RecordKeySize + len(value)) }

// encode returns an encoded record.
func (o *outbox) encode(head *protocol.Record, body any) ([]byte, error) {
	if cap(o.page)-len(o.page) < max(cap(o.page)/8, pageSize/16) {
		o.page = make([]byte, 0, min(max(2*cap(o.page), pageSize/8), pageSize))
	}
	from := len(o.page)
	b, err := protocol.AppendRecord(o.page, *head, body)
	if err != nil || cap(b) != cap(o.page) { // a large one has its own memory
		return b[from:], err
	}
	o.page = b
	return b[from:len(b):len(b)], nil
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
		return slices.Contains(a.out.lanes[of].thinned, mark) || yield(key, mark, value)
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
func (a *Agent) discard(of protocol.Lane, e entry) {
	l := &a.out.lanes[of]
	a.pen.add(LaneChange{Lane: of, Mark: e.mark})
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

// rest gives back memory, while no record waits.
func (o *outbox) rest() {
	o.page, o.packing = nil, packing{}
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

// stored notes that all records and accounts are on the disk. Not so many stay in memory; none while the
// hub does not hear.
func (o *outbox) stored(heard bool) {
	most := 0
	if heard {
		most = recentMax
	}
	for i := range o.lanes {
		l := &o.lanes[i]
		if l.thinned = l.thinned[:0]; !l.touched {
			l.loose = false
			l.safe = append(l.safe[:0], l.Gaps...)
		}
		if r := l.recent.all; len(r) > 0 {
			l.onDisk = r[len(r)-1].mark
			l.older = l.recent.shrink(most, l.onDisk) || l.older
		}
	}
}
