package sim

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/stavily/stavily/edge/gateway/door"
	"github.com/stavily/stavily/edge/mqtt"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/sim/swarm"
	"github.com/stavily/stavily/sim/wire"
)

// wires are a device's way to its hub, or one to each of its gateways.
type wires []*wire.Line

// Block is that of all of them, as are the rest.
func (all wires) Block(way wire.Way, by int) {
	for _, l := range all {
		l.Block(way, by)
	}
}

// Shut is as wire.Line's.
func (all wires) Shut(by int) {
	for _, l := range all {
		l.Shut(by)
	}
}

// Cut is as wire.Line's.
func (all wires) Cut() {
	for _, l := range all {
		l.Cut()
	}
}

// entrance is where the neighbours of a gateway come in: a listener, and who brings the far
// end of a connection there, which it owns.
type entrance struct {
	net.Listener
	take func(ctx context.Context, far net.Conn) error
}

// indoors is an entrance without a socket.
func indoors() *entrance {
	ln := wire.NewListener()
	return &entrance{ln, func(ctx context.Context, far net.Conn) error {
		err := ln.Hand(ctx, far)
		if err != nil {
			_ = far.Close()
		}
		return err
	}}
}

// outdoors is an entrance on loopback.
func (p *pumps) outdoors() (*entrance, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return &entrance{ln, func(ctx context.Context, far net.Conn) error {
		return p.take(ctx, far, ln.Addr().String())
	}}, nil
}

// serve makes the gateway's part of a life. The caller has entered.
func (l *life) serve() (err error) {
	b := l.b
	if l.entrance, err = b.r.site.entrance(); err != nil {
		return err
	}
	shelf, err := b.d.post.open()
	if err != nil {
		return errors.Join(err, l.entrance.Close())
	}
	l.door, err = door.Open(door.Config{
		Address: b.d.addr, CA: b.who.CA, Own: b.certificate, Hurry: l.keeper.Hurry, Now: time.Now,
		Dial: b.bare, Send: l.carry, Agent: l.inbox, Shelf: shelf,
	})
	if err != nil {
		return errors.Join(err, l.entrance.Close())
	}
	if b.d.post.dark { // now they find out
		b.d.post.dark = false
		b.d.post.lines((*wire.Line).Cut)
		b.d.post.part(-1)
	}
	return nil
}

// certificate is the device's of the moment, faults or not: they are of its line to the hub.
func (b *body) certificate() (out *tls.Certificate) {
	b.r.w.alone(func() { out = &b.who.Cert })
	return out
}

// carry is Send for what a gateway says to the hub, for itself or for a neighbour.
func (l *life) carry(m protocol.Message) error {
	if err := l.link.Send(m); err != nil {
		return err
	}
	l.b.r.enter()
	defer l.b.r.leave()
	if l.dead {
		return nil
	}
	w, said := l.b.r.w, parsedOf(m).uncarried()
	w.uplinks.fetched(l.b.d, &m)
	w.tell.heard(&said)
	w.trace.note(w.now, l.b.d, "up", m.Payload)
	return nil
}

// reach opens a connection with TLS on it: to the hub, or to one of the gateways, in turn.
func (b *body) reach(config func(n int) (*tls.Config, error)) func(ctx context.Context) (net.Conn, error) {
	open := func(ctx context.Context, n int) (net.Conn, error) {
		c, err := config(n)
		if err != nil {
			return nil, err
		}
		return swarm.Secure(ctx, func(ctx context.Context) (net.Conn, error) { return b.way(ctx, n) }, c)
	}
	if len(b.d.line.gates) == 0 {
		return func(ctx context.Context) (net.Conn, error) { return open(ctx, 0) }
	}
	turns := make([]string, len(b.wires))
	for i := range turns {
		turns[i] = strconv.Itoa(i)
	}
	return mqtt.DialInTurn(turns, func(ctx context.Context, turn string) (net.Conn, error) {
		n, _ := strconv.Atoi(turn) // it is one of turns
		return open(ctx, n)
	})
}

// way opens a connection by one of the device's wires.
func (b *body) way(ctx context.Context, n int) (net.Conn, error) {
	near, far, err := b.wires[n].Connect()
	if err != nil {
		return nil, err
	}
	take := b.r.site.take
	if len(b.d.line.gates) > 0 {
		take = b.d.line.gates[n].body.take
	}
	if err := take(ctx, far); err != nil {
		_ = near.Close()
		return nil, err
	}
	return near, nil
}

// take brings the far end of a neighbour's connection to the gateway, and owns it. One without
// power says nothing, not even no.
func (b *body) take(ctx context.Context, far net.Conn) error {
	var to *entrance
	var dark bool
	b.r.w.alone(func() {
		if dark = b.d.post.dark; b.life != nil {
			to = b.life.entrance
		}
	})
	switch {
	case to != nil:
		return to.take(ctx, far)
	case dark:
		return nil
	default:
		_ = far.Close()
		return syscall.ECONNREFUSED
	}
}

// lines calls f for each line of a neighbour to the gateway.
func (p *post) lines(f func(of *wire.Line)) {
	for _, n := range p.neighbours {
		for i, g := range n.line.gates {
			if g == p.d {
				f(n.body.wires[i])
			}
		}
	}
}

// dim lets the neighbours of a gateway whose process ends notice it at once, and of one whose
// power goes as late as they do for any line that falls silent. The caller has entered.
func (p *post) dim() {
	switch {
	case p.d.off == 0:
		p.lines((*wire.Line).Cut)
	case !p.dark:
		p.dark = true
		p.part(1)
	}
}

// part holds all that moves between the gateway and its neighbours, or lets it go.
func (p *post) part(by int) {
	p.lines(func(of *wire.Line) {
		of.Block(wire.Up, by)
		of.Block(wire.Down, by)
	})
}
