package mqtt

import (
	"bufio"
	"context"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/stavily/stavily/protocol"
)

// readAll takes the hub's packets, one after the other, until the line is down.
func (c *connection) readAll() {
	from := bufio.NewReader(c.line)
	for {
		p, err := packets.ReadPacket(from)
		if err == nil {
			c.quiet.read.Store(c.quiet.now())
			err = c.take(p)
		}
		if err != nil {
			_ = c.line.fail(err)
			return
		}
	}
}

// take takes one packet. It must not wait.
func (c *connection) take(p packets.ControlPacket) error {
	switch p := p.(type) {
	case *packets.PublishPacket:
		return c.receive(p)
	case *packets.PubackPacket:
		c.delivered(p.MessageID)
	case *packets.ConnackPacket:
		return c.answered(answer{codes: []byte{p.ReturnCode}})
	case *packets.SubackPacket:
		return c.answered(answer{p.MessageID, p.ReturnCodes})
	case *packets.PingrespPacket:
		signal(c.pong)
	default:
		return protocol.Errorf(protocol.CodeBadMessage, "packet %T: not for a hub to send", p)
	}
	return nil
}

func (c *connection) answered(a answer) error {
	select {
	case c.answers <- a:
		return nil
	default:
		return protocol.Errorf(protocol.CodeBadMessage, "two answers to one question")
	}
}

// delivered takes what the hub has acknowledged out of the queue.
func (c *connection) delivered(id uint16) {
	c.mu.Lock()
	e := c.flight[id]
	delete(c.flight, id)
	c.mu.Unlock()
	if e == nil {
		return // nothing of ours; it frees no room
	}
	c.link.queue.done(e)
	<-c.room
}

// receive hands one message on.
func (c *connection) receive(p *packets.PublishPacket) error {
	if p.Qos > 1 {
		return protocol.Errorf(protocol.CodeBadMessage, "publish with QoS %d: QoS 1 was asked for", p.Qos)
	}
	done := func() {
		if p.Qos == 1 {
			c.ack(p.MessageID)
		}
	}
	if p.TopicName == protocol.Topic(c.link.cfg.Address, protocol.DownProbe) {
		select {
		case c.echo <- p.Payload:
		default:
		}
		done()
		return nil
	}
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx) // it comes again on the next connection
	}
	c.link.deliver(protocol.Message{Topic: p.TopicName, Payload: p.Payload, Retained: p.Retain, Ack: done})
	return nil
}

// ack asks acknowledge for a PUBACK.
func (c *connection) ack(id uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acks = append(c.acks, id)
	signal(c.more)
}
