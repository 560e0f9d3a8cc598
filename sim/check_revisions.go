package sim

import "github.com/stavily/stavily/protocol"

// revisionsCheck: revisions only rise: those that an agent holds, over all starts, and
// those that the hub tells it of, except when its books were put back.
type revisionsCheck struct {
	rule
	held map[*device]holding // never walked through
	told map[*device]newest
}

// holding is what an agent held last.
type holding struct {
	newest
	digest protocol.Digest
}

func newRevisionsCheck(w *World) *revisionsCheck {
	return &revisionsCheck{
		rule: rule{w: w, name: "revisions", text: "revisions only rise"},
		held: map[*device]holding{}, told: map[*device]newest{},
	}
}

func (n newest) below(o newest) bool {
	return n.Epoch < o.Epoch || n.Epoch == o.Epoch && n.Revision < o.Revision
}

func (c *revisionsCheck) applied(d *device, facts []fact) {
	if !some(facts, func(f *fact) bool { return f.kind == factNewest || f.kind == factCurrent }) {
		return
	}
	now := c.held[d]
	was := now
	for i := range facts {
		switch f := &facts[i]; f.kind {
		case factNewest:
			now.newest = f.newest
		case factCurrent:
			now.digest = f.digest
		default:
		}
	}
	if now == was {
		return
	}
	c.holds(was.below(now.newest), d,
		"holds revision %d of epoch %d (%s) after revision %d of epoch %d (%s)", now.Revision, now.Epoch,
		now.digest.Short(), was.Revision, was.Epoch, was.digest.Short())
	c.held[d] = now
}

func (c *revisionsCheck) said(d *device, k protocol.Kind, payload []byte) {
	if k != protocol.DownHint || len(payload) == 0 {
		return
	}
	now, was := c.w.newest(payload), c.told[d]
	c.holds(!now.below(was), d, "the hub tells of revision %d after revision %d", now.Revision, was.Revision)
	c.told[d] = now
}

func (c *revisionsCheck) restored(int64) { clear(c.told) }

var _ check = (*revisionsCheck)(nil)
