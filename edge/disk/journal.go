package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// segmentSize is how long a segment becomes before the next is begun: it bounds what is
// read at a start, and the room that one record may hold back.
const segmentSize = 1 << 20

// snapshotPart is how many times as long as its snapshot a segment becomes at least, so
// that the snapshots cost little.
const snapshotPart = 8

// bufferKept is the largest buffer in bytes that is kept for the next frame.
const bufferKept = 256 << 10

// changedKept is how many changes of small keys there is room for at all times.
const changedKept = 1024

// journal keeps keys and values in segments that are only ever added to. A change is one
// frame; a frame is on the disk whole or not at all. Records of lanes stay where they were
// written: of them only each lane's ends are known here, however many there are. All other
// keys are few and small and are kept here too; each segment begins with a snapshot of
// them, so that a start reads one segment.
type journal struct {
	fs  fileSystem
	dir string
	log *slog.Logger
	max int64 // segmentSize
	// slack is how much may be kept that is of nobody any more, over as much as is of
	// somebody.
	slack int64

	mu       sync.Mutex // guards the fields below
	small    map[string][]byte
	keys     []string // of small, ascending; some of them are gone
	fresh    []string // of small, not among keys yet, in no order
	odds     int      // keys of small that begin as those of records do
	lanes    [lanesMax]lane
	segments []*segment    // ascending; the last is being written
	out      file          // the last segment
	base     int64         // where its snapshot ends
	synced   int64         // what of it survives a power cut
	pending  []byte        // frames behind, not written yet
	scratch  []byte        // for the frame being made
	changed  []edge.Change // for the plan being made
	walker   window        // for the lanes' fronts
	spare    *window       // for a scan
	next     uint64        // number of a segment that may be there already; 0: none
	moved    uint64        // counts compactions: records stand elsewhere now
	headroom bool          // is kept
	torn     bool          // the end of the last segment was lost with a cut
	damage   Damage
	bad      map[place]int64 // parts that are set aside, with their ends
}

// lane is what is known of one lane's records: those after head up to last, without the
// holes, are there.
type lane struct {
	head, last protocol.Mark
	holes      map[protocol.Mark]bool
	front      front
}

// front is the first record of a lane, where it is known, or where to look for it.
type front struct {
	known bool
	mark  protocol.Mark
	at    place           // of its frame; no record of the lane stands before
	next  place           // of the one behind
	later []protocol.Mark // the records behind it in its frame; never changed
}

func (l *lane) has(m protocol.Mark) bool {
	return m.After(l.head) && (len(l.holes) == 0 || !l.holes[m])
}

// segment is one file.
type segment struct {
	number uint64
	size   int64
	lanes  [lanesMax]span
}

// span is what a segment holds of a lane.
type span struct {
	last  protocol.Mark
	bytes int64
}

func (j *journal) path(number uint64) string {
	return filepath.Join(j.dir, fmt.Sprintf("%016x", number))
}

func (j *journal) last() *segment { return j.segments[len(j.segments)-1] }

// end is where the next frame begins.
func (j *journal) end() int64 { return j.synced + int64(len(j.pending)) }

// apply is applyLanes for changes by their keys.
func (j *journal) apply(changes []edge.Change, now bool) error {
	all := make([]edge.LaneChange, len(changes))
	for i, c := range changes {
		all[i] = laneChange(c)
	}
	return j.applyLanes(all, now)
}

func laneChange(c edge.Change) edge.LaneChange {
	if lane, m, ok := edge.RecordOf(c.Key); ok {
		return edge.LaneChange{Change: edge.Change{Value: c.Value}, Lane: lane, Mark: m}
	}
	return edge.LaneChange{Change: edge.Change{Key: c.Key, Value: bytes.Clone(c.Value)}}
}

