package disk

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"slices"
	"sort"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// segmentsKept is how many of the newest segments stay whatever is in them: one whose
// snapshot has rotted is read from the one before.
const segmentsKept = 2

// appendSnapshot adds what is known of the journal: the ends of the lanes, the segments,
// and the small keys.
func (j *journal) appendSnapshot(b []byte) []byte {
	b = append(b, kindSnapshot)
	b = binary.AppendUvarint(b, uint64(lanesMax))
	for i := range j.lanes {
		l := &j.lanes[i]
		b = appendMark(appendMark(b, l.head), l.last)
		b = binary.AppendUvarint(b, uint64(len(l.holes)))
		for _, m := range l.sortedHoles() {
			b = appendMark(b, m)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(j.segments)))
	for _, s := range j.segments {
		b = binary.AppendUvarint(binary.AppendUvarint(b, s.number), uint64(s.size))
		for i := range s.lanes {
			b = binary.AppendUvarint(appendMark(b, s.lanes[i].last), uint64(s.lanes[i].bytes))
		}
	}
	keys := j.sorted()
	b = binary.AppendUvarint(b, uint64(len(keys)))
	for _, key := range keys {
		b = appendBytes(appendBytes(b, key), j.small[key])
	}
	return b
}

func (l *lane) sortedHoles() []protocol.Mark {
	all := make([]protocol.Mark, 0, len(l.holes))
	for m := range l.holes {
		all = append(all, m)
	}
	sort.Slice(all, func(i, j int) bool { return all[j].After(all[i]) })
	return all
}

// readSnapshot takes over the snapshot that a segment begins with, and returns where it
// ends; 0 when there is no good one.
func (j *journal) readSnapshot(s *segment) int64 {
	w := &window{}
	defer w.close()
	payload := w.payload(j, place{segment: s.number}, s.size)
	if payload == nil || payload[0] != kindSnapshot {
		return 0
	}
	into := &journal{small: map[string][]byte{}}
	r := &reader{b: payload, at: 1}
	lanes := int(min(r.uvarint(), 16))
	into.readLanes(r, lanes)
	into.readSegments(r, lanes)
	for n := r.uvarint(); n > 0 && !r.broken; n-- {
		key, value := r.bytes(), r.bytes()
		into.keys = append(into.keys, string(key))
		into.small[string(key)] = append([]byte{}, value...)
	}
	sorted := slices.IsSorted(into.keys) && len(into.keys) == len(into.small)
	if r.broken || r.at != len(payload) || !sorted {
		return 0
	}
	j.lanes, j.segments, j.keys, j.small = into.lanes, into.segments, into.keys, into.small
	j.fresh, j.odds = nil, 0
	for _, key := range j.keys {
		if isOdd(key) {
			j.odds++
		}
	}
	return headerSize + int64(len(payload))
}

func (j *journal) readLanes(r *reader, lanes int) {
	for i := range lanes {
		l := lane{head: r.mark(), last: r.mark()}
		for n := r.uvarint(); n > 0 && !r.broken; n-- {
			if l.holes == nil {
				l.holes = map[protocol.Mark]bool{}
			}
			l.holes[r.mark()] = true
		}
		if i < lanesMax {
			j.lanes[i] = l
		}
	}
}

func (j *journal) readSegments(r *reader, lanes int) {
	for n := r.uvarint(); n > 0 && !r.broken; n-- {
		s := &segment{number: r.uvarint(), size: int64(r.uvarint())}
		for i := range lanes {
			of := span{last: r.mark(), bytes: int64(r.uvarint())}
			if i < lanesMax {
				s.lanes[i] = of
			}
		}
		j.segments = append(j.segments, s)
	}
}

// limit is how long the last segment may become.
func (j *journal) limit() int64 { return max(j.max, snapshotPart*j.base) }

