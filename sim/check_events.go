package sim

import "fmt"

// eventsCheck: every fired event ends in a result. An event and its run reach the disk
// in one change, and a run leaves it only with the result that ends it: so none is lost
// between, whenever the power goes. That what was recorded reaches the hub or is
// counted is for gapsCheck.
type eventsCheck struct{ rule }

func newEventsCheck(w *World) *eventsCheck {
	return &eventsCheck{rule{w: w, name: "events", text: "every fired event ends in a result or a counted drop"}}
}

func (c *eventsCheck) applied(d *device, facts []fact) {
	for i := range facts {
		switch f := &facts[i]; f.kind {
		case factEvent:
			ok := some(facts, func(g *fact) bool {
				return g.id == f.id && (g.kind == factRun || g.kind == factResult && g.last)
			})
			if !c.ok(ok) {
				c.violated(d, fmt.Sprintf("event of run %s was recorded without its run", f.id))
			}
		case factRunGone:
			ok := some(facts, func(g *fact) bool {
				return g.id == f.id && g.kind == factResult && g.last
			})
			if !c.ok(ok) {
				c.violated(d, fmt.Sprintf("run %s was forgotten without a last result", f.id))
			}
		case factRun:
			ok := !f.fresh || some(facts, func(g *fact) bool {
				return g.id == f.id && g.kind == factEvent
			})
			if !c.ok(ok) {
				c.violated(d, fmt.Sprintf("run %s began without its event", f.id))
			}
		default:
		}
	}
}

// some reports whether one of the facts, which are large, is such a one.
func some(facts []fact, is func(*fact) bool) bool {
	for i := range facts {
		if is(&facts[i]) {
			return true
		}
	}
	return false
}

var _ check = (*eventsCheck)(nil)
