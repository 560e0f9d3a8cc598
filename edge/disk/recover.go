package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/stavily/stavily/edge"
)

// Damage is what a journal found that it had written and could not read any more.
type Damage struct {
	Parts int   // runs of bytes, each with one frame or more in it
	Bytes int64 // their sum
}

const (
	suffixTemporary = ".tmp"
	// asideMax bounds the parts whose bytes are kept to be looked at.
	asideMax = 16
)

// openJournal opens what is in dir, which must be there. What a cut left half is taken
// away; what the medium lost is set aside and counted, and is no reason not to open.
func openJournal(fs fileSystem, dir string, log *slog.Logger, size int64) (*journal, error) {
	j := &journal{
		fs: fs, dir: dir, log: log, max: size, slack: garbageMax * size,
		small: map[string][]byte{}, bad: map[place]int64{},
	}
	numbers, err := j.list()
	if err != nil {
		return nil, err
	}
	if len(numbers) == 0 {
		return j, j.rotate()
	}
	if err := j.load(numbers); err != nil {
		return nil, errors.Join(err, j.close())
	}
	return j, nil
}

// list returns the numbers of the segments, and takes away what was begun and not named.
func (j *journal) list() (numbers []uint64, err error) {
	names, err := j.fs.names(j.dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if strings.HasSuffix(name, suffixTemporary) {
			if err := j.fs.remove(filepath.Join(j.dir, name)); err != nil {
				return nil, err
			}
		}
		if n, err := strconv.ParseUint(name, 16, 64); err == nil && len(name) == 16 {
			numbers = append(numbers, n)
		}
	}
	return numbers, nil
}

// load reads the newest snapshot and all that was written behind it.
func (j *journal) load(numbers []uint64) error {
	first := len(numbers) - 1
	for ; first >= 0; first-- {
		s, err := j.found(numbers[first])
		if err != nil {
			return err
		}
		if base := j.readSnapshot(s); base > 0 {
			if first == len(numbers)-1 {
				j.base = base
			}
			break
		}
	}
	first = max(first, 0) // without any snapshot, what there is without one
	if err := j.onlyThose(numbers, first); err != nil {
		return err
	}
	for _, n := range numbers[first:] {
		s, err := j.found(n)
		if err != nil {
			return err
		}
		j.segments = append(j.segments, s)
	}
	for _, s := range j.segments[j.index(numbers[first]):] {
		if err := j.replay(s, s == j.last()); err != nil {
			return err
		}
	}
	return j.resume()
}

// onlyThose forgets the segments of the snapshot that are not here, and removes the ones
// before it that it does not know: a cut has brought back what was let go of.
func (j *journal) onlyThose(numbers []uint64, first int) error {
	for _, n := range numbers[:first] {
		if j.segment(n) == nil {
			if err := j.fs.remove(j.path(n)); err != nil {
				return err
			}
		}
	}
	j.segments = slices.DeleteFunc(j.segments, func(s *segment) bool {
		_, here := slices.BinarySearch(numbers, s.number)
		return !here
	})
	return nil
}

