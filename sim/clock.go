package sim

import "time"

// clock is what a device knows of the time: a steady one that only drifts, by which an
// agent waits, and the wall clock over it, which may jump or never have been set.
type clock struct {
	start  time.Time // the world's
	drift  float64   // seconds gained in each second
	offset time.Duration
	none   bool // no battery: each start begins at 1970
}

// steady returns the device's steady time at a moment of the world.
func (c *clock) steady(world int64) time.Time {
	if c.drift != 0 {
		world += int64(float64(world) * c.drift)
	}
	return c.start.Add(time.Duration(world))
}

// world returns the moment of the world at which the steady time is t, at the earliest.
func (c *clock) world(t time.Time) int64 {
	ns := int64(t.Sub(c.start))
	if c.drift == 0 {
		return ns
	}
	w := int64(float64(ns) / (1 + c.drift))
	for c.steady(w).Before(t) {
		w += 1 + int64(t.Sub(c.steady(w)))
	}
	return w
}

// wall returns what the device's wall clock shows at a steady time.
func (c *clock) wall(steady time.Time) time.Time { return steady.Add(c.offset) }

// true reports whether the wall clock shows what the world's does.
func (c *clock) true() bool { return c.drift == 0 && c.offset == 0 }

// boot sets the wall clock of a device that has no battery.
func (c *clock) boot(world int64) {
	if c.none {
		c.offset = time.Unix(0, 0).Sub(c.steady(world))
	}
}