// applyLanes makes changes in order, or none. With now set they survive a power cut when it
// returns, and with them all that was put before; else they do after the next flush.
func (j *journal) applyLanes(changes []edge.LaneChange, now bool) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.out == nil {
		return errClosed
	}
	if len(changes) == 0 && now {
		return j.flush()
	}
	if err := j.room(changes); err != nil {
		return err
	}
	p := j.plan(changes)
	before := len(j.pending)
	if before == 0 {
		j.pending, j.scratch = p.frame, j.pending
	} else {
		j.pending = append(j.pending, p.frame...)
	}
	if now {
		if err := j.flush(); err != nil {
			j.pending = j.pending[:before]
			return err
		}
	}
	j.commit(p)
	if now {
		j.reclaim()
	}
	return nil
}

// sync makes survive a power cut what was applied before.
func (j *journal) sync() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.out == nil {
		return errClosed
	}
	err := j.flush()
	if err == nil {
		j.reclaim()
	}
	return err
}

// flush writes what is pending and syncs it. On an error it stays pending: nothing of it
// counts as written.
func (j *journal) flush() error {
	if len(j.pending) == 0 {
		return nil
	}
	_, err := j.out.WriteAt(j.pending, j.synced)
	if err == nil {
		err = j.out.Sync()
	}
	if err != nil {
		return errors.Join(full(err), j.cut(j.synced))
	}
	j.synced += int64(len(j.pending))
	j.last().size = j.synced
	if j.pending = j.pending[:0]; cap(j.pending) > bufferKept {
		j.pending = nil
	}
	if cap(j.scratch) > bufferKept {
		j.scratch = nil
	}
	return nil
}

// cut makes the last segment end at end: what could not be written must not be found
// there later.
func (j *journal) cut(end int64) error {
	if err := j.out.Truncate(end); err != nil {
		return err
	}
	return errors.Join(j.out.Sync(), j.out.reserve(max(j.limit(), end)))
}

// full marks an error of a disk without room.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", edge.ErrFull, err)
	}
	return err
}

// plan is a frame, and what it makes of the journal.
type plan struct {
	frame  []byte
	at     place
	small  []edge.Change           // of keys that are no records in a segment
	ends   [lanesMax]protocol.Mark // of the lanes, after what is planned
	heads  [lanesMax]protocol.Mark
	fronts [lanesMax]front
	bytes  [lanesMax]int64 // of records
	holes  []hole
}

// hole is a record that goes from the midst of its lane.
type hole struct {
	lane protocol.Lane
	mark protocol.Mark
	size int64 // of its value; 0: not known
}

// plan makes the frame of changes.
func (j *journal) plan(changes []edge.LaneChange) *plan {
	p := &plan{at: place{j.last().number, j.end()}, small: j.changed[:0]}
	for i := range j.lanes {
		l := &j.lanes[i]
		p.ends[i], p.heads[i], p.fronts[i] = l.last, l.head, l.front
	}
	b := slices.Grow(j.scratch[:0], headerSize)[:headerSize]
	b = binary.AppendUvarint(append(b, kindChanges), uint64(len(j.pending)))
	for i := range changes {
		switch c := &changes[i]; {
		case c.Lane == 0:
			b = p.change(b, c.Change)
		case c.Through:
			b = j.planThrough(b, p, c)
		default:
			b = j.planRecord(b, p, c)
		}
	}
	for i := range p.heads {
		if p.heads[i] != j.lanes[i].head {
			b = appendMark(append(b, opTrim|byte(i)), p.heads[i])
		}
	}
	seal(b, p.at)
	p.frame, j.scratch = b, b
	return p
}

