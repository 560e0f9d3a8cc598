package sim

import (
	"context"
	"crypto/sha256"
	"net/http"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/sim/scenario"
)

// keyLife is how long the certificates are good that agents would have at level model.
const keyLife = 10 * 365 * 24 * time.Hour

// key is what stands for the digest of the device's key at level model.
func (d *device) key() []byte {
	sum := sha256.Sum256([]byte("key of " + d.addr.String()))
	return sum[:]
}

// retire has the operator remove agents from the fleet. The devices run on: they are stolen,
// say, and what they have they have.
func (w *World) retire(of *scenario.Deploy) {
	draw := newStream(w.seed, "retire", of.Index)
	for _, i := range w.scenario.Select(of.Where, draw.below) {
		d := w.devices[i]
		w.trace.note(w.now, d, "retire", nil)
		if w.real != nil {
			w.real.retire(d)
			continue
		}
		w.hub.operate(func() error {
			if d.retired {
				return nil
			}
			_, err := w.hub.hub.Remove(w.time(), d.addr.Agent)
			d.retires()
			return err
		})
	}
}

// retire asks a real hub for it. The caller has entered.
func (r *realm) retire(d *device) {
	path := api.Path(api.PathAgent, string(d.addr.Agent))
	r.asked("retire "+string(d.addr.Agent), func(context.Context) error {
		err := r.do(http.MethodDelete, path, nil, nil)
		if err == nil {
			r.w.alone(d.retires)
		}
		return err
	})
}

// retires notes that the device is no part of the fleet any more. At level model there are no
// certificates: the hub's end of its line refuses it from now on, and gateways as they hear of it.
func (d *device) retires() {
	d.retired, d.retiredAt = true, d.w.now
	if d.body == nil && len(d.line.gates) == 0 {
		d.line.bar(1)
	}
}

// returns is the opposite: the hub has forgotten.
func (d *device) returns() {
	d.retired = false
	if d.body == nil && len(d.line.gates) == 0 {
		d.line.bar(-1)
	}
}

// turnAway takes whom the hub says that a gateway lets in no more, in place of whom it took
// before, and ends the lines of those who are there.
func (p *post) turnAway(all []protocol.Gone) {
	p.gone = make(map[protocol.Gone]bool, len(all))
	for _, g := range all {
		p.gone[g] = true
	}
	p.d.w.after(0, func() { // not from within the agent that says so
		for _, n := range p.neighbours {
			if n.line.up && n.line.at == p.d && !p.lets(n) {
				n.line.cut("refused")
			}
		}
	})
}

// lets reports whether the gateway lets a neighbour in.
func (p *post) lets(n *device) bool {
	return !p.gone[protocol.Gone{Agent: n.addr.Agent, Key: protocol.Digest(n.key())}]
}
