package sim

import "github.com/stavily/stavily/protocol"

// revisionsCheck: revisions only rise: those that an agent holds, over all starts, and
// those that the hub tells it of, except when its books were put back.
type revisionsCheck struct {
	rule
	held map[*device]newest // never walked through
	told map[*device]newest
}

func newRevisionsCheck(w *World) *revisionsCheck {
	return &revisionsCheck{
		rule: rule{w: w, name: "revisions", text: "revisions only rise"},
		held: map[*device]newest{}, told: map[*device]newest{},
	}
}

func (n newest) below(o newest) bool {
	return n.Epoch < o.Epoch || n.Epoch == o.Epoch && n.Revision < o.Revision
}

func (c *revisionsCheck) applied(d *device, facts []fact) {
	for i := range facts {
		if f := &facts[i]; f.kind == factNewest {
			was := c.held[d]
			c.holds(was.below(f.newest), d, "holds revision %d of epoch %d after revision %d of epoch %d",
				f.newest.Revision, f.newest.Epoch, was.Revision, was.Epoch)
			c.held[d] = f.newest
		}
	}
}

func (c *revisionsCheck) said(d *device, k protocol.Kind, payload []byte) {
	if k != protocol.DownHint || len(payload) == 0 {
		return
	}
	var h protocol.Hint
	c.w.decode(payload, &h)
	now, was := newest{h.Epoch, h.Revision}, c.told[d]
	c.holds(!now.below(was), d, "the hub tells of revision %d after revision %d", h.Revision, was.Revision)
	c.told[d] = now
}

func (c *revisionsCheck) restored(int64) { clear(c.told) }

var _ check = (*revisionsCheck)(nil)
