package edge

import (
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/stavily/stavily/protocol"
)

// What a lane lets go before the hub has it leaves a gap, which stands in the lane's account and
// goes to the hub in the place of the records. So every record reaches the hub or lies in one gap.

// Drop is what a lane does that has no room.
type Drop uint8

const (
	// DropOldest lets go of the oldest records.
	DropOldest Drop = iota
	// DropNewest lets go of what comes, until an eighth of the lane is free again.
	DropNewest
	// DropNone does not wake the triggers whose events go into the lane, from three quarters of
	// its bytes on. What comes all the same lets the oldest go.
	DropNone
	// DropThin lets go of every second record, from the oldest on: what is left says less often what
	// it says, for longer. Where that is not enough the oldest go.
	DropThin
)

var dropWords = [...]string{"oldest", "newest", "none", "downsample"}

// blockTrigger is another word for none.
const blockTrigger = "block-trigger"

// String returns what a lane drops, in a word.
func (d Drop) String() string {
	if int(d) < len(dropWords) {
		return dropWords[d]
	}
	return "unknown"
}

// ParseDrop reads what String returns, and "block-trigger" for none. The error has CodeBadInput.
func ParseDrop(s string) (Drop, error) {
	if s == blockTrigger {
		return DropNone, nil
	}
	if at := slices.Index(dropWords[:], s); at >= 0 {
		return Drop(at), nil
	}
	return 0, protocol.Errorf(protocol.CodeBadInput, "drop %q: want %s", clip(s),
		strings.Join(dropWords[:], ", "))
}

const (
	// gapsMax bounds the gaps of a lane; then the first two become one.
	gapsMax = 16
	// shutPart is the part of a full lane that is free before it takes more, and of DropNone the
	// one, times two, that is left for what was under way.
	shutPart = 8
	// dropPart is the part of a full lane that goes besides what must: to look for the oldest on the
	// disk costs more than to let go of a hundred of them.
	dropPart = 256
	// agedMax is how many records go at once because of their age.
	agedMax = 1024
	// firstAge is how long after a start the ages are looked at: the boot has other work.
	firstAge = time.Minute
)

// makeRoom drops the oldest records of a lane until size bytes fit, or says that the newest is to
// go. Records of the input under way are not on the disk yet and stay.
func (a *Agent) makeRoom(of protocol.Lane, size int64) bool {
	l, most := &a.out.lanes[of], a.cfg.LaneBytes[of]
	over := l.Bytes + size - most
	if a.cfg.LaneDrop[of] == DropNewest {
		was := l.shut
		if l.shut = over > 0 || was && l.Bytes > most-most/shutPart; l.shut && !was {
			a.log.Warn("lane full: what comes is dropped", slog.String("lane", of.String()))
		}
		return !l.shut
	}
	if over > 0 && a.cfg.LaneDrop[of] == DropThin {
		over -= a.thin(of)
	}
	if over > 0 {
		a.dropSome(of, over+most/dropPart)
	}
	return true
}

// dropSome lets go of the oldest records of a lane until they were so many bytes.
func (a *Agent) dropSome(of protocol.Lane, over int64) {
	a.dropOldest(of, protocol.GapBytes, func(_ []byte, n int64) bool {
		was := over
		over -= n
		return was > 0
	})
}

// dropOldest lets go of the oldest records of a lane for which wanted is true, given the record
// and what it counts for, and returns how many.
func (a *Agent) dropOldest(of protocol.Lane, why protocol.GapWhy, wanted func([]byte, int64) bool) uint64 {
	l, dropped := &a.out.lanes[of], uint64(0)
	err := a.eachRecord(of, func(key string, m protocol.Mark, value []byte) bool {
		n := sizeOf(value)
		l.widen(m)
		if !wanted(value, n) {
			return false
		}
		a.discard(of, entry{key, m, n})
		a.lose(of, protocol.Gap{From: m, To: m, Count: 1, Why: why})
		dropped++
		return true
	})
	if dropped > 0 {
		a.log.Warn("oldest records dropped", slog.String("lane", of.String()), slog.String("why", why.String()),
			slog.Uint64("dropped", dropped), slog.Uint64("ever", l.Dropped))
	}
	if err != nil {
		a.log.Error("lane not read", slog.String("lane", of.String()), slog.String("error", err.Error()))
	}
	return dropped
}

// ages lets go of the records that are older than their lanes keep any, by the steady time: what
// a device without a clock was off does not count.
func (a *Agent) ages() {
	for _, of := range protocol.Lanes() {
		if l := &a.out.lanes[of]; !l.agesAt.IsZero() && !a.now.Before(l.agesAt) {
			l.agesAt = a.age(of)
		}
	}
}

