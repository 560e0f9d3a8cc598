package sim

import "time"

// floorSlack is how far ahead of everything that was ever true a floor may be: rounding.
const floorSlack = time.Second

// timeCheck: no agent believes a time that has not come. What a device's own clock showed
// at any time may be believed, since its own records prove it.
type timeCheck struct {
	rule
	ahead perDevice[time.Duration] // the most that its clock was ever ahead
}

func newTimeCheck(w *World) *timeCheck {
	return &timeCheck{
		rule: rule{
			w: w, name: "time", text: "no agent believes a time that neither came nor stood on its own clock",
		},
	}
}

// applied is when an agent writes, and so when its clock may have gone into a record.
func (c *timeCheck) applied(d *device, _ []fact) {
	if d.clock.true() {
		return
	}
	most := c.ahead.of(d)
	*most = max(*most, d.wall(d.now()).Sub(c.w.time()))
}

func (c *timeCheck) ended() {
	for _, d := range c.w.devices {
		if d.agent == nil {
			continue
		}
		floor, latest := d.status().Floor, c.w.time().Add(*c.ahead.of(d)+floorSlack)
		c.holds(!floor.After(latest), d, "believes that it is %s at least; it is %s, its clock showed %s at most",
			floor.UTC().Format(time.RFC3339), c.w.time().Format(time.RFC3339), latest.Format(time.RFC3339))
	}
}

var _ check = (*timeCheck)(nil)
