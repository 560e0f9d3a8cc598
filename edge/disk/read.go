package disk

import (
	"cmp"
	"os"
	"slices"
	"strings"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// windowSize is how much of a segment is read at once.
const windowSize = 64 << 10

// window is a part of a segment in memory, with the segment open.
type window struct {
	number uint64
	file   file
	offset int64
	buf    []byte
}

func (w *window) close() {
	if w.file != nil {
		_ = w.file.Close()
	}
	*w = window{buf: w.buf[:0]}
}

// read returns n bytes of a segment from offset on, or as many as there are before limit.
// They are the window's until the next read.
func (w *window) read(j *journal, at place, n int, limit int64) ([]byte, error) {
	n = int(min(int64(n), limit-at.offset))
	if w.file != nil && w.number == at.segment && at.offset >= w.offset &&
		at.offset+int64(n) <= w.offset+int64(len(w.buf)) {
		return w.buf[at.offset-w.offset:][:n], nil
	}
	if w.file == nil || w.number != at.segment {
		w.close()
		f, err := j.fs.open(j.path(at.segment), os.O_RDONLY)
		if err != nil {
			return nil, err
		}
		w.file, w.number = f, at.segment
	}
	want := int(min(int64(max(n, windowSize)), limit-at.offset))
	w.offset, w.buf = at.offset, slices.Grow(w.buf[:0], want)[:want]
	got, err := w.file.ReadAt(w.buf, at.offset)
	w.buf = w.buf[:got]
	if got >= n {
		return w.buf[:n], nil
	}
	return w.buf, err
}

// frame returns the payload of the first good frame at a place or behind it, its place
// and the place behind it; nil when there is none. What is not good is set aside.
func (j *journal) frame(w *window, at place) (payload []byte, stands, next place) {
	s := j.segment(at.segment)
	if s == nil {
		return nil, at, at
	}
	for at.offset < s.size {
		if end, known := j.bad[at]; known {
			at.offset = end
			continue
		}
		payload := w.payload(j, at, s.size)
		if payload != nil {
			return payload, at, place{at.segment, at.offset + headerSize + int64(len(payload))}
		}
		if w.ends(at) {
			s.size = at.offset // it was compacted after the snapshot that says its size
			break
		}
		end := j.nextGood(at, s.size)
		j.setAside(at, end)
		at.offset = end
	}
	return nil, at, at
}

// ends reports whether the segment of the window is over at a place.
func (w *window) ends(at place) bool {
	if w.file == nil || w.number != at.segment {
		return false
	}
	size, err := w.file.size()
	return err == nil && size == at.offset
}

// payload returns the payload of the frame at a place, nil if there is no good one.
func (w *window) payload(j *journal, at place, limit int64) []byte {
	b, err := w.read(j, at, headerSize, limit)
	if err != nil || len(b) < headerSize {
		return nil
	}
	n := lengthOf(b, at)
	if n == 0 {
		return nil
	}
	b, err = w.read(j, at, headerSize+n, limit)
	if err != nil {
		return nil
	}
	return payloadOf(b, at)
}

// index returns where the first segment from number on stands.
func (j *journal) index(number uint64) int {
	at, _ := slices.BinarySearchFunc(j.segments, number, func(s *segment, n uint64) int {
		return cmp.Compare(s.number, n)
	})
	return at
}

func (j *journal) segment(number uint64) *segment {
	if at := j.index(number); at < len(j.segments) && j.segments[at].number == number {
		return j.segments[at]
	}
	return nil
}

// holding returns the first segment from number on that may hold records of a lane after
// m; nil: none.
func (j *journal) holding(of protocol.Lane, number uint64, m protocol.Mark) *segment {
	for _, s := range j.segments[j.index(number):] {
		if s.lanes[of].last.After(m) {
			return s
		}
	}
	return nil
}

// found is a record where it stands.
type found struct {
	mark  protocol.Mark
	value []byte
}

// taker takes the records of one frame, which stands at a place, and says whether it wants
// those from next on.
type taker func(stands, next place, all []found) bool

// start is where a reading of a lane begins: the frames from a place on, the records after a
// mark.
type start struct {
	of    protocol.Lane
	at    place
	after protocol.Mark
}

// records yields the records of a lane behind from, frame by frame, until yield returns
// false. What is pending is not there yet.
func (j *journal) records(w *window, from start, yield taker) {
	of, at, m := from.of, from.at, from.after
	l := &j.lanes[of]
	var all []found
	for {
		s := j.holding(of, at.segment, m)
		if s == nil {
			return
		}
		if s.number != at.segment {
			at = place{segment: s.number}
		}
		payload, stands, next := j.frame(w, at)
		if payload == nil { // the segment is over
			at = place{segment: at.segment + 1}
			continue
		}
		all = all[:0]
		for r, _, ok := changesOf(payload); ok; {
			var o op
			if o, ok = r.next(); ok && o.code == opRecord && o.lane == of && o.mark.After(m) && l.has(o.mark) {
				all = append(all, found{o.mark, o.value})
			}
		}
		if len(all) > 0 {
			m = all[len(all)-1].mark
			if !yield(stands, next, all) {
				return
			}
		}
		at = next
	}
}

// first returns the first record of a lane after m, which stands at a place or behind it.
func (j *journal) first(of protocol.Lane, at place, m protocol.Mark) front {
	f := front{at: place{j.last().number, j.synced}} // what is pending comes behind
	j.records(&j.walker, start{of, at, m}, func(stands, next place, all []found) bool {
		f = front{known: true, mark: all[0].mark, at: stands, next: next}
		for _, r := range all[1:] {
			f.later = append(f.later, r.mark)
		}
		return false
	})
	return f
}

// get returns the value of a key, nil when there is none.
func (j *journal) get(key string) []byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	if v := j.small[key]; v != nil {
		return append([]byte{}, v...)
	}
	lane, m, ok := edge.RecordOf(key)
	if !ok || !j.lanes[lane].has(m) {
		return nil
	}
	var value []byte
	j.records(&j.walker, start{of: lane, after: before(m)}, func(_, _ place, all []found) bool {
		if all[0].mark == m {
			value = append([]byte{}, all[0].value...)
		}
		return false
	})
	return value
}