// age is ages of one lane; it returns when the lane is looked at again.
func (a *Agent) age(of protocol.Lane) (next time.Time) {
	age, dropped := a.cfg.LaneAge[of], 0
	a.dropOldest(of, protocol.GapAge, func(value []byte, _ int64) bool {
		var rec protocol.Record
		if protocol.Unmarshal(value, &rec) != nil || rec.Steady == 0 {
			next = a.now.Add(age)
			return false
		}
		old := time.Duration(a.tenths()-min(rec.Steady, a.tenths())) * (time.Second / 10)
		switch {
		case old < age:
			next = a.now.Add(age - old)
			return false
		case dropped == agedMax:
			next = a.now
			return false
		}
		dropped++
		return true
	})
	if next.IsZero() && a.out.lanes[of].Count > 0 {
		next = a.now.Add(firstAge) // they are on their way to the disk
	}
	return next
}

// agesDue returns when a record may be too old.
func (o *outbox) agesDue() (t time.Time) {
	for i := range o.lanes {
		t = sooner(t, o.lanes[i].agesAt)
	}
	return t
}

// full reports whether a lane holds back the triggers whose events go into it.
func (a *Agent) full(of protocol.Lane) bool {
	most := a.cfg.LaneBytes[of]
	return a.cfg.LaneDrop[of] == DropNone && a.out.lanes[of].Bytes > most-2*most/shutPart
}

// lose notes records that are gone before the hub had them.
func (a *Agent) lose(of protocol.Lane, g protocol.Gap) {
	l := &a.out.lanes[of]
	l.Dropped += g.Count
	l.Gaps, l.loose = addGap(l.Gaps, g), true
	a.owe(l)
	a.report.touch(a.now)
}

// unreadable notes a record that nobody can read: it goes when the hub has what comes with it.
func (a *Agent) unreadable(of protocol.Lane, m protocol.Mark) {
	l := &a.out.lanes[of]
	known := slices.ContainsFunc(l.Gaps, func(g protocol.Gap) bool { return !g.From.After(m) && !m.After(g.To) })
	if !known && len(l.Gaps) < gapsMax { // one more would hide records that are still here
		a.lose(of, protocol.Gap{From: m, To: m, Count: 1, Why: protocol.GapUnreadable})
	}
}

// owe notes that a lane has something to send, which is not on the disk yet.
func (a *Agent) owe(l *lane) {
	if !l.waiting {
		a.collect(l)
	}
	l.touched, l.waiting = true, true
}

// owes reports whether the hub has not heard all of a lane.
func (l *lane) owes() bool { return l.Count > 0 || len(l.Gaps) > 0 }

// told forgets the gaps that the hub knows of.
func (l *lane) told(upTo protocol.Mark) bool {
	n := 0
	for n < len(l.Gaps) && !l.Gaps[n].To.After(upTo) {
		n++
	}
	l.Gaps = slices.Delete(l.Gaps, 0, n)
	l.safe = slices.DeleteFunc(l.safe, func(g protocol.Gap) bool { return !g.To.After(upTo) })
	l.touched = l.touched || n > 0
	return n > 0
}

// gapsBefore returns the gaps that may be told before next, the first record that does not go now,
// zero for none: not those behind a record that the hub is still to get. Nor those that the disk
// does not have: after a power cut their records would be there again, and nobody would take them.
func (l *lane) gapsBefore(next protocol.Mark) []protocol.Gap {
	end := l.sent
	all := l.recent.all
	for i := 0; i < len(all) && next == (protocol.Mark{}); i++ {
		if all[i].mark.After(l.onDisk) {
			next = all[i].mark
		}
	}
	n := 0
	for _, g := range l.safe {
		if next != (protocol.Mark{}) && g.To.After(next) || end != (protocol.Mark{}) && g.From.After(end) {
			break
		}
		n++
	}
	return l.safe[:n]
}

// first is the first mark that may be in a lane.
func (l *lane) first(of protocol.Lane) protocol.Mark {
	m, err := markOf(of, strings.TrimSuffix(l.head, "\x00"))
	if err != nil { // nothing of it was ever let go
		return protocol.Mark{}
	}
	m.Sequence++
	return m
}

// addGap adds a gap in its place, to one that ends before it where that is for the same reason.
func addGap(all []protocol.Gap, g protocol.Gap) []protocol.Gap {
	if at := placeOf(all, g); at > 0 && adjoins(&all[at-1], &g) {
		all[at-1].To = g.To
		all[at-1].Count += g.Count
		return all
	}
	all = insertGap(all, g)
	if len(all) > gapsMax {
		first, second := all[0], all[1]
		if first.Why != second.Why {
			first.Why = protocol.GapSeveral
		}
		first.To, first.Count = second.To, first.Count+second.Count
		all = slices.Delete(all, 0, 1)
		all[0] = first
	}
	return all
}

// insertGap puts a gap in its place.
func insertGap(all []protocol.Gap, g protocol.Gap) []protocol.Gap {
	return slices.Insert(all, placeOf(all, g), g)
}

// placeOf returns where a gap stands among others.
func placeOf(all []protocol.Gap, g protocol.Gap) int {
	at := len(all)
	for at > 0 && all[at-1].From.After(g.From) {
		at--
	}
	return at
}

// adjoins reports whether g goes on where before ends.
func adjoins(before, g *protocol.Gap) bool {
	return before.Why == g.Why && before.To.Boot == g.From.Boot && before.To.Sequence+1 == g.From.Sequence
}
