package sim

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/credentials"
	"github.com/stavily/stavily/edge/gateway/door"
	"github.com/stavily/stavily/edge/mqtt"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/sim/scenario"
	"github.com/stavily/stavily/sim/swarm"
	"github.com/stavily/stavily/sim/wire"
)

// body is what a device has at levels bubble and live besides what every device has: a
// line of bytes, a certificate, and an agent that runs by itself.
type body struct {
	r     *realm
	d     *device
	who   *swarm.Identity
	wires wires

	life    *life       // nil: off
	status  edge.Status // the newest
	expired int         // faults that spoil its certificate
	// unrenewed is why the last try to renew that went wrong did; empty: it went well.
	unrenewed string
	capped    bool // its data plan is used up
}

// life is one start of an agent: its loops and what they reach the world through. It
// outlives its end by a moment, in which it reaches nothing any more.
type life struct {
	b      *body
	agent  *edge.Agent
	inbox  *edge.Inbox
	link   *mqtt.Link
	keeper *credentials.Keeper
	end    context.CancelFunc
	boot   uint64
	dead   bool // guarded by the realm's lock

	door     *door.Door // of a gateway, else nil
	entrance *entrance  // to it
}

func newBody(r *realm, d *device) *body {
	b := &body{r: r, d: d}
	shape := d.group.Link
	for n := range max(1, len(d.line.gates)) {
		what := "wire"
		if n > 0 {
			what = fmt.Sprint("wire ", n)
		}
		rng := newStream(r.w.seed, what, d.id)
		b.wires = append(b.wires, &wire.Line{
			Shape: wire.Shape{
				Latency: shape.Latency.Mean, Jitter: shape.Latency.By, Loss: shape.Loss, Bandwidth: shape.Bandwidth,
			},
			Unit: rng.unit, Count: b.count, Addr: wire.Addr(fmt.Sprintf("10.%d.%d.%d:1", d.id>>16&0xff, d.id>>8&0xff,
				d.id&0xff)),
		})
	}
	return b
}

// start begins the agent's loops. The caller has entered.
func (b *body) start() (*edge.Agent, error) {
	l := &life{b: b, inbox: edge.NewInbox()}
	ctx, end := context.WithCancel(b.r.ctx)
	l.end = end
	if err := l.furnish(); err != nil {
		end()
		return nil, err
	}
	b.life = l
	b.r.all.Go(func() { l.run(ctx) })
	if l.door != nil {
		b.r.all.Go(func() { l.door.Run(ctx, l.entrance) })
	}
	return l.agent, nil
}

// furnish makes link, agent and what a gateway has besides.
func (l *life) furnish() (err error) {
	b, w, d := l.b, l.b.r.w, l.b.d
	l.link, err = mqtt.New(mqtt.Config{
		Address: d.addr, Dial: b.reach(b.linked), OnState: l.state, Log: slog.New(slog.DiscardHandler),
		Will: func(session uint64) []byte { return protocol.MustMarshal(edge.WillOf(l.boot, session)) },
	})
	if err != nil {
		return err
	}
	l.keeper = b.keeper()
	ids := newStream(w.seed, fmt.Sprint("run ids of start ", d.boots), d.id)
	deps := edge.Deps{
		Link: l, Store: l, Plugins: (*room)(l), Random: &ids, Wall: b.wall, Traffic: b.traffic,
		Log: slog.New(slog.DiscardHandler),
	}
	if d.figures() != nil {
		deps.Measure = l.measure
	}
	if d.post != nil {
		if err := l.serve(); err != nil {
			return err
		}
		deps.Link, deps.Gone = l.door, l.door.Gone
	}
	l.agent, err = edge.New(d.config(), deps)
	return err
}

// measure gives the agent the machine's figures.
func (l *life) measure() {
	var values map[string]float64
	l.b.r.w.alone(func() { values = l.b.d.figures() })
	l.inbox.Measured(values)
}

// run boots the agent and lets it live until ctx ends. One whose disk does not answer is
// started again, as a supervisor does.
func (l *life) run(ctx context.Context) {
	if err := l.agent.Boot(time.Now()); err != nil {
		l.b.r.enter()
		defer l.b.r.leave()
		if !l.dead {
			w, d := l.b.r.w, l.b.d
			d.kill()
			w.push(item{at: w.now + int64(restartTime), kind: kindPower, d: d})
		}
		return
	}
	l.boot = l.agent.Presence(true).Boot
	if err := l.link.Listen(protocol.DownFilter(l.b.d.addr), l.hear); err != nil {
		l.b.r.w.alone(func() { l.b.r.w.broken(err) })
		return
	}
	l.b.r.all.Go(func() { _ = l.link.Run(ctx) })
	l.b.r.all.Go(func() { l.keeper.Run(ctx, nil) })
	runner := &edge.Runner{Agent: l.agent, Inbox: l.inbox, Every: 5 * time.Second, After: l.after}
	runner.Run(ctx)
}

