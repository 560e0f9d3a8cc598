package broker

import (
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/stavily/stavily/protocol"
)

// listeners are those in the hub who hear what agents say.
type listeners struct {
	mu  sync.RWMutex // guards the fields below
	all []listener

	one sync.Mutex // held while a deliver runs: one message at a time for the link
}

type listener struct {
	filter  string
	deliver func(protocol.Message)
}

// Send sends m to the one agent whose topic it has. A retained message is also kept
// for the agent's next connection, so it can be sent while the agent is away; empty,
// it is forgotten.
//
//  1. nil: taken, or kept.
//  2. CodeUnavailable: the agent is not connected or its queue is full.
//  3. CodeLimit: payload over MessageMax, or retained bytes over their cap.
//  4. CodeRefused: not a topic that the hub sends to, or not one to retain.
func (b *Broker) Send(m protocol.Message) error {
	if len(m.Payload) > protocol.MessageMax {
		return protocol.Errorf(protocol.CodeLimit, "send %q: %d bytes, MessageMax is %d",
			m.Topic, len(m.Payload), protocol.MessageMax)
	}
	a, kind, err := protocol.ParseTopic(m.Topic)
	if err != nil {
		return err
	}
	if kind.Up() {
		return protocol.Errorf(protocol.CodeRefused, "send %q: agents send this, the hub does not", m.Topic)
	}
	if err := checkRetain(m.Topic, m.Retained); err != nil {
		return err
	}
	if m.Retained {
		if err := b.retain(m); err != nil {
			return err
		}
	}
	b.mu.Lock()
	s := b.sessions[a]
	b.mu.Unlock()
	switch {
	case m.Retained && len(m.Payload) == 0: // forgetting is no news for the agent
	case s != nil:
		err = s.push(protocol.Message{Topic: m.Topic, Payload: m.Payload})
	default:
		err = protocol.Errorf(protocol.CodeUnavailable, "send %q: agent not connected", m.Topic)
	}
	if m.Retained {
		return nil // the agent gets it when it asks
	}
	return err
}

// retain keeps m for those who ask later. mochi's publish would also queue it for an
// absent agent, once for each time that it changed.
func (b *Broker) retain(m protocol.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := b.kept - b.retained[m.Topic] + len(m.Payload)
	if kept > b.caps.RetainedBytes {
		return protocol.Errorf(protocol.CodeLimit, "send %q: %d bytes retained, limit %d",
			m.Topic, kept, b.caps.RetainedBytes)
	}
	b.kept = kept
	b.retained[m.Topic] = len(m.Payload)
	if len(m.Payload) == 0 {
		delete(b.retained, m.Topic)
	}
	b.server.Topics.RetainMessage(packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1, Retain: true},
		TopicName:   m.Topic,
		Payload:     m.Payload,
	})
	return nil
}

// Listen asks for what agents send to topics that match filter: an UpFilter, or any
// other MQTT filter. deliver must return at once; each message must be Done within
// Caps.AckDeadline, or its agent's line is cut and the agent sends it again. Where
// several filters match a message, every listener must be Done with it.
func (b *Broker) Listen(filter string, deliver func(protocol.Message)) error {
	if len(filter) > protocol.TopicMax {
		return protocol.Errorf(protocol.CodeLimit, "listen: filter of %d bytes, TopicMax is %d",
			len(filter), protocol.TopicMax)
	}
	if filter == "" || deliver == nil {
		return protocol.Errorf(protocol.CodeBadInput, "listen %q: want a filter and a listener", filter)
	}
	b.links.mu.Lock()
	defer b.links.mu.Unlock()
	b.links.all = append(b.links.all, listener{filter, deliver})
	return nil
}

// hear hands a message of an agent to all who listen.
func (b *Broker) hear(m protocol.Message) {
	b.links.mu.RLock()
	var to []listener
	for _, l := range b.links.all {
		if protocol.Match(l.filter, m.Topic) {
			to = append(to, l)
		}
	}
	b.links.mu.RUnlock()
	if len(to) == 0 {
		b.stats.unheard.Add(1)
		b.log.Warn("nobody listens", slog.String("topic", m.Topic))
		return
	}
	b.stats.received.Add(1)
	done := m.Ack
	if len(to) > 1 && done != nil {
		var left atomic.Int32
		left.Store(int32(len(to)))
		done = func() {
			if left.Add(-1) == 0 {
				m.Ack()
			}
		}
	}
	b.links.one.Lock()
	defer b.links.one.Unlock()
	for _, l := range to {
		each := m
		if done != nil {
			each.Ack = sync.OnceFunc(done)
		}
		l.deliver(each)
	}
}

var _ protocol.Link = (*Broker)(nil)
