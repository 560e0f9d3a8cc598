package edge

import (
	"errors"
	"slices"
	"time"

	"github.com/stavily/stavily/protocol"
)

// A disk without room refuses every change that grows it. Then the agent makes room: while
// the line is up it goes on to send what is on the disk and lets go of what the hub
// acknowledges; without a line, or when that does not help, it drops the oldest records of
// its least important lane, counted as those that a lane's bound drops.

const (
	// drainTries is how often the changes are tried again while the hub may make room.
	drainTries = 4
	// shedsMax bounds the rounds of dropping for one input.
	shedsMax = 32
	// shedPart is the part of a lane that goes at once, and shedMin the least of records.
	shedPart = 8
	shedMin  = 16
)

// apply makes the input's changes, with room made for them where that helps.
func (a *Agent) apply() error {
	err := a.toDisk()
	for range shedsMax {
		if !errors.Is(err, ErrFull) || a.up && a.pen.tries < drainTries || !a.shed() {
			break
		}
		err = a.toDisk()
	}
	return err
}

// shed drops the oldest records of the least important lane that has some on the disk, ahead of the
// changes that found no room. It reports whether there were any.
func (a *Agent) shed() bool {
	lanes := protocol.Lanes()
	for _, of := range slices.Backward(lanes[:]) {
		l := &a.out.lanes[of]
		wanted := l.Bytes / shedPart
		changes := a.pen.changes
		a.pen.changes = nil
		seen := 0
		dropped := a.dropOldest(of, protocol.GapDisk, func(_ []byte, n int64) bool {
			if wanted <= 0 && seen >= shedMin {
				return false
			}
			wanted -= n
			seen++
			return true
		})
		a.pen.changes = slices.Concat(a.pen.changes, changes)
		if dropped == 0 {
			continue
		}
		a.saveAgain()
		return true
	}
	return false
}

// saveAgain writes the accounts that changed in place of what the refused changes say of
// them.
func (a *Agent) saveAgain() {
	for of := protocol.LaneEvent; of < protocol.LaneEnd; of++ {
		if key := laneKey(of); a.out.lanes[of].touched {
			a.pen.changes = slices.DeleteFunc(a.pen.changes, func(c LaneChange) bool { return c.Key == key })
		}
	}
	a.out.save(a)
}

// relieves takes an acknowledgement while the disk is full: what it lets go makes room for
// what waits. It reports whether m was one.
func (a *Agent) relieves(m protocol.Message) bool {
	to, kind, err := protocol.ParseTopic(m.Topic)
	if !a.pen.full || err != nil || to != a.cfg.Address || kind != protocol.DownAck {
		return false
	}
	before := len(a.pen.changes)
	a.take(m)
	if len(a.pen.changes) == before {
		m.Done()
		return true // nothing was let go
	}
	a.after(m.Done)
	a.saveAgain()
	a.pen.at = a.now
	if a.unstick() {
		a.settle()
	}
	return true
}

// drainStuck sends what is on a full disk: only the hub's word makes room without loss.
func (a *Agent) drainStuck() {
	if a.pen.full && a.up {
		a.sayRecords()
	}
}

// stuckDue is Next while the disk refuses.
func (a *Agent) stuckDue() time.Time {
	t := a.pen.at
	if a.pen.full && a.up {
		t = sooner(t, a.out.due())
	}
	return t
}

// wait has every lane with records look for some to send.
func (o *outbox) wait() {
	for i := range o.lanes {
		o.lanes[i].waiting = o.lanes[i].waiting || o.lanes[i].owes()
	}
}
