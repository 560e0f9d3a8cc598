package edge

import (
	"slices"
	"strings"
	"time"

	"github.com/stavily/stavily/protocol"
)

// LaneStore is a Store on a medium whose syncs and bytes cost. The agent puts together what
// may wait for the disk, and names records by their places.
type LaneStore interface {
	Store
	// ApplyLanes is Apply. The values are the store's from then on.
	ApplyLanes(changes []LaneChange) error
}

// LaneChange is a change of a key, or with Lane set of a record: then Key is empty, and
// Mark says which. Through lets go of that record and of all before it.
type LaneChange struct {
	Change
	Lane    protocol.Lane
	Mark    protocol.Mark
	Through bool
}

// waitMax is how many changes wait at most.
const waitMax = 4096

// What may be at risk, by the beginnings of the keys: how far a run is, what has ended of
// it, and what the hub has acknowledged. After a cut the run's last step is asked again
// under its idempotency key, as after a cut between the step's end and the disk; and
// records go to the hub once more, which knows them. A run's event, its trigger's state,
// and all that a deployment changes are on the disk before anything follows from them.
// What waits goes there as one, with what does not wait.
var atRisk = []string{keyRun, keyLane, keyClock}

// mayWait reports whether changes may wait for others.
func mayWait(changes []LaneChange) bool {
	for i := range changes {
		c := &changes[i]
		switch {
		case c.Lane == protocol.LaneEvent && c.Value != nil:
			return false
		case c.Lane != 0 || strings.HasPrefix(c.Key, keyOut) && c.Value == nil:
		case !slices.ContainsFunc(atRisk, func(prefix string) bool { return strings.HasPrefix(c.Key, prefix) }):
			return false
		}
	}
	return true
}

// atOnce has the input's changes go to the disk before anything follows from them, though
// they might wait: another device forgets what it kept for this one.
func (a *Agent) atOnce() { a.pen.atOnce = true }

// waits reports whether the input's changes wait for others, and has them wait then.
func (a *Agent) waits() bool {
	p := &a.pen
	due := !a.syncAt.IsZero() && !a.now.Before(a.syncAt)
	atOnce := a.lanes == nil || a.cfg.Risk == 0 || p.atOnce || due || len(p.changes) > waitMax
	if atOnce || !mayWait(p.changes[p.waiting:]) {
		return false
	}
	if len(p.changes) > p.waiting {
		p.waiting = len(p.changes)
		a.syncAt = sooner(a.syncAt, a.now.Add(a.cfg.Risk))
	}
	return true
}

// write puts on the disk, as one, what the input changed and what waited.
func (a *Agent) write() error {
	a.complete()
	if len(a.pen.changes) == 0 {
		return nil
	}
	return a.apply()
}

// complete adds to the changes what is written once for all of them: how far each run is,
// the lanes' accounts and the clock.
func (a *Agent) complete() {
	p := &a.pen
	for i, r := range p.runs {
		if !r.over {
			p.changes[r.saved-1].Value = r.encode()
		}
		r.saved, p.runs[i] = 0, nil
	}
	p.runs = p.runs[:0]
	a.out.save(a)
	a.saveClock()
}

// toDisk hands the changes to the store.
func (a *Agent) toDisk() (err error) {
	p := &a.pen
	if a.lanes != nil {
		err = a.lanes.ApplyLanes(p.changes)
	} else {
		err = a.store.Apply(p.named())
	}
	if err == nil {
		a.syncAt, p.atOnce = time.Time{}, false
		a.out.stored(a.up)
	}
	return err
}

// named returns the changes with the records' keys, for a store that knows no lanes.
func (p *pen) named() []Change {
	all := make([]Change, len(p.changes))
	for i, c := range p.changes {
		if all[i] = c.Change; c.Lane != 0 {
			all[i].Key = RecordKey(c.Lane, c.Mark)
		}
	}
	return all
}

// finish puts on the disk what waits: the process is about to end.
func (a *Agent) finish(now time.Time) {
	if !a.begin(now) {
		return
	}
	a.syncAt = now
	if err := a.write(); err != nil {
		a.stick(err)
		return
	}
	a.pen.blank()
}
