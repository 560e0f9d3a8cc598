package hub

import (
	"slices"
	"time"

	"github.com/stavily/stavily/hub/rollout"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// What is deployed in waves leaves the agents that they have not reached as they are. Those may
// be at several versions, each of which was superseded before its own waves were done: a chain
// of bases, at whose end is what held for all, or nothing.

// basesMax bounds the versions of a chain whose waves were not done.
const basesMax = 4

// bare returns the version without what it was on its way from.
func (d *deployed) bare() deployed {
	out := *d
	out.Base, out.Held, out.Rollout, out.Leaving = nil, nil, rollout.State{}, nil
	return out
}

// holds reports whether an agent has a base whose waves were not done.
func (d *deployed) holds(name protocol.AgentName) bool {
	_, ok := slices.BinarySearch(d.Held, name)
	return ok
}

// bases returns what agents have whom the waves of d have not reached, the newest first.
func (d *deployed) bases() (out []*deployed) {
	for b := d.Base; b != nil; b = b.Base {
		out = append(out, b)
	}
	return out
}

// succeed takes over from what was deployed before: in waves, everybody keeps what they have
// until a wave reaches them, but for a version that was judged bad. What nobody keeps is left
// by and by.
func (d *deployed) succeed(tx *store.Tx, now time.Time, name protocol.WorkflowName) error {
	var was deployed
	if there, err := getJSON(tx, bookDeployments, string(name), &was); err != nil || !there {
		return err
	}
	d.Leaving = was.Leaving
	stay, gone := was.standing()
	if d.Rollout.Phase == "" {
		stay, gone = nil, append(gone, stay...)
	}
	d.stand(stay)
	return d.leaveAll(tx, now, gone)
}

// standing returns the versions that agents have of d, the newest first, and those which none is
// to keep.
func (d *deployed) standing() (stay, gone []*deployed) {
	own := d.bare()
	switch d.Rollout.Phase {
	case "", rollout.Done:
		return []*deployed{&own}, nil
	case rollout.Returned:
		return d.bases(), nil
	case rollout.Running, rollout.Paused:
	}
	if d.Rollout.Stuck {
		return d.bases(), []*deployed{&own}
	}
	own.Held = d.Rollout.Taken
	for i, b := range append([]*deployed{&own}, d.bases()...) {
		forAll := i > 0 && len(b.Held) == 0
		if i > 0 {
			b.Held = slices.DeleteFunc(b.Held, own.holds)
		}
		if forAll || len(b.Held) > 0 {
			stay = append(stay, b)
		} else {
			gone = append(gone, b)
		}
	}
	return stay, gone
}

// stand makes a chain of versions, the newest first, the bases of d. Of too many, the oldest
// whose waves were not done gives its agents to the next newer one.
func (d *deployed) stand(chain []*deployed) {
	open := 0
	for open < len(chain) && len(chain[open].Held) > 0 {
		open++
	}
	for ; open > basesMax; open-- {
		next, last := chain[open-2], chain[open-1]
		next.Held = slices.Concat(next.Held, last.Held)
		slices.Sort(next.Held)
		chain = slices.Delete(chain, open-1, open)
	}
	at := &d.Base
	for _, b := range chain {
		*at, at = b, &b.Base
	}
	*at = nil
}
