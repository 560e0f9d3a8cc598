package sim

import (
	"math"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/sim/scenario"
)

const (
	// flightsMax bounds the messages of one direction that are sent and not acknowledged.
	flightsMax = 256
	// headBytes is what a message costs on the wire besides topic and payload, and
	// packetBytes what each packet costs.
	headBytes, packetBytes = 8, 40
	packetMax              = 1400
	// keepalive is how long a silent line is believed, and willAfter when the broker tells
	// what a lost line left behind.
	keepalive, willAfter = 75 * time.Second, 90 * time.Second
	// retransmit is how long a lost packet holds up a line at first, and lossesMax how many
	// losses in a row end it. One loss in lossCut ends it at once: a modem that hangs up.
	retransmit = 200 * time.Millisecond
	lossesMax  = 6
	lossCut    = 0.05
	// backoffMax bounds the pause before a line tries to come up again.
	backoffMax = 2 * time.Minute
)

// way is a direction of a line.
type way uint8

const (
	wayUp way = iota
	wayDown
)

// line is what connects one agent with the hub. Messages keep their order until the
// line is lost; those that were not acknowledged come again with the next connection.
// It is the agent's protocol.Link.
type line struct {
	w     *World
	d     *device
	shape scenario.Link
	rng   stream

	up      bool
	gen     uint64 // counts connections and their ends
	tries   uint64 // counts plans to connect: only the last one counts
	downFor int    // connections that were lost or failed since one held
	flows   [2]flow
	blocked [2]int // partitions that hold a direction
	barred  int    // faults that have the hub refuse it
	shut    bool   // outside of the times in which there is a line
	used    int64  // bytes of the plan's period
	period  int64  // that used is of

	gates []*device // by whom alone the line leads to the hub; none: by itself
	at    *device   // the gateway that it has led to last; nil: none of them yet, or the hub
	life  uint64    // of that gateway's starts
	since int64     // when it came up
	// sessions are what other gateways still have for the agent; never walked through.
	sessions map[*device]flow

	hearers  []hearer
	retained *protocol.Message
	will     []byte
}

type hearer struct {
	filter  string
	deliver func(protocol.Message)
}

// flow is one direction of a line.
type flow struct {
	flying []*flight // not acknowledged, oldest first
	free   int64     // when the wire is
	last   int64     // arrival of the last message
	due    bool      // an arrival is in the queue
}

// flight is a message on its way.
type flight struct {
	m         protocol.Message
	only      *hearer // a retained message goes to the one who asked
	arrives   int64
	delivered bool
	stalled   bool
	acked     bool
	ackedAt   int64
}

// Send puts a message on its way up.
func (l *line) Send(m protocol.Message) error {
	p := parsedOf(m)
	if err := sendable(l.d.addr, &p, true); err != nil {
		return err
	}
	if !l.up || l.d.disk.dead {
		return protocol.Errorf(protocol.CodeUnavailable, "send %q: the line is down", m.Topic)
	}
	return l.send(wayUp, &flight{m: m})
}

// Listen asks for messages at the agent's end.
func (l *line) Listen(filter string, deliver func(protocol.Message)) error {
	l.hearers = append(l.hearers, hearer{filter, deliver})
	if l.retained == nil || !protocol.Match(filter, l.retained.Topic) || !l.up {
		return nil
	}
	h := l.hearers[len(l.hearers)-1]
	return l.send(wayDown, &flight{m: *l.retained, only: &h})
}

// sendable holds a message against the bounds and rules that every link has.
func sendable(a protocol.Address, m *parsed, up bool) error {
	if len(m.Payload) > protocol.MessageMax || len(m.Topic) > protocol.TopicMax {
		return protocol.Errorf(protocol.CodeLimit, "send: topic of %d bytes, payload of %d: limits %d and %d",
			len(m.Topic), len(m.Payload), protocol.TopicMax, protocol.MessageMax)
	}
	if m.kind == "" || m.of != a || m.kind.Up() != up || m.Retained && !protocol.MayRetain(m.kind) {
		return protocol.Errorf(protocol.CodeRefused, "send %q: not to be sent so", m.Topic)
	}
	return nil
}

// down takes a message of the hub for the line's agent.
func (l *line) down(p *parsed) error {
	if err := sendable(l.d.addr, p, false); err != nil {
		return err
	}
	m := p.Message
	if m.Retained {
		kept := m
		l.retained = &kept
		if len(m.Payload) == 0 {
			l.retained = nil
			return nil
		}
		m.Retained = false // it is news to who listens already
	}
	if !l.up {
		if m.Retained = l.retained != nil && l.retained.Topic == m.Topic; m.Retained {
			return nil
		}
		return protocol.Errorf(protocol.CodeUnavailable, "send %q: agent not connected", m.Topic)
	}
	return l.send(wayDown, &flight{m: m})
}

func (l *line) send(dir way, f *flight) error {
	q := &l.flows[dir]
	q.settle(l.w.now)
	if len(q.flying) >= flightsMax {
		return protocol.Errorf(protocol.CodeUnavailable, "send %q: %d messages wait", f.m.Topic, len(q.flying))
	}
	q.flying = append(q.flying, f)
	l.depart(dir, f)
	l.pump(dir)
	return nil
}

