package disk

import (
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/stavily/stavily/edge"
)

const (
	// garbageMax is the journal's slack in segments.
	garbageMax = 4
	// compactPart is the part of a segment that a compaction must win back.
	compactPart = 4
	// compactFrame is how many bytes of records a compaction puts into one frame.
	compactFrame = 32 << 10
)

// nameHeadroom is a file of nothing: its room is for what must go on when there is no
// other.
const nameHeadroom = "headroom"

// grows reports whether changes add records that may be refused on a full disk. What lets
// go of records, what the agent keeps of itself, and the lanes with headroom are not refused as
// long as it lasts.
func grows(changes []edge.LaneChange) bool {
	return slices.ContainsFunc(changes, func(c edge.LaneChange) bool {
		return c.Lane != 0 && c.Value != nil && !edge.HasHeadroom(c.Lane)
	})
}

// squeeze begins a new segment on a disk that had no room for one: records that are gone
// but held their place make room, and for changes that do not grow the headroom.
func (j *journal) squeeze(changes []edge.LaneChange) error {
	err := edge.ErrFull
	for range len(j.segments) {
		j.giveHeadroom() // a compaction needs room before it makes some
		won := j.compactOne()
		if won {
			err = j.rotate()
		}
		if !won || err == nil || !errors.Is(err, edge.ErrFull) {
			break
		}
	}
	if errors.Is(err, edge.ErrFull) && !grows(changes) {
		j.giveHeadroom()
		return j.rotate()
	}
	j.takeHeadroom()
	return err
}

// takeHeadroom keeps room for later, if there is any.
func (j *journal) takeHeadroom() {
	if j.headroom {
		return
	}
	name := filepath.Join(j.dir, nameHeadroom)
	f, err := j.fs.open(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return
	}
	err = f.reserve(2 * j.max)
	if err = errors.Join(err, f.Close()); err != nil {
		_ = j.fs.remove(name)
		return
	}
	j.headroom = true
}

func (j *journal) giveHeadroom() {
	if err := j.fs.remove(filepath.Join(j.dir, nameHeadroom)); err == nil {
		j.headroom = false
	}
}

// tidy compacts a segment when too much is kept that is of nobody.
func (j *journal) tidy() {
	var size, live int64
	for _, s := range j.segments {
		size += s.size
		live += j.live(s)
	}
	if size > 2*live+j.slack {
		j.compactOne()
	}
}

// compactOne compacts the segment that wins most, if one is worth it.
func (j *journal) compactOne() bool {
	var best *segment
	for _, s := range j.segments[:max(0, len(j.segments)-segmentsKept)] {
		won := s.size - j.live(s)
		if won*compactPart >= s.size && (best == nil || won > best.size-j.live(best)) {
			best = s
		}
	}
	if best == nil {
		return false
	}
	if err := j.compact(best); err != nil {
		j.log.Warn("journal: segment not compacted", slog.String("error", err.Error()))
		return false
	}
	return true
}

// compact writes a segment anew with only the records that are left, in its old place. A
// cut may leave the one or the other: both say the same.
func (j *journal) compact(s *segment) error {
	b, fresh, gone := j.gather(s)
	f, err := j.write(fresh, b, fresh.size)
	if err != nil {
		return full(err)
	}
	s.lanes = fresh.lanes
	if err := j.fs.syncDir(j.dir); err == nil {
		s.size = fresh.size // else a cut may bring the old one back, and no snapshot says less
		for _, h := range gone {
			delete(j.lanes[h.lane].holes, h.mark)
		}
	}
	j.moved++
	j.walker.close()
	if j.spare != nil {
		j.spare.close()
	}
	for i := range j.lanes {
		j.lanes[i].front = front{}
	}
	for at := range j.bad {
		if at.segment == s.number {
			delete(j.bad, at)
		}
	}
	return f.Close()
}

// gather returns the records of a segment that are left, in frames for its place, and those that
// went from the midst of their lanes.
func (j *journal) gather(s *segment) (b []byte, fresh *segment, gone []hole) {
	fresh, b = &segment{number: s.number}, make([]byte, 0, j.live(s)+j.live(s)/4)
	start := 0
	end := func() {
		if start < len(b) {
			seal(b[start:], place{s.number, int64(start)})
		}
		start = len(b)
	}
	for at := (place{segment: s.number}); ; {
		payload, _, next := j.frame(&j.walker, at)
		if payload == nil {
			break
		}
		for r, _, ok := changesOf(payload); ok; {
			var o op
			if o, ok = r.next(); !ok || o.code != opRecord || int(o.lane) >= lanesMax {
				continue
			}
			if l := &j.lanes[o.lane]; !l.has(o.mark) {
				if l.holes[o.mark] {
					gone = append(gone, hole{lane: o.lane, mark: o.mark})
				}
				continue
			}
			if len(b) == start {
				b = binary.AppendUvarint(append(append(b, make([]byte, headerSize)...), kindChanges), 0)
			}
			b = appendBytes(appendMark(append(b, opRecord|byte(o.lane)), o.mark), o.value)
			fresh.lanes[o.lane].last = o.mark
			fresh.lanes[o.lane].bytes += int64(len(o.value))
			if len(b)-start > compactFrame {
				end()
			}
		}
		at = next
	}
	end()
	fresh.size = int64(len(b))
	return b, fresh, gone
}