// found returns a segment of which nothing is known but its size.
func (j *journal) found(number uint64) (*segment, error) {
	f, err := j.fs.open(j.path(number), os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	size, err := f.size()
	return &segment{number: number, size: size}, errors.Join(err, f.Close())
}

// replay makes the changes of a segment's frames again. The end of the last segment may
// have been lost with a cut; in all others every byte was synced.
func (j *journal) replay(s *segment, last bool) error {
	at := j.replayGood(s)
	if at >= s.size {
		return nil
	}
	b, err := j.readAll(s)
	if err != nil {
		return err
	}
	for at < int64(len(b)) {
		here := place{s.number, at}
		payload := payloadOf(b[at:], here)
		if payload != nil {
			j.again(payload, s)
			at += headerSize + int64(len(payload))
			continue
		}
		if empty(b[at:]) {
			s.size = at
			return nil
		}
		next, proven := search(b, here)
		if last && !proven {
			s.size, j.torn = at, true
			return nil
		}
		j.setAside(here, next)
		at = next
	}
	return nil
}

// replayGood replays the frames up to the first that is not good, and returns where that
// begins. Where nothing stands behind it, as is nearly always so, the segment ends there. It
// reads a little at a time: a start is short, and a segment is long and mostly room.
func (j *journal) replayGood(s *segment) (at int64) {
	w := &window{}
	defer w.close()
	for at < s.size {
		payload := w.payload(j, place{s.number, at}, s.size)
		if payload == nil {
			break
		}
		j.again(payload, s)
		at += headerSize + int64(len(payload))
	}
	for rest := at; rest < s.size; {
		b, err := w.read(j, place{s.number, rest}, windowSize, s.size)
		if err != nil || len(b) == 0 || !empty(b) {
			return at
		}
		rest += int64(len(b))
	}
	s.size = at
	return at
}

func (j *journal) again(payload []byte, s *segment) {
	r, _, ok := changesOf(payload)
	if !ok {
		return // a snapshot, which says what is known already
	}
	if j.enact(&r, s); r.broken {
		j.log.Error("journal: a frame says what this agent cannot read")
	}
}

// readAll reads a segment; what the medium does not give is zeros.
func (j *journal) readAll(s *segment) ([]byte, error) {
	f, err := j.fs.open(j.path(s.number), os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	b := make([]byte, s.size)
	for at := 0; at < len(b); {
		n, err := f.ReadAt(b[at:min(at+windowSize, len(b))], int64(at))
		at += n
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			j.log.Error("journal: not readable", slog.String("at", place{s.number, int64(at)}.String()),
				slog.String("error", err.Error()))
			at += min(windowSize-n, len(b)-at)
		}
	}
	return b, f.Close()
}

// searchMax bounds the bytes that are summed up in the search for a good frame.
const searchMax = 64 << 20

// search returns where the next good frame behind a bad one begins, the end of b if there
// is none; and whether a later frame says that the bad one had been synced: then the
// medium has lost it, and no cut.
func search(b []byte, bad place) (next int64, proven bool) {
	next = int64(len(b))
	budget := searchMax
	for at := bad.offset + 1; at+headerSize <= int64(len(b)) && budget > 0; at++ {
		here := place{bad.segment, at}
		n := lengthOf(b[at:], here)
		if n == 0 {
			continue
		}
		budget -= n
		payload := payloadOf(b[at:], here)
		if payload == nil {
			continue
		}
		next = min(next, at)
		if _, unsynced, ok := changesOf(payload); ok && at-unsynced > bad.offset {
			return next, true
		}
		at += headerSize + int64(len(payload)) - 1
	}
	return next, false
}

// empty reports whether b is all zeros: so it is when it begins with one and every byte is as
// the one before, which is seen many bytes at once.
func empty(b []byte) bool {
	return len(b) == 0 || b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1])
}

// nextGood returns where the next good frame of a segment begins, behind a bad one.
func (j *journal) nextGood(at place, limit int64) int64 {
	s := &segment{number: at.segment, size: limit}
	b, err := j.readAll(s)
	if err != nil {
		return limit
	}
	next, _ := search(b, at)
	return next
}

// setAside keeps a part of a segment that cannot be read, to be looked at, and passes over
// it from now on.
func (j *journal) setAside(at place, end int64) {
	j.bad[at] = end
	j.damage.Parts++
	j.damage.Bytes += end - at.offset
	j.log.Error("journal: part not readable, set aside", slog.String("at", at.String()),
		slog.Int64("bytes", end-at.offset))
	if j.damage.Parts > asideMax {
		return
	}
	if err := j.keepBad(at, end); err != nil {
		j.log.Warn("journal: bad part not kept", slog.String("error", err.Error()))
	}
}

func (j *journal) keepBad(at place, end int64) error {
	in, err := j.fs.open(j.path(at.segment), os.O_RDONLY)
	if err != nil {
		return err
	}
	b := make([]byte, min(end-at.offset, segmentSize))
	n, _ := in.ReadAt(b, at.offset)
	name := j.path(at.segment) + fmt.Sprintf("-%d%s", at.offset, suffixBad)
	out, err := j.fs.open(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return errors.Join(err, in.Close())
	}
	_, err = out.WriteAt(b[:n], 0)
	return errors.Join(err, out.Close(), in.Close())
}

// resume has the last segment written on from where it ends. What was read of it may have
// been on its way to the medium only.
func (j *journal) resume() error {
	s := j.last()
	f, err := j.fs.open(j.path(s.number), os.O_RDWR)
	if err != nil {
		return err
	}
	j.out, j.synced = f, s.size
	if j.torn {
		j.log.Warn("journal: cut where the power went", slog.String("at", place{s.number, s.size}.String()))
		err = j.cut(s.size)
	} else if err = f.Sync(); err == nil {
		err = f.reserve(max(j.limit(), s.size))
	}
	if errors.Is(full(err), edge.ErrFull) {
		err = nil // there is less room than there was; what is here is here
	}
	if err = errors.Join(err, j.fs.syncDir(j.dir)); err != nil {
		return err
	}
	j.reclaim()
	j.takeHeadroom()
	return nil
}

func (p place) String() string { return fmt.Sprintf("%016x+%d", p.segment, p.offset) }