// after keeps what the agent says of itself, for those who may not ask it.
func (l *life) after(_ time.Time, a *edge.Agent) {
	status := a.Status()
	l.b.r.enter()
	defer l.b.r.leave()
	if !l.dead {
		l.b.status = status
	}
}

// die ends the agent at once. The caller has entered.
func (b *body) die() {
	if b.life == nil {
		return
	}
	b.life.dead = true
	b.life.end()
	b.life, b.d.line.up = nil, false
	b.wires.Cut()
}

// linked is what the device's link says that it is, and whom it believes, on wire n.
func (b *body) linked(n int) (*tls.Config, error) {
	who, err := b.shown()
	if err != nil {
		return nil, err
	}
	if len(b.d.line.gates) == 0 {
		return who.TLS(""), nil
	}
	b.r.w.alone(func() { b.d.line.at = b.d.line.gates[n] })
	return who.TLS(b.d.addr.Site), nil
}

// bare opens a connection to the hub, without TLS.
func (b *body) bare(ctx context.Context) (net.Conn, error) { return b.way(ctx, 0) }

// wall is the device's wall clock.
func (b *body) wall(steady time.Time) (shown time.Time) {
	b.r.w.alone(func() { shown = b.d.wall(steady) })
	return shown
}

// traffic returns how many bytes the line has carried.
func (b *body) traffic() (n uint64) {
	b.r.w.alone(func() { n = b.d.traffic() })
	return n
}

// count adds bytes to the books and to the data plan. A plan that is used up shuts the
// line until the next one begins.
func (b *body) count(way wire.Way, n int) {
	b.r.enter()
	defer b.r.leave()
	l := &b.d.line
	if way == wire.Up {
		b.d.carried(wayUp, uint64(n))
	} else {
		b.d.carried(wayDown, uint64(n))
	}
	plan := l.shape.Cap
	if plan.Bytes <= 0 || plan.Per <= 0 {
		return
	}
	w := b.r.w
	if now := w.now / int64(plan.Per); now != l.period {
		l.period, l.used = now, 0
	}
	if l.used += int64(n); l.used <= plan.Bytes || b.capped {
		return
	}
	b.capped = true
	b.wires.Shut(1)
	w.do((l.period+1)*int64(plan.Per), func() {
		b.capped = false
		b.wires.Shut(-1)
	})
}

// state is told when the link comes and goes.
func (l *life) state(up bool) {
	l.b.r.enter()
	if !l.dead {
		d, word := l.b.d, "cut"
		if d.line.up = up; up {
			word = "connect"
		}
		l.b.r.w.trace.note(l.b.r.w.now, d, word, nil)
	}
	l.b.r.leave()
	session := edge.SessionOf(l.link.Session())
	if l.door != nil {
		l.door.OnState(up, session)
		return
	}
	l.inbox.Online(up, session)
}

// Send is the link's, with the world looking on.
func (l *life) Send(m protocol.Message) error {
	if err := l.link.Send(m); err != nil {
		return err
	}
	l.b.r.enter()
	defer l.b.r.leave()
	if !l.dead {
		if len(l.b.d.line.gates) == 0 { // else it is the gateway's that tells the hub
			said := parsedOf(m)
			l.b.r.w.tell.heard(&said)
		}
		l.b.r.w.trace.note(l.b.r.w.now, l.b.d, "up", m.Payload)
	}
	return nil
}

// Listen is the link's: an agent listens by its inbox.
func (l *life) Listen(filter string, deliver func(protocol.Message)) error {
	return l.link.Listen(filter, deliver)
}

// hear looks at what the hub says and hands it to the agent.
func (l *life) hear(m protocol.Message) {
	l.b.r.enter()
	if l.dead {
		l.b.r.leave()
		return
	}
	w, d := l.b.r.w, l.b.d
	if _, k, err := protocol.ParseTopic(m.Topic); err == nil {
		m = d.spoilt(k, m)
		if !w.tell.late(d, k, m.Payload) {
			w.tell.said(d, k, m.Payload)
		}
	}
	w.trace.note(w.now, d, "down", m.Payload)
	l.b.r.leave()
	if l.door != nil {
		l.door.Hear(m)
		return
	}
	l.inbox.Message(m)
}

