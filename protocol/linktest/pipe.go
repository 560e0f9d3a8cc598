package linktest

import (
	"sync"

	"github.com/stavily/stavily/protocol"
)

// pipeMax bounds the messages of one direction that are sent and not acknowledged.
const pipeMax = 64

// Pipe returns a pair of links in memory for the agent at a. It has no goroutine:
// messages are delivered by whoever sends, listens or cuts, in order.
func Pipe(a protocol.Address) Pair {
	up := &end{may: func(t string) bool { return protocol.May(a, protocol.Sends, t) }}
	down := &end{may: func(t string) bool {
		of, kind, err := protocol.ParseTopic(t)
		return err == nil && of == a && !kind.Up()
	}, keeps: map[string]protocol.Message{}}
	up.other, down.other = down, up
	return Pair{
		Hub: down, Agent: up, Address: a,
		Cut:   func() { up.again(); down.again() },
		Close: func() { up.close(); down.close() },
	}
}

// end is one end of a pipe: what it sends, and who listens at it.
type end struct {
	other *end
	may   func(topic string) bool
	keeps map[string]protocol.Message // retained; only the hub's end keeps any

	mu      sync.Mutex // guards the fields below
	flight  []*flying  // sent here and not acknowledged there, oldest first
	pumping bool
	closed  bool
	hearers []hearer
}

type flying struct {
	protocol.Message
	to        []hearer // set when it was addressed to few: a retained message
	delivered bool
}

type hearer struct {
	filter  string
	deliver func(protocol.Message)
}

// Send appends m and delivers what can be delivered.
func (e *end) Send(m protocol.Message) error {
	if len(m.Payload) > protocol.MessageMax || len(m.Topic) > protocol.TopicMax {
		return protocol.Errorf(protocol.CodeLimit, "send: topic of %d bytes, payload of %d: limits %d and %d",
			len(m.Topic), len(m.Payload), protocol.TopicMax, protocol.MessageMax)
	}
	if !e.may(m.Topic) {
		return protocol.Errorf(protocol.CodeRefused, "send %q: not to be sent from this end", m.Topic)
	}
	if _, kind, err := protocol.ParseTopic(m.Topic); m.Retained && (err != nil || !protocol.MayRetain(kind)) {
		return protocol.Errorf(protocol.CodeRefused, "send %q: not to be retained", m.Topic)
	}
	if err := e.take(m); err != nil {
		return err
	}
	e.pump()
	return nil
}

func (e *end) take(m protocol.Message) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return protocol.Errorf(protocol.CodeUnavailable, "send %q: closed", m.Topic)
	}
	if m.Retained && e.keeps != nil {
		kept := m
		kept.Ack = nil
		e.keeps[m.Topic] = kept
		m.Retained = false // it is news to those who listen already
	}
	if len(e.flight) >= pipeMax {
		return protocol.Errorf(protocol.CodeUnavailable, "send %q: %d messages wait", m.Topic, len(e.flight))
	}
	e.flight = append(e.flight, &flying{Message: m})
	return nil
}

// Listen adds a listener and gives it what the other end retains.
func (e *end) Listen(filter string, deliver func(protocol.Message)) error {
	h := hearer{filter, deliver}
	e.mu.Lock()
	e.hearers = append(e.hearers, h)
	e.mu.Unlock()
	e.other.offer(h)
	e.other.pump()
	return nil
}

// offer puts the one retained message that h's filter matches in flight, for h alone.
// Agents have one retained topic to hear.
func (e *end) offer(h hearer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, m := range e.keeps {
		if protocol.Match(h.filter, m.Topic) {
			e.flight = append(e.flight, &flying{Message: m, to: []hearer{h}})
		}
	}
}

// pump delivers until nothing is left. One caller pumps at a time, so that deliver is
// called for one message at a time; the others leave their messages to it.
func (e *end) pump() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.pumping {
		return
	}
	e.pumping = true
	for f := e.next(); f != nil; f = e.next() {
		f.delivered = true
		e.mu.Unlock()
		e.deliver(f)
		e.mu.Lock()
	}
	e.pumping = false
}

func (e *end) next() *flying {
	for _, f := range e.flight {
		if !f.delivered && !e.closed {
			return f
		}
	}
	return nil
}

func (e *end) deliver(f *flying) {
	to := f.to
	if to == nil {
		to = e.other.matching(f.Topic)
	}
	var mu sync.Mutex // guards left
	left := len(to)
	done := func() {
		mu.Lock()
		defer mu.Unlock()
		if left--; left <= 0 {
			e.acknowledged(f)
		}
	}
	if len(to) == 0 {
		e.acknowledged(f)
	}
	for _, h := range to {
		m := f.Message
		m.Ack = sync.OnceFunc(done)
		h.deliver(m)
	}
}

func (e *end) matching(topic string) []hearer {
	e.mu.Lock()
	defer e.mu.Unlock()
	var to []hearer
	for _, h := range e.hearers {
		if protocol.Match(h.filter, topic) {
			to = append(to, h)
		}
	}
	return to
}

func (e *end) acknowledged(f *flying) {
	if e.remove(f) {
		f.Done()
	}
}

func (e *end) remove(f *flying) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, each := range e.flight {
		if each == f {
			e.flight = append(e.flight[:i], e.flight[i+1:]...)
			return true
		}
	}
	return false
}

// again makes all that is not acknowledged undelivered: the line was cut.
func (e *end) again() {
	e.mu.Lock()
	for _, f := range e.flight {
		f.delivered = false
	}
	e.mu.Unlock()
	e.pump()
}

func (e *end) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
}

var _ protocol.Link = (*end)(nil)
