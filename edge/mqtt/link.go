// Package mqtt is an agent's link to its hub: MQTT 3.1.1 over TLS or any net.Conn.
//
// The packets are paho's; what is said with them is here. link.go has what callers use,
// run.go one connection after the other, connection.go what an agent says on one and
// read.go what it hears, queue.go what has no PUBACK yet, line.go the net.Conn below. See
// RATIONALE.md, Why are only paho's packets used?
package mqtt

import (
	"sync"
	"sync/atomic"

	"github.com/stavily/stavily/protocol"
)

// Link is a protocol.Link of one agent. Make it by New and let Run run.
type Link struct {
	cfg   Config
	queue queue
	asked chan struct{} // Listen was called; holds one

	session atomic.Uint64 // connections tried
	one     sync.Mutex    // held while a deliver runs: one message at a time

	mu        sync.Mutex // guards the fields below
	listeners []listener
	current   *connection // nil while the link is down
}

type listener struct {
	filter  string
	deliver func(protocol.Message)
}

// New returns a link that is down until Run runs.
func New(cfg Config) (*Link, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	l := &Link{cfg: cfg, asked: make(chan struct{}, 1)}
	l.queue.init(cfg.QueueMax, cfg.QueueBytes)
	return l, nil
}

// Send puts m into the queue; it stays there until the hub's PUBACK and is sent again
// on a new connection. See protocol.Link for the results; CodeRefused is for a topic
// that the agent may not send to, or one that may not be retained.
func (l *Link) Send(m protocol.Message) error {
	if len(m.Payload) > protocol.MessageMax {
		return protocol.Errorf(protocol.CodeLimit, "send %q: %d bytes, MessageMax is %d",
			m.Topic, len(m.Payload), protocol.MessageMax)
	}
	if len(m.Topic) > protocol.TopicMax {
		return protocol.Errorf(protocol.CodeLimit, "send: topic of %d bytes, TopicMax is %d",
			len(m.Topic), protocol.TopicMax)
	}
	if !protocol.May(l.cfg.Address, protocol.Sends, m.Topic) {
		return protocol.Errorf(protocol.CodeRefused, "send %q: not for %s to send", m.Topic, l.cfg.Address)
	}
	if _, kind, err := protocol.ParseTopic(m.Topic); m.Retained && (err != nil || !protocol.MayRetain(kind)) {
		return protocol.Errorf(protocol.CodeRefused, "send %q: not to be retained", m.Topic)
	}
	if !l.Up() {
		return protocol.Errorf(protocol.CodeUnavailable, "send %q: link is down", m.Topic)
	}
	return l.queue.put(m)
}

// Listen asks for what matches filter, on this connection and on all to come. The
// error has CodeRefused for a filter that the agent may not use.
func (l *Link) Listen(filter string, deliver func(protocol.Message)) error {
	if deliver == nil {
		return protocol.Errorf(protocol.CodeBadInput, "listen %q: want a listener", filter)
	}
	if len(filter) > protocol.TopicMax {
		return protocol.Errorf(protocol.CodeLimit, "listen: filter of %d bytes, TopicMax is %d",
			len(filter), protocol.TopicMax)
	}
	if !protocol.May(l.cfg.Address, protocol.Listen, filter) {
		return protocol.Errorf(protocol.CodeRefused, "listen %q: not for %s to hear", filter, l.cfg.Address)
	}
	l.mu.Lock()
	l.listeners = append(l.listeners, listener{filter, deliver})
	l.mu.Unlock()
	signal(l.asked)
	return nil
}

// Up reports whether the link is connected with all its filters asked for.
func (l *Link) Up() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current != nil
}

// Session returns the number of the newest connection tried, from 1: what Config.Will
// was called with.
func (l *Link) Session() uint64 { return l.session.Load() }

// Pending returns how many messages have no PUBACK yet.
func (l *Link) Pending() int { return l.queue.len() }

// filters returns the filters listened to, from the nth on.
func (l *Link) filters(n int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for _, each := range l.listeners[n:] {
		all = append(all, each.filter)
	}
	return all
}

// deliver hands m to all who listen. A message that nobody asked for is done with.
func (l *Link) deliver(m protocol.Message) {
	l.mu.Lock()
	var to []listener
	for _, each := range l.listeners {
		if protocol.Match(each.filter, m.Topic) {
			to = append(to, each)
		}
	}
	l.mu.Unlock()
	if len(to) == 0 {
		m.Done()
		return
	}
	var left atomic.Int32
	left.Store(int32(len(to)))
	l.one.Lock()
	defer l.one.Unlock()
	for _, each := range to {
		one := m
		one.Ack = sync.OnceFunc(func() {
			if left.Add(-1) == 0 {
				m.Done()
			}
		})
		each.deliver(one)
	}
}

// signal makes the one place of ch full.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

var _ protocol.Link = (*Link)(nil)