// room makes sure that there is a place for changes: in the last segment or in a new one.
// The error wraps ErrFull when there is none on the disk.
func (j *journal) room(changes []edge.LaneChange) error {
	size := int64(2 * headerSize)
	for _, c := range changes {
		size += int64(len(c.Key) + len(c.Value) + headerSize)
		if c.Lane != 0 {
			size += 2 * binary.MaxVarintLen64
		}
	}
	fits := j.end() == j.base || j.end()+size <= j.limit()
	if fits && j.next == 0 {
		return nil
	}
	err := j.rotate()
	if errors.Is(err, edge.ErrFull) {
		return j.squeeze(changes)
	}
	return err
}

// rotate begins a new segment with a snapshot. It is there or not, whole: the segments
// before it are not written on once it may be there.
func (j *journal) rotate() error {
	if err := j.flush(); err != nil {
		return err
	}
	if j.next == 0 {
		j.next = j.number()
	}
	next := &segment{number: j.next}
	frame := j.appendSnapshot(make([]byte, headerSize, j.base+j.base/4+headerSize))
	seal(frame, place{segment: next.number})
	next.size = int64(len(frame))
	f, err := j.write(next, frame, max(j.max, snapshotPart*next.size))
	if err != nil {
		return full(err)
	}
	if err := j.fs.syncDir(j.dir); err != nil {
		return errors.Join(err, f.Close()) // it may be there after a cut, or not
	}
	if j.out != nil {
		if err := errors.Join(j.out.Truncate(j.synced), j.out.Close()); err != nil {
			j.log.Warn("journal: segment not closed", slog.String("error", err.Error()))
		}
	}
	j.segments = append(j.segments, next)
	j.out, j.base, j.synced, j.next = f, next.size, next.size, 0
	j.reclaim()
	j.takeHeadroom()
	j.tidy()
	return nil
}

// number returns the number of the next segment: one more than the last in its upper half,
// and below something that nobody knows before, so that no plugin can make data that
// passes for a frame.
func (j *journal) number() uint64 {
	var salt [4]byte
	_, _ = rand.Read(salt[:]) // it never fails
	count := uint64(1)
	if len(j.segments) > 0 {
		count = j.last().number>>32 + 1
	}
	return count<<32 | uint64(binary.LittleEndian.Uint32(salt[:]))
}

// write makes the file of a segment, whole or not at all, with room for size bytes. Its
// name survives a cut once the directory is synced.
func (j *journal) write(s *segment, b []byte, size int64) (file, error) {
	name := j.path(s.number)
	f, err := j.fs.open(name+suffixTemporary, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return nil, err
	}
	err = f.reserve(size)
	if err == nil {
		_, err = f.WriteAt(b, 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = j.fs.rename(name+suffixTemporary, name)
	}
	if err != nil {
		_ = j.fs.remove(name + suffixTemporary)
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// reclaim removes the segments in which no record is left. It comes after a flush: what
// let go of them survives a cut.
func (j *journal) reclaim() {
	kept := j.segments[:0]
	for i, s := range j.segments {
		if i < len(j.segments)-segmentsKept && j.live(s) == 0 {
			if err := j.fs.remove(j.path(s.number)); err != nil && !errors.Is(err, os.ErrNotExist) {
				j.log.Warn("journal: segment not removed", slog.String("error", err.Error()))
			}
			continue
		}
		kept = append(kept, s)
	}
	clear(j.segments[len(kept):])
	j.segments = kept
}

// live returns about how many bytes of a segment are of records that are left.
func (j *journal) live(s *segment) (n int64) {
	for i := range s.lanes {
		if s.lanes[i].last.After(j.lanes[i].head) {
			n += s.lanes[i].bytes
		}
	}
	return n
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.walker.close()
	if j.spare != nil {
		j.spare.close()
	}
	if j.out == nil {
		return nil
	}
	err := errors.Join(j.flush(), j.out.Close())
	j.out = nil
	return err
}
