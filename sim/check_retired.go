package sim

import "github.com/stavily/stavily/protocol"

// retiredCheck: who was removed from the fleet is told nothing any more, and once the faults
// are over nobody lets it in: neither the hub nor a gateway.
type retiredCheck struct{ rule }

func newRetiredCheck(w *World) *retiredCheck {
	return &retiredCheck{rule{
		w: w, name: "retired",
		text: "nobody tells anything to an agent that was removed, or lets it in",
	}}
}

func (c *retiredCheck) said(d *device, k protocol.Kind, payload []byte) {
	if d.retired && len(payload) > 0 { // an empty hint takes back the one that the broker keeps
		c.holds(false, d, "the hub told it %s, %d bytes", k, len(payload))
	}
}

// restored: books that are older than a removal know nothing of it. The agent is one of the
// fleet again, until somebody removes it once more.
func (c *retiredCheck) restored(at int64) {
	for _, d := range c.w.devices {
		if d.retired && d.retiredAt > at {
			d.returns()
		}
	}
}

func (c *retiredCheck) ended() {
	for _, d := range c.w.devices {
		if d.retired {
			c.holds(!d.line.up, d, "it is connected, though it was removed")
		}
	}
}

var _ check = (*retiredCheck)(nil)
