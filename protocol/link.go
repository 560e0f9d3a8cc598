package protocol

// Message is what travels on a link: a topic of topic.go and a payload of at most
// MessageMax bytes.
type Message struct {
	Topic    string
	Payload  []byte
	Retained bool
	// Ack tells the link that the receiver has kept what it must keep of this
	// message. Until then the link may deliver it again, and will after a
	// reconnection. It is set by the link on messages it delivers, may be nil, may
	// be called once, from any goroutine.
	//
	// An agent that sends may set it too: its link calls it once it no longer holds the
	// message, because the other side has taken it. Until then the link sends it again by
	// itself on each new connection, and a copy would only travel beside it.
	Ack func()
}

// Done acknowledges the message to its link.
func (m Message) Done() {
	if m.Ack != nil {
		m.Ack()
	}
}

// Link carries messages to and from one party.
//
// It delivers at least once and in the order in which any one party sent, until the
// first loss: after a reconnection a message may come again or late, so receivers
// order by sequence and never by arrival. linktest holds every Link to this.
type Link interface {
	// Send hands m over and returns without waiting for the other side.
	//
	//  1. nil: the link has taken m and will send it when it can; it may still be
	//     lost with the process or the line, so the sender keeps what matters until
	//     the receiver's own acknowledgement.
	//  2. CodeUnavailable: the line is down or the link's queue is full; try later.
	//  3. CodeLimit: topic or payload over its bound; trying again is useless.
	Send(m Message) error

	// Listen asks for every message whose topic matches filter. deliver is called on
	// the link's own time, one message at a time for one link, and must return at
	// once. A link asks again by itself after each reconnection.
	Listen(filter string, deliver func(Message)) error
}
