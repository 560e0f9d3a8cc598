package sim

import "github.com/stavily/stavily/protocol"

// keptCheck: each record is at the hub exactly once. What agents recorded is counted lane by
// lane as it reaches their disks, and in the end held against what the hub's books count by
// (agent, boot, sequence): no more, whatever came twice; and no less than what is neither on a
// disk still nor was dropped. A hub whose books were put back has lost what came since, so then
// it may be less. Level model only: at the others the books are the hub's own.
type keptCheck struct {
	rule
	lanes perDevice[*[protocol.LaneEnd]keptLane] // nil: nothing is known
	back  bool                                   // the books were put back
}

// keptLane counts the records of one lane.
type keptLane struct {
	made    int64 // that came to the disk
	dropped int64 // that were let go before the hub had them, or never reached the disk
}

func newKeptCheck(w *World) *keptCheck {
	return &keptCheck{
		rule: rule{
			w: w, name: "kept", text: "each record is at the hub exactly once, on its disk or counted as dropped",
		},
	}
}

func (c *keptCheck) applied(d *device, facts []fact) {
	lanes := *c.lanes.of(d)
	if lanes == nil {
		lanes = &[protocol.LaneEnd]keptLane{}
		*c.lanes.of(d) = lanes
	}
	for i := range facts {
		f := &facts[i]
		if f.lane == 0 || f.lane >= protocol.LaneEnd {
			continue
		}
		switch f.kind {
		case factEvent, factResult, 0:
			lanes[f.lane].made++
		case factLane: // what is dropped is told to the hub, which then moves its mark past it
			lanes[f.lane].dropped += int64(f.account.Dropped - f.before.Dropped)
		default:
		}
	}
}

func (c *keptCheck) restored(int64) { c.back = true }

func (c *keptCheck) ended() {
	if c.w.real != nil || c.w.hub.hub == nil {
		return
	}
	all, err := c.w.hub.hub.Lanes()
	if err != nil {
		c.w.broken(err)
		return
	}
	has := map[*device]*[protocol.LaneEnd]int64{} // looked up only
	for i := range all {
		l := &all[i]
		d := c.w.byName[string(l.Agent)]
		if d == nil || l.Epoch != d.epoch || l.Lane >= protocol.LaneEnd {
			continue
		}
		if has[d] == nil {
			has[d] = &[protocol.LaneEnd]int64{}
		}
		has[d][l.Lane] = l.Stored + l.Refused
	}
	for _, d := range c.w.devices {
		if made := *c.lanes.of(d); made != nil && !d.retired {
			c.compare(d, made, has[d])
		}
	}
}

// compare holds what the hub has of one agent against what the agent made.
func (c *keptCheck) compare(d *device, made *[protocol.LaneEnd]keptLane, has *[protocol.LaneEnd]int64) {
	if has == nil {
		has = &[protocol.LaneEnd]int64{}
	}
	for of := protocol.LaneEvent; of < protocol.LaneEnd; of++ {
		waiting := int64(0)
		for _, r := range d.disk.shelf(of).live() {
			if r.mark.After(d.acked[of]) {
				waiting++
			}
		}
		m, n := made[of], has[of]
		c.holds(n <= m.made, d, "lane %s: the hub counts %d records, %d were made", of, n, m.made)
		c.holds(c.back || n >= m.made-m.dropped-waiting, d,
			"lane %s: the hub counts %d records of %d, %d were dropped and %d wait", of, n, m.made, m.dropped, waiting)
	}
}

var _ check = (*keptCheck)(nil)