// before returns the mark next below m.
func before(m protocol.Mark) protocol.Mark {
	switch {
	case m.Sequence > 0:
		m.Sequence--
	case m.Boot > 0:
		m = protocol.Mark{Boot: m.Boot - 1, Sequence: ^uint64(0)}
	}
	return m
}

// scan yields the keys with prefix, not below from, in order. The journal may be changed
// meanwhile.
func (j *journal) scan(prefix, from string, yield func(key string, value []byte) bool) {
	from = max(prefix, from)
	small := j.smallFrom(prefix, from)
	for lane := protocol.Lane(1); int(lane) < min(lanesMax, 10); lane++ {
		if !touches(prefix, lane) {
			continue
		}
		more := j.scanLane(lane, from, func(key string, value []byte) bool {
			if !strings.HasPrefix(key, prefix) {
				return true
			}
			for len(small) > 0 && small[0].Key < key {
				if !yield(small[0].Key, small[0].Value) {
					return false
				}
				small = small[1:]
			}
			return yield(key, value)
		})
		if !more {
			return
		}
	}
	for _, c := range small {
		if !yield(c.Key, c.Value) {
			return
		}
	}
}

func (j *journal) smallFrom(prefix, from string) (all []edge.Change) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if isOdd(prefix) && j.odds == 0 {
		return nil
	}
	keys := j.sorted()
	at, _ := slices.BinarySearch(keys, from)
	for _, key := range keys[at:] {
		if !strings.HasPrefix(key, prefix) {
			break
		}
		all = append(all, edge.Change{Key: key, Value: j.small[key]})
	}
	return all
}

// scanLane yields the records of a lane whose keys are not below from. It reports whether
// yield wanted all.
func (j *journal) scanLane(of protocol.Lane, from string, yield func(key string, value []byte) bool) bool {
	c := j.begin(of, from)
	defer j.done(c)
	for {
		all := j.step(c)
		if len(all) == 0 {
			return true
		}
		for _, r := range all {
			if key := edge.RecordKey(of, r.mark); key >= from && !yield(key, r.value) {
				return false
			}
		}
	}
}

// cursor is a scan of a lane under way.
type cursor struct {
	window *window
	of     protocol.Lane
	at     place
	after  protocol.Mark
	moved  uint64
	all    []found
}

// begin places a cursor as near before from as is known.
func (j *journal) begin(of protocol.Lane, from string) *cursor {
	j.mu.Lock()
	defer j.mu.Unlock()
	l := &j.lanes[of]
	c := &cursor{window: j.spare, of: of, after: l.head, moved: j.moved}
	if j.spare = nil; c.window == nil {
		c.window = &window{}
	}
	if _, m, ok := edge.RecordOf(strings.TrimSuffix(from, "\x00")); ok && before(m).After(c.after) {
		c.after = before(m)
	}
	if !l.front.known {
		l.front = j.first(of, l.front.at, l.head)
	}
	c.at = l.front.at
	return c
}

func (j *journal) done(c *cursor) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.spare != nil || cap(c.window.buf) > bufferKept {
		c.window.close()
		return
	}
	j.spare = c.window
}

// step returns the next records, which are the cursor's until the next step.
func (j *journal) step(c *cursor) []found {
	j.mu.Lock()
	defer j.mu.Unlock()
	if c.moved != j.moved {
		c.window.close()
		c.at, c.moved = place{}, j.moved
	}
	c.all = c.all[:0]
	j.records(c.window, start{c.of, c.at, c.after}, func(_, next place, all []found) bool {
		c.at, c.all = next, append(c.all, all...)
		return false
	})
	if n := len(c.all); n > 0 {
		c.after = c.all[n-1].mark
	}
	return c.all
}