// planRecord adds what a change of a lane comes to: most add to its end or take its first
// away. What does neither is kept with the small keys.
func (j *journal) planRecord(b []byte, p *plan, r *edge.LaneChange) []byte {
	if r.Value != nil && r.Mark.After(p.ends[r.Lane]) {
		p.ends[r.Lane] = r.Mark
		p.bytes[r.Lane] += int64(len(r.Value))
		return appendBytes(appendMark(append(b, opRecord|byte(r.Lane)), r.Mark), r.Value)
	}
	known := r.Mark.After(p.heads[r.Lane]) && !r.Mark.After(p.ends[r.Lane])
	key := edge.RecordKey(r.Lane, r.Mark)
	switch {
	case r.Value == nil && known && j.advance(p, r.Lane, r.Mark):
		return b
	case known:
		p.fronts[r.Lane] = front{}
		p.holes = append(p.holes, hole{r.Lane, r.Mark, r.Size})
		b = appendMark(append(b, opHole|byte(r.Lane)), r.Mark)
	case r.Value == nil && !j.odd(p, key):
		return b
	}
	return p.change(b, edge.Change{Key: key, Value: bytes.Clone(r.Value)})
}

// odd reports whether a record is, or is planned to be, with the small keys.
func (j *journal) odd(p *plan, key string) bool {
	return j.small[key] != nil || slices.ContainsFunc(p.small, func(c edge.Change) bool { return c.Key == key })
}

// change adds a change of a key that is no record in a segment.
func (p *plan) change(b []byte, c edge.Change) []byte {
	p.small = append(p.small, c)
	if c.Value == nil {
		return appendBytes(append(b, opRemove), c.Key)
	}
	return appendBytes(appendBytes(append(b, opSet), c.Key), c.Value)
}

// planThrough takes the first records of a lane away.
func (j *journal) planThrough(b []byte, p *plan, c *edge.LaneChange) []byte {
	m := c.Mark
	for _, key := range j.oddThrough(p, c) {
		b = p.change(b, edge.Change{Key: key})
	}
	if m.After(p.ends[c.Lane]) {
		m = p.ends[c.Lane]
	}
	if !m.After(p.heads[c.Lane]) {
		return b
	}
	p.heads[c.Lane] = m
	if f := &p.fronts[c.Lane]; f.known && !f.mark.After(m) {
		f.pass(m)
	}
	return b
}

// pass has a front look for its record behind m, which is not before the one it is at.
func (f *front) pass(m protocol.Mark) {
	for i, later := range f.later {
		if later.After(m) {
			f.mark, f.later = later, f.later[i+1:]
			return
		}
	}
	*f = front{at: f.next}
}

// oddThrough returns the keys of a lane's first records that are with the small keys: of
// agents of before, and of records that were written again.
func (j *journal) oddThrough(p *plan, c *edge.LaneChange) (keys []string) {
	gone := func(key string) bool {
		of, m, ok := edge.RecordOf(key)
		return ok && of == c.Lane && !m.After(c.Mark)
	}
	if j.odds > 0 {
		for _, key := range j.sorted() {
			if gone(key) {
				keys = append(keys, key)
			}
		}
	}
	for _, planned := range p.small {
		if isOdd(planned.Key) && planned.Value != nil && gone(planned.Key) {
			keys = append(keys, planned.Key)
		}
	}
	return keys
}

// advance takes the first record of a lane away, and reports whether m was that one.
func (j *journal) advance(p *plan, of protocol.Lane, m protocol.Mark) bool {
	f := &p.fronts[of]
	if slices.ContainsFunc(p.holes, func(h hole) bool { return h.lane == of }) {
		return false
	}
	if !f.known {
		*f = j.first(of, f.at, p.heads[of])
	}
	if !f.known || f.mark != m {
		return false
	}
	p.heads[of] = m
	if len(f.later) > 0 {
		f.mark, f.later = f.later[0], f.later[1:]
	} else {
		*f = j.first(of, f.next, m)
	}
	return true
}

