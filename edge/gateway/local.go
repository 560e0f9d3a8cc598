package gateway

import (
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/stavily/stavily/protocol"
)

// What one agent may say to the whole site: localBurst messages at once, then localPerSecond.
// It is what four plugins may publish; each message goes to every neighbour.
const (
	localBurst     = 128
	localPerSecond = 32
)

// local passes on what a plugin of one agent says to all others of the site that are connected
// now. Who does not take it goes without: it is not kept anywhere.
func (r *Relay) local(now time.Time, from protocol.Address, payload []byte) error {
	var l protocol.Local
	if err := protocol.Unmarshal(payload, &l); err != nil {
		return err
	}
	if err := l.Check(); err != nil {
		return err
	}
	if r.locals[from] == nil {
		r.locals[from] = rate.NewLimiter(localPerSecond, localBurst)
	}
	if !r.locals[from].AllowN(now, 1) {
		return protocol.Errorf(protocol.CodeLimit, "local messages of %s: more than %d a second", from,
			localPerSecond)
	}
	r.count.Local++
	for _, a := range r.all() {
		if a != from && r.give(a, protocol.DownLocal, payload) != nil {
			r.count.Dropped++
		}
	}
	return nil
}

// all returns the neighbours that are connected, and the gateway itself.
func (r *Relay) all() []protocol.Address {
	return slices.Concat(r.cfg.Site.Connected(), []protocol.Address{r.cfg.Address})
}

// silent forgets the rates of those who have gone.
func (r *Relay) silent() {
	if len(r.locals) == 0 {
		return
	}
	here := r.all()
	for a := range r.locals { // each alone: order does not matter
		if !slices.Contains(here, a) {
			delete(r.locals, a)
		}
	}
}
