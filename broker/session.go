package broker

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/stavily/stavily/protocol"
)

// guarded is the net.Conn that mochi holds, and by which we find the session again.
type guarded struct {
	*guard
	session *session
}

// session is one connection of one agent.
type session struct {
	b      *Broker
	addr   protocol.Address
	cert   *x509.Certificate // nil on a connection inside the process
	guard  *guarded
	budget *budget       // nil for Dial
	ended  chan struct{} // closed when the connection is gone and its Will delivered
	up     atomic.Bool   // CONNACK is out
	lastID atomic.Uint32 // the newest packet identifier that mochi gave

	// Owned by the read loop.
	client *mqtt.Client
	will   *protocol.Message
	asked  uint16 // the agent's packet identifier of the packet in hand
	freed  chan struct{}

	mu      sync.Mutex // guards the fields below
	waiting []*arrival // QoS 1 messages of the agent without PUBACK, oldest first
	timing  bool       // a timer looks after waiting
	queue   []protocol.Message
	pumping bool
}

// arrival is a message of the agent that the hub has not yet kept.
type arrival struct {
	id   uint16
	kept bool
	at   time.Time
}

func newSession(b *Broker, a protocol.Address, conn net.Conn, limited *budget) *session {
	s := &session{b: b, addr: a, budget: limited, ended: make(chan struct{}), freed: make(chan struct{}, 1)}
	if over, ok := conn.(*tls.Conn); ok {
		s.cert = over.ConnectionState().PeerCertificates[0]
	}
	g := newGuard(conn, b.caps, func(_ packetType, err error) {
		b.stats.malformed.Add(1)
		b.deny(a, conn.RemoteAddr(), err)
	})
	s.guard = &guarded{guard: g, session: s}
	return s
}

// claim makes s the session of its agent. A second connection of a live agent is
// refused, so that two machines with one identity cannot take turns; but a line that
// died without a word must not lock its agent out. So the old session is asked to
// show that it lives: it gets a probe, which any MQTT client acknowledges. The new
// connection waits Caps.Challenge at most.
func (b *Broker) claim(s *session) error {
	b.mu.Lock()
	old := b.sessions[s.addr]
	if old == nil {
		b.sessions[s.addr] = s
		b.mu.Unlock()
		return nil
	}
	if b.judging[s.addr] {
		b.mu.Unlock()
		return protocol.Errorf(protocol.CodeRefused, "agent %s: a third connection", s.addr)
	}
	b.judging[s.addr] = true
	b.mu.Unlock()
	lives := old.lives(b.caps.Challenge)
	if !lives {
		old.guard.abort()
		<-old.ended
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.judging, s.addr)
	if lives || b.sessions[s.addr] != nil {
		return protocol.Errorf(protocol.CodeRefused, "agent %s: a second connection while the first lives", s.addr)
	}
	b.stats.takeovers.Add(1)
	b.sessions[s.addr] = s
	return nil
}

// lives reports whether anything comes from the agent within d of a probe.
func (s *session) lives(d time.Duration) bool {
	heard := s.guard.nextHeard()
	if s.up.Load() {
		_ = s.client.WritePacket(packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1},
			TopicName:   protocol.Topic(s.addr, protocol.DownProbe),
			PacketID:    s.freeID(),
			Payload:     protocol.MustMarshal(protocol.Probe{}),
		})
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-heard:
		return true
	case <-s.guard.done:
		return false
	case <-t.C:
		return false
	}
}

// established ends the limits of the time before login.
func (s *session) established() {
	if s.budget != nil {
		s.budget.free.Store(true)
	}
	s.up.Store(true)
	s.kick()
}

// end takes the session out and delivers its Will, unless the agent said DISCONNECT.
func (s *session) end() {
	s.guard.finish()
	defer close(s.ended)
	s.sendWill()
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	if s.b.sessions[s.addr] == s {
		delete(s.b.sessions, s.addr)
	}
}

func (s *session) sendWill() {
	defer s.b.recovered("will", s.addr, nil)
	if s.up.Load() && s.will != nil && !s.guard.left {
		s.b.hear(*s.will)
	}
}

// freeID returns a packet identifier that mochi does not use and will not soon.
func (s *session) freeID() uint16 {
	id := uint16(s.lastID.Load() + 1<<15)
	for {
		if _, used := s.client.State.Inflight.Get(id); id != 0 && !used {
			return id
		}
		id++
	}
}