// commit makes the changes of a frame that was taken.
func (j *journal) commit(p *plan) {
	for _, c := range p.small {
		if c.Value == nil {
			j.unset(c.Key)
		} else {
			j.set(c.Key, c.Value)
		}
	}
	for _, h := range p.holes {
		j.lanes[h.lane].hole(h.mark)
		if s := j.with(h); s != nil { // so that a segment of mostly holes is worth a compaction
			s.lanes[h.lane].bytes = max(0, s.lanes[h.lane].bytes-h.size)
		}
	}
	for i := range j.lanes {
		l := &j.lanes[i]
		if l.front = p.fronts[i]; p.ends[i] != l.last {
			l.last = p.ends[i]
			in := &j.last().lanes[i]
			in.last, in.bytes = l.last, in.bytes+p.bytes[i]
		}
		if p.heads[i] != l.head {
			l.trim(p.heads[i])
		}
	}
	clear(p.small)
	if j.changed = p.small[:0]; cap(p.small) > changedKept {
		j.changed = nil
	}
}

// with returns the segment that a record from the midst of a lane stands in.
func (j *journal) with(h hole) *segment {
	for _, s := range j.segments {
		if !h.mark.After(s.lanes[h.lane].last) {
			return s
		}
	}
	return nil
}

func (l *lane) trim(head protocol.Mark) {
	l.head = head
	maps.DeleteFunc(l.holes, func(m protocol.Mark, _ bool) bool { return !m.After(head) })
}

func (l *lane) hole(m protocol.Mark) {
	if l.holes == nil {
		l.holes = map[protocol.Mark]bool{}
	}
	l.holes[m] = true
}

// enact makes the changes of a frame in what is known of the journal.
func (j *journal) enact(r *reader, in *segment) {
	for {
		o, ok := r.next()
		switch {
		case !ok:
			return
		case o.code == opSet:
			j.set(string(o.key), append([]byte{}, o.value...))
		case o.code == opRemove:
			j.unset(string(o.key))
		case int(o.lane) >= lanesMax: // of a newer agent
		default:
			j.enactRecord(o, in)
		}
	}
}

func (j *journal) enactRecord(o op, in *segment) {
	l := &j.lanes[o.lane]
	switch o.code {
	case opRecord:
		if o.mark.After(l.last) {
			l.last = o.mark
		}
		in.lanes[o.lane].last = o.mark
		in.lanes[o.lane].bytes += int64(len(o.value))
	case opTrim:
		l.trim(o.mark)
	case opHole:
		l.hole(o.mark)
	}
}

// set gives a key its value, which is the journal's from then on and never changed, only
// replaced.
func (j *journal) set(key string, value []byte) {
	if _, known := j.small[key]; !known {
		j.fresh = append(j.fresh, key)
		if isOdd(key) {
			j.odds++
		}
	}
	if j.small[key] = value; len(j.fresh) > 2*len(j.small)+freshKept {
		j.tidyFresh()
	}
}

func (j *journal) unset(key string) {
	if j.small[key] == nil {
		return
	}
	delete(j.small, key)
	if isOdd(key) {
		j.odds--
	}
}

// tidyFresh forgets the keys that came and are gone again.
func (j *journal) tidyFresh() {
	j.fresh = slices.DeleteFunc(j.fresh, func(key string) bool { return j.small[key] == nil })
	if len(j.fresh) > len(j.small) {
		j.sorted() // some stand there twice
	}
}

// freshKept is how many keys may wait for their order besides.
const freshKept = 256

// isOdd reports whether a key begins as those of records do.
func isOdd(key string) bool { return strings.HasPrefix(key, keyOut) }

// sorted returns the keys of small in ascending order. Runs come and go all the time and
// are looked for at a start only, so that their order is made when it is asked for.
func (j *journal) sorted() []string {
	if len(j.fresh) == 0 && len(j.keys) == len(j.small) {
		return j.keys
	}
	j.keys, j.fresh = append(j.keys, j.fresh...), j.fresh[:0]
	j.keys = slices.DeleteFunc(j.keys, func(key string) bool { return j.small[key] == nil })
	slices.Sort(j.keys)
	j.keys = slices.Compact(j.keys)
	return j.keys
}

var errClosed = errors.New("journal is closed")
