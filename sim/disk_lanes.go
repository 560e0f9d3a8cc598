package sim

import (
	"slices"
	"strings"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// written is one change that is on a disk: of a key, or of a record when lane is set.
type written struct {
	key        string
	lane       protocol.Lane
	mark       protocol.Mark
	value, was []byte // nil: there is none
}

// shelf holds the records of one lane, ascending from head on.
type shelf struct {
	records []laid
	head    int
	bytes   uint64 // of keys and values
}

type laid struct {
	mark  protocol.Mark
	value []byte
	at    int64 // when it was written first
}

// live returns the records that are there.
func (s *shelf) live() []laid { return s.records[s.head:] }

// find returns where the record of a mark stands, or would.
func (s *shelf) find(m protocol.Mark) (int, bool) {
	low, high := s.head, len(s.records)
	if low == high || m.After(s.records[high-1].mark) { // most are added at the end
		return high, false
	}
	for low < high {
		if mid := (low + high) / 2; m.After(s.records[mid].mark) {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low, s.records[low].mark == m
}

// set changes one record and returns the value before.
func (s *shelf) set(m protocol.Mark, value []byte, now int64) (was []byte) {
	at, found := s.find(m)
	switch {
	case found && value != nil:
		was, s.records[at].value = s.records[at].value, value
	case found:
		was = s.records[at].value
		s.drop(at)
	case value != nil:
		s.records = slices.Insert(s.records, at, laid{m, value, now})
	}
	return was
}

// drop removes the record at at. The first ones go without moving the rest.
func (s *shelf) drop(at int) {
	if at != s.head {
		s.records = slices.Delete(s.records, at, at+1)
		return
	}
	s.records[at] = laid{}
	if s.head++; s.head == len(s.records) {
		s.records, s.head = s.records[:0], 0
	}
	if s.head > 64 && s.head > len(s.records)/2 {
		s.records, s.head = slices.Delete(s.records, 0, s.head), 0
	}
}

// through returns how many records stand up to a mark.
func (s *shelf) through(m protocol.Mark) int {
	at, found := s.find(m)
	if found {
		at++
	}
	return at - s.head
}

// ApplyLanes makes all changes or none, as Apply does. The values are the disk's.
func (k *disk) ApplyLanes(changes []edge.LaneChange) error {
	var grows, wrote int64
	records := false
	for i := range changes {
		c := ofLane(&changes[i])
		size := int64(len(c.Value))
		if c.Lane == 0 {
			size += int64(len(c.Key))
		} else {
			size += int64(edge.RecordKeySize)
		}
		wrote += size
		if c.Value != nil {
			grows += size
			records = records || c.Lane != 0 && !edge.HasHeadroom(c.Lane)
		}
	}
	if !records { // the journal's headroom is for them
		grows -= headroom
	}
	for i := 0; i < len(changes) && k.tight(grows); i++ {
		grows -= k.replaced(ofLane(&changes[i]))
	}
	err, done := k.change(grows, wrote)
	if !done {
		return err
	}
	all := k.blobs.done[:0]
	for i := range changes {
		all = k.put(all, ofLane(&changes[i]))
	}
	if k.applied != nil {
		k.applied(all)
	}
	clear(all)
	k.blobs.done = all
	return err
}

// ofLane returns a change of a record that comes by its key as one by its mark.
func ofLane(c *edge.LaneChange) *edge.LaneChange {
	if c.Lane != 0 || !strings.HasPrefix(c.Key, "out/") {
		return c
	}
	if of, m, ok := edge.RecordOf(c.Key); ok {
		return &edge.LaneChange{Lane: of, Mark: m, Change: edge.Change{Value: c.Value}}
	}
	return c
}

// replaced returns how many bytes a change takes away.
func (k *disk) replaced(c *edge.LaneChange) (n int64) {
	if c.Lane == 0 {
		if was := k.peek(c.Key); was != nil {
			n = int64(len(c.Key) + len(was))
		}
		return n
	}
	s := k.shelf(c.Lane)
	if c.Through {
		for _, r := range s.live()[:s.through(c.Mark)] {
			n += int64(edge.RecordKeySize + len(r.value))
		}
	} else if at, found := s.find(c.Mark); found {
		n = int64(edge.RecordKeySize + len(s.records[at].value))
	}
	return n
}

// put makes one change and adds what it was to all.
func (k *disk) put(all []written, c *edge.LaneChange) []written {
	if c.Lane == 0 {
		return append(all, written{key: c.Key, value: c.Value, was: k.set(c.Change)})
	}
	s := k.shelf(c.Lane)
	if !c.Through {
		return append(all, k.lay(c.Lane, c.Mark, c.Value))
	}
	for n := s.through(c.Mark); n > 0; n-- {
		all = append(all, k.lay(c.Lane, s.live()[0].mark, nil))
	}
	return all
}

// lay changes one record.
func (k *disk) lay(of protocol.Lane, m protocol.Mark, value []byte) written {
	s := k.shelf(of)
	was := s.set(m, value, k.time())
	if value != nil {
		k.bytes += int64(edge.RecordKeySize + len(value))
		s.bytes += uint64(edge.RecordKeySize + len(value))
	}
	if was != nil {
		k.bytes -= int64(edge.RecordKeySize + len(was))
		s.bytes -= uint64(edge.RecordKeySize + len(was))
	}
	return written{lane: of, mark: m, value: value, was: was}
}

// shelf returns a lane's records.
func (k *disk) shelf(of protocol.Lane) *shelf { return &k.shelves[of%protocol.LaneEnd] }

// oldest returns when the first record of a lane was written.
func (k *disk) oldest(of protocol.Lane) (at int64, found bool) {
	all := k.shelf(of).live()
	if len(all) == 0 {
		return 0, false
	}
	return all[0].at, true
}

// waiting returns the bytes of all lanes.
func (k *disk) waiting() (n uint64) {
	for i := range k.shelves {
		n += k.shelves[i].bytes
	}
	return n
}

// scanLane is Scan over one lane.
func (k *disk) scanLane(of protocol.Lane, prefix, first string, yield func(key string, value []byte) bool) {
	s := k.shelf(of)
	at := s.head
	if _, m, ok := edge.RecordOf(first[:min(len(first), edge.RecordKeySize)]); ok { // a key, or what follows one
		at, _ = s.find(m)
	}
	for ; at < len(s.records); at++ {
		r := &s.records[at]
		key := edge.RecordKey(of, r.mark)
		if key >= first && strings.HasPrefix(key, prefix) && !yield(key, r.value) {
			return
		}
	}
}

var _ edge.LaneStore = (*disk)(nil)
