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
	// Size is how many bytes the value has of a record that goes from the midst of its lane; 0: not said.
	Size int64
}

// waitMax is how many changes wait at most.
const waitMax = 4096

// What may be at risk, by the beginnings of the keys: how far a run is, what has ended of
// it, and what the hub has acknowledged. After a cut the run's last step is asked again
// under its idempotency key, as after a cut between the step's end and the disk; and
// records go to the hub once more, which knows them. What waits goes there as one, with what
// does not wait.
var atRisk = []string{keyRun, keyLane, keyClock}

// bound is what may be at risk for as long as nothing has left the agent: that something has
// happened, what the trigger knows of it, and what is counted of it. To the world outside it is
// as if the power had gone before it.
var bound = []string{keyTrigger, keyStorm, keyOnce}

// wait is how long changes may wait for others.
type wait uint8

const (
	noWait  wait = iota // what a deployment changes, and all else
	tillOut             // until something leaves
	anyWait
)

// waitOf returns how long changes may wait, all of them.
func waitOf(changes []LaneChange) wait {
	least := anyWait
	for i := range changes {
		c := &changes[i]
		switch {
		case (c.Lane == protocol.LaneEvent || c.Lane == protocol.LaneAlarm) && c.Value != nil:
			least = tillOut
		case c.Lane != 0 || strings.HasPrefix(c.Key, keyOut) && c.Value == nil, c.under(atRisk):
		case c.under(bound):
			least = tillOut
		default:
			return noWait
		}
	}
	return least
}

// under reports whether a change is of a key that begins as one of these.
func (c *Change) under(prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(c.Key, prefix) })
}

// inward reports whether a plugin can change nothing outside its memory: what it is asked may be
// asked before the disk knows why. It is WebAssembly and has no grant but to look at figures.
func (l *Load) inward() bool {
	wasm := l.Artifact.Platform == protocol.PlatformWASM
	return wasm && !slices.ContainsFunc(l.Step.Grants, func(g protocol.Grant) bool {
		return g.Capability != protocol.CapMetrics
	})
}

// leaves reports whether anything leaves the agent after this input.
func (p *pen) leaves() bool {
	return slices.ContainsFunc(p.effects, func(e effect) bool { return !e.inward })
}

// atOnce has the input's changes go to the disk before anything follows from them, though
// they might wait: another device forgets what it kept for this one.
func (a *Agent) atOnce() { a.pen.atOnce = true }

// waits reports whether the input's changes wait for others, and has them wait then.
func (a *Agent) waits() bool {
	p := &a.pen
	due := !a.syncAt.IsZero() && !a.now.Before(a.syncAt)
	if a.lanes == nil || a.cfg.Risk == 0 || p.atOnce || due || len(p.changes) > waitMax {
		return false
	}
	switch waitOf(p.changes[p.waiting:]) {
	case noWait:
		return false
	case tillOut:
		p.bound = true
	default:
	}
	if p.bound && p.leaves() {
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
		a.syncAt, p.atOnce, p.bound = time.Time{}, false, false
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