// receive hands one message of the agent to the hub and remembers to acknowledge it.
// It waits, and so holds the agent back, while too many are not yet kept.
func (s *session) receive(m protocol.Message, ack bool) {
	if !ack {
		s.deliver(m)
		return
	}
	a := s.arrive()
	if a == nil {
		return
	}
	m.Ack = sync.OnceFunc(func() { s.keep(a) })
	s.deliver(m)
}

func (s *session) deliver(m protocol.Message) {
	if m.Topic == protocol.Topic(s.addr, protocol.UpProbe) {
		s.echo(m)
		return
	}
	s.b.hear(m)
}

// echo sends a probe back along the whole path (F6): subscription, routing, line. It
// has QoS 0, so that it passes by messages that the agent is slow to keep.
func (s *session) echo(m protocol.Message) {
	m.Done()
	_ = s.b.server.Publish(protocol.Topic(s.addr, protocol.DownProbe), m.Payload, false, 0)
}

// arrive enters a message into waiting. Nil: the connection has ended.
func (s *session) arrive() *arrival {
	a := &arrival{id: s.asked, at: time.Now()}
	for {
		s.mu.Lock()
		if len(s.waiting) < s.b.caps.Inflight {
			s.waiting = append(s.waiting, a)
			if !s.timing {
				s.timing = true
				time.AfterFunc(s.b.caps.AckDeadline, s.checkKept)
			}
			s.mu.Unlock()
			return a
		}
		s.mu.Unlock()
		select {
		case <-s.freed:
		case <-s.guard.done:
			return nil
		}
	}
}

// keep sends the PUBACK of a, and of what came after it and was kept before it: MQTT
// wants them in order (F5).
func (s *session) keep(a *arrival) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.kept = true
	n := 0
	var acks []byte
	for n < len(s.waiting) && s.waiting[n].kept {
		acks = append(acks, byte(typePuback)<<4, 2)
		acks = binary.BigEndian.AppendUint16(acks, s.waiting[n].id)
		n++
	}
	if n == 0 {
		return
	}
	s.waiting = append(s.waiting[:0], s.waiting[n:]...)
	_, _ = s.guard.Write(acks) // a closed line: the agent sends again
	select {
	case s.freed <- struct{}{}:
	default:
	}
}

// checkKept cuts the line when the hub has not kept a message in time: the agent gets
// no PUBACK and will send it again.
func (s *session) checkKept() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		s.timing = false
		return
	}
	left := s.b.caps.AckDeadline - time.Since(s.waiting[0].at)
	if left > 0 {
		time.AfterFunc(left, s.checkKept)
		return
	}
	s.b.stats.unkept.Add(1)
	s.guard.abort()
}

// push takes a message to the agent into the queue.
func (s *session) push(m protocol.Message) error {
	if !s.up.Load() || !s.listens(m.Topic) {
		return protocol.Errorf(protocol.CodeUnavailable, "send %q: agent not listening", m.Topic)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) >= s.b.caps.Queue {
		return protocol.Errorf(protocol.CodeUnavailable, "send %q: %d messages wait, limit %d",
			m.Topic, len(s.queue), s.b.caps.Queue)
	}
	s.queue = append(s.queue, m)
	s.start()
	return nil
}

// listens says whether the agent has asked for topic. mochi would drop the message in
// silence.
func (s *session) listens(topic string) bool {
	if _, ok := s.client.State.Subscriptions.Get(protocol.DownFilter(s.addr)); ok {
		return true
	}
	_, ok := s.client.State.Subscriptions.Get(topic)
	return ok
}

// kick looks whether more may be sent.
func (s *session) kick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.start()
}

// start runs pump when there is something to do. The caller holds mu.
func (s *session) start() {
	if s.pumping || !s.mayPump() {
		return
	}
	s.pumping = true
	go s.pump()
}

// mayPump says whether there is a message and room in flight for it. The room is kept
// here because mochi drops what it has no room for. The caller holds mu.
func (s *session) mayPump() bool {
	return len(s.queue) > 0 && s.up.Load() && s.client.State.Inflight.Len() < s.b.caps.Inflight
}

// pump gives the queue to mochi, message by message.
func (s *session) pump() {
	defer s.b.recovered("pump", s.addr, s.guard.guard)
	for {
		s.mu.Lock()
		if !s.mayPump() {
			s.pumping = false
			s.mu.Unlock()
			return
		}
		m := s.queue[0]
		s.queue[0] = protocol.Message{}
		if s.queue = s.queue[1:]; len(s.queue) == 0 {
			s.queue = nil
		}
		s.mu.Unlock()
		s.b.stats.sent.Add(1)
		_ = s.b.server.Publish(m.Topic, m.Payload, false, 1) // it cannot fail: the topic was checked
	}
}
