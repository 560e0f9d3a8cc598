package sim

import (
	"slices"
	"strings"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// disk is an agent's flash in memory: an edge.Store that keeps the promise of one, and
// breaks off where a fault says so. Files that many disks hold share their bytes.
type disk struct {
	blobs   *blobs
	buckets []bucket // by name, ascending
	shelves [protocol.LaneEnd]shelf
	files   []file
	bytes   int64 // of keys, values and files
	size    int64 // that fit; 0: no bound

	now    *int64 // of the world; may be nil
	filled int    // faults that have it take nothing more
	dead   bool   // the power is gone: nothing is read or written until the next start
	cut    cut    // the power goes with the next change

	// applied is told of every change that is on the disk; the slice is used again.
	applied func(changes []written)
	// wrote is told how many bytes a change wrote, for what it costs in time.
	wrote func(n int)
}

// cut is what becomes of the change in whose middle the power goes.
type cut uint8

const (
	cutNone   cut = iota
	cutBefore     // nothing of it is on the disk
	cutAfter      // all of it is, and nobody was told
)

// bucket holds the keys of one beginning, ascending from head on.
type bucket struct {
	name  string
	items []entry
	head  int
	bytes uint64 // of keys and values
}

type entry struct {
	key   string
	value []byte
	at    int64 // when it was written first
}

// file is one file, whole or not. A whole one has its bytes in common with all others
// of its digest, unless it has rotted.
type file struct {
	digest protocol.Digest
	whole  bool
	rotten bool
	bytes  []byte          // of its full size
	have   protocol.Bitmap // of one that is not whole
}

// held returns how many bytes of a file take room on the disk.
func (f *file) held() (n int64) {
	if f.whole {
		return int64(len(f.bytes))
	}
	for i := range protocol.ChunkCount(int64(len(f.bytes))) {
		if f.have.Has(i) {
			n += protocol.ChunkLen(int64(len(f.bytes)), i)
		}
	}
	return n
}

// blobs are the files that all disks of a world share, by digest.
type blobs struct {
	of   map[protocol.Digest][]byte
	done []written // of the change under way; used again
}

func newBlobs() *blobs { return &blobs{of: map[protocol.Digest][]byte{}} }

// keep returns the shared bytes of digest d, which b becomes if there are none. It
// returns nil when b does not have that digest.
func (s *blobs) keep(d protocol.Digest, b []byte) []byte {
	if known := s.of[d]; known != nil {
		if len(known) == len(b) && string(known) == string(b) {
			return known
		}
		return nil
	}
	if protocol.DigestOf(b) != d {
		return nil
	}
	s.of[d] = b
	return b
}

var errPower = protocol.Errorf(protocol.CodeStorage, "the power is gone")

func (k *disk) time() int64 {
	if k.now == nil {
		return 0
	}
	return *k.now
}

// bucketOf returns the name of the bucket of a key.
func bucketOf(key string) string {
	return key[:strings.IndexByte(key, '/')+1]
}

func (k *disk) bucket(name string, add bool) *bucket {
	for i := range k.buckets { // they are few
		if k.buckets[i].name == name {
			return &k.buckets[i]
		}
	}
	if !add {
		return nil
	}
	at, _ := slices.BinarySearchFunc(k.buckets, name, func(b bucket, name string) int {
		return strings.Compare(b.name, name)
	})
	k.buckets = slices.Insert(k.buckets, at, bucket{name: name})
	return &k.buckets[at]
}

// find returns where key stands, or would.
func (b *bucket) find(key string) (int, bool) {
	low, high := b.head, len(b.items)
	if low < high && b.items[high-1].key < key { // most are added at the end
		return high, false
	}
	if low < high && b.items[low].key == key { // and let go at the head
		return low, true
	}
	for low < high {
		if mid := (low + high) / 2; b.items[mid].key < key {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low, low < len(b.items) && b.items[low].key == key
}

// set changes one key and returns the value before.
func (b *bucket) set(key string, value []byte, now int64) (was []byte) {
	at, found := b.find(key)
	switch {
	case found && value != nil:
		was, b.items[at].value = b.items[at].value, value
	case found:
		was = b.items[at].value
		b.drop(at)
	case value != nil:
		b.items = slices.Insert(b.items, at, entry{key, value, now})
	}
	return was
}

// drop removes the entry at at. The first ones go without moving the rest.
func (b *bucket) drop(at int) {
	if at != b.head {
		b.items = slices.Delete(b.items, at, at+1)
		return
	}
	b.items[at] = entry{}
	if b.head++; b.head == len(b.items) {
		b.items, b.head = b.items[:0], 0
	}
	if b.head > 64 && b.head > len(b.items)/2 {
		b.items, b.head = slices.Delete(b.items, 0, b.head), 0
	}
}

// Get returns the value of key, nil when there is none.
func (k *disk) Get(key string) ([]byte, error) {
	if k.dead {
		return nil, errPower
	}
	return slices.Clone(k.peek(key)), nil
}

// peek returns the value of key, which stays the disk's.
func (k *disk) peek(key string) []byte {
	if of, m, ok := edge.RecordOf(key); ok {
		if at, found := k.shelf(of).find(m); found {
			return k.shelf(of).records[at].value
		}
		return nil
	}
	if b := k.bucket(bucketOf(key), false); b != nil {
		if at, found := b.find(key); found {
			return b.items[at].value
		}
	}
	return nil
}

// Scan yields the keys with prefix, not below from, in order.
func (k *disk) Scan(prefix, from string, yield func(key string, value []byte) bool) error {
	if k.dead {
		return errPower
	}
	first := max(prefix, from)
	name := bucketOf(prefix)
	if name == "" || name == "out/" && len(prefix) < len("out/1/") {
		k.scanAll(prefix, first, yield)
		return nil
	}
	b := k.bucket(name, false)
	if of := laneOf(prefix[len(name):]); name == "out/" && b == nil && of > 0 && of < protocol.LaneEnd {
		k.scanLane(of, prefix, first, yield)
		return nil
	}
	if name == "out/" { // there are keys that are no records
		k.scanAll(prefix, first, yield)
		return nil
	}
	if b == nil {
		return nil
	}
	at, _ := b.find(first)
	for ; at < len(b.items) && strings.HasPrefix(b.items[at].key, prefix); at++ {
		if !yield(b.items[at].key, b.items[at].value) {
			return nil
		}
	}
	return nil
}

// scanAll is Scan over all buckets.
func (k *disk) scanAll(prefix, first string, yield func(key string, value []byte) bool) {
	var all []entry
	for i := range k.buckets {
		b := &k.buckets[i]
		for _, e := range b.items[b.head:] {
			if e.key >= first && strings.HasPrefix(e.key, prefix) {
				all = append(all, e)
			}
		}
	}
	for of := range k.shelves {
		for _, r := range k.shelves[of].live() {
			if key := edge.RecordKey(protocol.Lane(of), r.mark); key >= first && strings.HasPrefix(key, prefix) {
				all = append(all, entry{key: key, value: r.value})
			}
		}
	}
	slices.SortFunc(all, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	for _, e := range all {
		if !yield(e.key, e.value) {
			return
		}
	}
}

// Apply makes all changes or none.
func (k *disk) Apply(changes []edge.Change) error {
	all := make([]edge.LaneChange, len(changes))
	for i, c := range changes {
		all[i].Change = c
	}
	return k.ApplyLanes(all)
}

// headroom is what a device's journal keeps for changes that add no record, as edge/disk
// does, which keeps two of its segments. Records are refused on a full disk, but for the audit.
const headroom = 256 << 10

func (k *disk) set(c edge.Change) (was []byte) {
	b := k.bucket(bucketOf(c.Key), c.Value != nil)
	if b == nil {
		return nil
	}
	if c.Value != nil { // an agent encodes each value for its change alone
		k.bytes += int64(len(c.Key) + len(c.Value))
		b.bytes += uint64(len(c.Key) + len(c.Value))
	}
	was = b.set(c.Key, c.Value, k.time())
	if was != nil {
		k.bytes -= int64(len(c.Key) + len(was))
		b.bytes -= uint64(len(c.Key) + len(was))
	}
	return was
}

// tight reports whether the disk has no room for a change by which it grows by so much.
func (k *disk) tight(grows int64) bool {
	return grows > 0 && (k.filled > 0 || k.size > 0 && k.bytes+grows > k.size)
}

// change is asked before each change: the error that its caller gets, and whether it is
// to be done all the same.
func (k *disk) change(grows, wrote int64) (err error, done bool) { //nolint:revive // both are answers
	switch {
	case k.dead:
		return errPower, false
	case k.cut == cutBefore:
		k.dead, k.cut = true, cutNone
		return errPower, false
	case k.tight(grows):
		return protocol.Errorf(protocol.CodeStorage, "%w", edge.ErrFull), false
	}
	if k.wrote != nil {
		k.wrote(int(wrote))
	}
	if k.cut == cutAfter {
		k.dead, k.cut = true, cutNone
		return errPower, true
	}
	return nil, true
}

var _ edge.Store = (*disk)(nil)