// settle lets go of what was acknowledged from the head on.
func (q *flow) settle(now int64) {
	n := 0
	for n < len(q.flying) && q.flying[n].acked && q.flying[n].ackedAt <= now {
		n++
	}
	if n > 0 {
		rest := copy(q.flying, q.flying[n:])
		clear(q.flying[rest:])
		q.flying = q.flying[:rest]
	}
}

// depart reckons when a message arrives.
func (l *line) depart(dir way, f *flight) {
	q, size := &l.flows[dir], l.cost(&f.m)
	if l.held(dir) {
		f.stalled = true // it departs again
		return
	}
	f.stalled = false
	l.count(dir, size)
	leaves := max(l.w.now, q.free)
	if l.shape.Bandwidth > 0 {
		leaves += int64(float64(size) / l.shape.Bandwidth * float64(time.Second))
	}
	q.free = leaves
	arrives := leaves + int64(l.rng.spread(l.shape.Latency)) + l.losses(size)
	q.last = max(q.last, arrives)
	f.arrives = q.last
}

// losses draws how long lost packets hold a message up; perhaps the line is lost too.
func (l *line) losses(size int) int64 {
	if l.shape.Loss <= 0 {
		return 0
	}
	p := 1 - math.Pow(1-l.shape.Loss, float64(1+size/packetMax))
	pause, all := max(retransmit, 2*l.shape.Latency.Mean), time.Duration(0)
	for n := 0; l.rng.chance(p); n++ {
		if n >= lossesMax || l.rng.chance(lossCut) {
			gen := l.gen
			l.w.after(all, func() {
				if l.gen == gen {
					l.cut("loss")
				}
			})
			return int64(keepalive)
		}
		all += pause
		pause *= 2
	}
	return int64(all)
}

func (l *line) cost(m *protocol.Message) int {
	size := len(m.Topic) + len(m.Payload) + headBytes
	mtu := packetMax
	if l.shape.MTU > packetBytes {
		mtu = l.shape.MTU
	}
	return size + packetBytes*(1+size/mtu)
}

// count adds bytes to the books and to the data plan.
func (l *line) count(dir way, size int) {
	l.d.carried(dir, uint64(size))
	plan := l.shape.Cap
	if plan.Bytes <= 0 || plan.Per <= 0 {
		return
	}
	if now := l.w.now / int64(plan.Per); now != l.period {
		l.period, l.used = now, 0
	}
	if l.used += int64(size); l.used > plan.Bytes && l.up {
		gen := l.gen
		l.w.after(0, func() {
			if l.gen == gen {
				l.cut("data plan used up")
			}
		})
		l.retryAt((l.period+1)*int64(plan.Per) + int64(l.rng.upTo(time.Minute)))
	}
}

// pump has the next message of a direction arrive when it is due.
func (l *line) pump(dir way) {
	q := &l.flows[dir]
	if q.due || !l.up {
		return
	}
	f := q.next()
	if f == nil || f.stalled {
		return
	}
	q.due = true
	l.w.push(item{at: max(f.arrives, l.w.now), kind: kindArrive, d: l.d, n: l.gen<<1 | uint64(dir)})
}

// next returns the first message that has not been delivered, nil for none.
func (q *flow) next() *flight {
	for _, f := range q.flying {
		if !f.delivered {
			return f
		}
	}
	return nil
}

// arrive delivers what is due in a direction of the connection gen.
func (l *line) arrive(n uint64) {
	dir := way(n & 1)
	if n>>1 != l.gen || !l.up {
		return
	}
	if l.severed() {
		return // whoever was there, or the way there, is gone
	}
	if dir == wayDown && l.d.busy > l.w.now { // its disk is at work
		l.w.push(item{at: l.d.busy, kind: kindArrive, d: l.d, n: n})
		return
	}
	q := &l.flows[dir]
	q.due = false
	if f := q.next(); f != nil && !f.stalled {
		f.delivered = true
		l.w.trace.note(l.w.now, l.d, wayNames[dir], f.m.Payload)
		l.deliver(dir, f)
		if l.rng.chance(l.shape.Duplicate) {
			twin := &flight{m: f.m, only: f.only}
			twin.m.Ack = nil
			l.deliver(dir, twin)
		}
	}
	l.pump(dir)
}

var wayNames = [2]string{"up", "down"}

// deliver hands a message to all who listen. It is acknowledged when each has done so.
func (l *line) deliver(dir way, f *flight) {
	done := func() {
		f.acked, f.ackedAt = true, l.w.now+int64(l.shape.Latency.Mean)
		f.m.Done()
	}
	all := l.hearers
	if dir == wayUp {
		all = l.far()
	}
	one := f.only
	if one == nil && len(all) == 1 && protocol.Match(all[0].filter, f.m.Topic) {
		one = &all[0]
	}
	if one == nil {
		l.spread(all, f.m, done)
		return
	}
	m := f.m
	m.Ack = done
	one.deliver(m)
}

// spread hands m to all of whom a filter matches it.
func (l *line) spread(all []hearer, m protocol.Message, done func()) {
	left := 0
	for i := range all {
		if protocol.Match(all[i].filter, m.Topic) {
			left++
		}
	}
	switch left {
	case 0:
		done()
		return
	case 1:
		m.Ack = done
	default:
		m.Ack = func() {
			if left--; left == 0 {
				done()
			}
		}
	}
	for i := range all {
		if protocol.Match(all[i].filter, m.Topic) {
			all[i].deliver(m)
		}
	}
}

var _ protocol.Link = (*line)(nil)
