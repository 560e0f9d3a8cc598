package edge

import "sync/atomic"

// heldTries is how often on one connection a copy of what the link still has is not sent. A line
// that says nothing for so long is given up before; this is for a link that does not tell.
const heldTries = 4

// handed is what was given to the link last. As long as the link has it, it sends it again by
// itself: on a line that is dead one way, copies of it would pile up there, and all go when the
// line is back.
type handed struct {
	held  *atomic.Bool // the link has it; nil: nothing was given
	tries int
}

// over notes that the link is given something, and returns what it calls when it has it no more.
func (h *handed) over() func() {
	held := new(atomic.Bool)
	held.Store(true)
	*h = handed{held: held}
	return func() { held.Store(false) }
}

// waits reports whether another copy is to wait for the link.
func (h *handed) waits() bool {
	if h.held == nil || !h.held.Load() || h.tries >= heldTries {
		return false
	}
	h.tries++
	return true
}

// again begins to count anew: the line is new.
func (h *handed) again() { h.tries = 0 }
