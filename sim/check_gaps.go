package sim

import (
	"fmt"

	"github.com/stavily/stavily/protocol"
)

// gapsCheck: what an agent recorded is let go only when the hub has it, or it is
// counted as dropped.
type gapsCheck struct{ rule }

func newGapsCheck(w *World) *gapsCheck {
	return &gapsCheck{rule{
		w: w, name: "gaps", text: "a record is let go only when the hub has it or it is counted as dropped",
	}}
}

func (c *gapsCheck) applied(d *device, facts []fact) {
	var gone, counted [protocol.LaneEnd]uint64
	var touched [protocol.LaneEnd]bool
	for i := range facts {
		f := &facts[i]
		if f.lane >= protocol.LaneEnd {
			continue
		}
		switch f.kind {
		case factGone:
			touched[f.lane] = true
			if f.mark.After(d.acked[f.lane]) {
				gone[f.lane]++
			}
		case factLane:
			counted[f.lane] += f.account.Dropped - f.before.Dropped
		default:
		}
	}
	for lane := range gone {
		if touched[lane] && !c.ok(gone[lane] <= counted[lane]) {
			c.violated(d, fmt.Sprintf("lane %s let go of %d records that the hub does not have, %d counted",
				protocol.Lane(lane), gone[lane], counted[lane]))
		}
	}
}

var _ check = (*gapsCheck)(nil)