// late reports whether what the hub says is a hint of a revision that came before: a
// broker may tell again what was not acknowledged.
func (t *teller) late(d *device, k protocol.Kind, payload []byte) bool {
	var h protocol.Hint
	return k == protocol.DownHint && protocol.Unmarshal(payload, &h) == nil &&
		(newest{h.Epoch, h.Revision}).below(t.of(d).wanted)
}

// disk runs f on the device's disk, if this is still the device's agent.
func (l *life) disk(f func(k *disk) error) error {
	l.b.r.enter()
	defer l.b.r.leave()
	if l.dead {
		return errPower
	}
	return f(&l.b.d.disk)
}

// Get is the disk's. See edge.Store for this and the rest.
func (l *life) Get(key string) (value []byte, err error) {
	err = l.disk(func(k *disk) error {
		value, err = k.Get(key)
		return err
	})
	return value, err
}

// Scan is the disk's; what it yields was read before.
func (l *life) Scan(prefix, from string, yield func(key string, value []byte) bool) error {
	var all []entry
	err := l.disk(func(k *disk) error {
		return k.Scan(prefix, from, func(key string, value []byte) bool {
			all = append(all, entry{key: key, value: slices.Clone(value)})
			return true
		})
	})
	for i := range all {
		if !yield(all[i].key, all[i].value) {
			break
		}
	}
	return err
}

// Apply is the disk's, and takes as long as the scenario says. The power may go with it.
func (l *life) Apply(changes []edge.Change) error {
	var took time.Duration
	err := l.disk(func(k *disk) error {
		w, d := l.b.r.w, l.b.d
		err := k.Apply(changes)
		if k.dead {
			w.do(w.now, d.kill)
		}
		took = time.Duration(d.busy - w.now)
		return err
	})
	if took > 0 {
		rest(l.b.r.ctx, took)
	}
	return err
}

// Chunks is the disk's.
func (l *life) Chunks(digest protocol.Digest, size int64) (have protocol.Bitmap, whole bool, err error) {
	err = l.disk(func(k *disk) error {
		have, whole, err = k.Chunks(digest, size)
		return err
	})
	return have, whole, err
}

// AddChunk is the disk's.
func (l *life) AddChunk(digest protocol.Digest, index uint32, size int64, data []byte) error {
	return l.disk(func(k *disk) error { return k.AddChunk(digest, index, size, data) })
}

// ReadChunk is the disk's.
func (l *life) ReadChunk(digest protocol.Digest, index uint32) (data []byte, size int64, err error) {
	err = l.disk(func(k *disk) error {
		data, size, err = k.ReadChunk(digest, index)
		return err
	})
	return data, size, err
}

// ReadFile is the disk's.
func (l *life) ReadFile(digest protocol.Digest) (data []byte, err error) {
	err = l.disk(func(k *disk) error {
		data, err = k.ReadFile(digest)
		return err
	})
	return data, err
}

// KeepFiles is the disk's.
func (l *life) KeepFiles(keep []protocol.Digest) error {
	return l.disk(func(k *disk) error { return k.KeepFiles(keep) })
}

// room is a life as the agent's plugins.
type room life

// Start begins a call in the device's room of plugins.
func (p *room) Start(c edge.Call) {
	p.b.r.enter()
	defer p.b.r.leave()
	if !p.dead {
		p.b.d.plugins.Start(c)
	}
}

// Stop ends an instance there.
func (p *room) Stop(name edge.Instance) {
	p.b.r.enter()
	defer p.b.r.leave()
	if !p.dead {
		p.b.d.plugins.Stop(name)
	}
}

// befall lets a fault of the line happen, and reports whether it was one. The caller has
// entered.
func (b *body) befall(of *scenario.Fault, f *faults, rng *stream) (undo func(), was bool) {
	switch of.What {
	case scenario.CertificateEnd:
		b.expired++
		b.wires.Cut()
		return func() { b.expired-- }, true
	case scenario.Storm:
		b.wires.Shut(1)
		f.w.after(of.For+rng.upTo(time.Second), func() { b.wires.Shut(-1) })
		return nil, true
	default:
		return nil, false
	}
}

var (
	_ protocol.Link = (*life)(nil)
	_ edge.Store    = (*life)(nil)
	_ edge.Plugins  = (*room)(nil)
)
