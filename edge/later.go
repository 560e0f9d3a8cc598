package edge

import (
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/stavily/stavily/protocol"
)

// LaterStore is a Store that can also take changes whose loss in a power cut harms nobody,
// and put many of them on the disk as one.
type LaterStore interface {
	Store
	// ApplyLater is Apply, but the changes survive a power cut only when the next Apply or
	// Sync has returned, and never without those before them. Scan yields records of lanes
	// only from then on: what is sent must be there to stay.
	ApplyLater(changes []Change) error
	// Sync returns when everything that was applied survives a power cut.
	Sync() error
}

// riskMax is how long changes may wait for others to go to the disk with. What follows
// from them is at risk so long.
const riskMax = 10 * time.Millisecond

// What may be at risk, by the beginnings of the keys: how far a run is, what has ended of
// it, and what the hub has acknowledged. After a cut the run's last step is asked again
// under its idempotency key, as after a cut between the step's end and the disk; and
// records go to the hub once more, which knows them. A run's event, its trigger's state,
// and all that a deployment changes are on the disk before anything follows from them.
var atRisk = []string{keyOut, keyRun, keyLane, keyClock}

// mayWait reports whether changes may wait for others.
func mayWait(changes []Change) bool {
	events := lanePrefix(protocol.LaneEvent)
	return !slices.ContainsFunc(changes, func(c Change) bool {
		if c.Value != nil && strings.HasPrefix(c.Key, events) {
			return true
		}
		return !slices.ContainsFunc(atRisk, func(prefix string) bool { return strings.HasPrefix(c.Key, prefix) })
	})
}

// atOnce has the input's changes go to the disk before anything follows from them, though
// they might wait: another device forgets what it kept for this one.
func (a *Agent) atOnce() { a.pen.atOnce = true }

// write puts the input's changes on the disk: at once, or within riskMax if they may wait.
func (a *Agent) write() error {
	if a.later == nil || a.pen.atOnce || !mayWait(a.pen.changes) {
		err := a.store.Apply(a.pen.changes)
		if err == nil {
			a.syncAt, a.pen.atOnce = time.Time{}, false
		}
		return err
	}
	if err := a.later.ApplyLater(a.pen.changes); err != nil {
		return err
	}
	a.syncAt = sooner(a.syncAt, a.now.Add(riskMax))
	return nil
}

// sync puts on the disk what has waited long enough.
func (a *Agent) sync() {
	if a.syncAt.IsZero() || a.now.Before(a.syncAt) {
		return
	}
	if err := a.later.Sync(); err != nil {
		a.syncAt = a.now.Add(a.cfg.PauseMin)
		a.log.Error("disk refuses what has ended", slog.String("error", err.Error()))
		return
	}
	a.syncAt = time.Time{}
}
