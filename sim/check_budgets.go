package sim

import (
	"fmt"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// budgetsCheck: budgets hold: the bytes of each lane, and the runs that wait. What an
// agent believes of a lane is what is on its disk.
type budgetsCheck struct {
	rule
	limits  edge.Config
	lanes   perDevice[[protocol.LaneEnd]account]
	runsMax int
}

func newBudgetsCheck(w *World) *budgetsCheck {
	c := edge.DefaultConfig()
	return &budgetsCheck{
		rule: rule{
			w: w, name: "budgets", text: "the bytes of each lane and the runs that wait stay within their bounds",
		},
		limits:  c,
		runsMax: (c.RunsMax + protocol.EventsMax) * max(1, len(w.scenario.Deploys)),
	}
}

func (c *budgetsCheck) applied(d *device, facts []fact) {
	lanes := c.lanes.of(d)
	for i := range facts {
		f := &facts[i]
		if f.lane >= protocol.LaneEnd {
			continue
		}
		l := &lanes[f.lane]
		switch f.kind {
		case factEvent, factResult:
			l.Count++
			l.Bytes += f.size
		case factGone:
			l.Count--
			l.Bytes -= f.size
		case 0: // a record of another lane
			l.Count++
			l.Bytes += f.size
		default:
		}
	}
	for i := range facts {
		if f := &facts[i]; f.kind == factLane && f.lane < protocol.LaneEnd {
			c.lane(d, f, &lanes[f.lane])
		}
	}
	if n := len(d.open); !c.ok(n <= c.runsMax) {
		c.violated(d, fmt.Sprintf("%d runs wait, at most %d", n, c.runsMax))
	}
}

func (c *budgetsCheck) lane(d *device, f *fact, on *account) {
	if most := d.laneBytes(f.lane, c.limits.LaneBytes[f.lane]); !c.ok(f.account.Bytes <= most) {
		c.violated(d, fmt.Sprintf("lane %s has %d bytes, its budget is %d", f.lane, f.account.Bytes, most))
	}
	if a := &f.account; !c.ok(a.Count == on.Count && a.Bytes == on.Bytes) {
		c.violated(d, fmt.Sprintf("lane %s is believed to have %d records of %d bytes, the disk has %d of %d",
			f.lane, a.Count, a.Bytes, on.Count, on.Bytes))
	}
}

var _ check = (*budgetsCheck)(nil)
