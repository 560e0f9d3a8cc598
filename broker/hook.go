package broker

import (
	"fmt"
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/stavily/stavily/protocol"
)

// hook is all that mochi asks us. It is the only hook: mochi lets a thing pass when
// any one hook allows it.
type hook struct {
	mqtt.HookBase
	b *Broker
}

// ID returns the hook's name.
func (h *hook) ID() string { return "stavily" }

// Provides names the questions that this hook answers.
func (h *hook) Provides(which byte) bool {
	switch which {
	case mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnSessionEstablished, mqtt.OnPacketRead,
		mqtt.OnPacketEncode, mqtt.OnPublish, mqtt.OnQosPublish, mqtt.OnQosComplete:
		return true
	}
	return false
}

// sessionOf returns the session behind mochi's client: nil for the hub's own.
func sessionOf(cl *mqtt.Client) *session {
	if g, ok := cl.Net.Conn.(*guarded); ok {
		return g.session
	}
	return nil
}

// OnConnectAuthenticate lets an agent in as itself: the identity is the certificate's
// (or Dial's) and the client identifier must be the same. The user name says nothing.
func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	s := sessionOf(cl)
	if s == nil {
		return false
	}
	if err := h.login(s, cl, pk.Connect); err != nil {
		h.b.deny(s.addr, s.guard.RemoteAddr(), fmt.Errorf("login: %w", err))
		return false
	}
	return true
}

func (h *hook) login(s *session, cl *mqtt.Client, c packets.ConnectParams) error {
	if want := protocol.MQTTClientID(s.addr); c.ClientIdentifier != want {
		return protocol.Errorf(protocol.CodeRefused, "client identifier %q, want %q", c.ClientIdentifier, want)
	}
	if !h.b.cfg.Allowed(s.addr, s.cert) {
		return protocol.Errorf(protocol.CodeRefused, "agent %s: not allowed", s.addr)
	}
	if c.WillFlag {
		if err := checkWill(s.addr, c); err != nil {
			return err
		}
		s.will = &protocol.Message{Topic: c.WillTopic, Payload: c.WillPayload, Retained: c.WillRetain}
		cl.Properties.Will = mqtt.Will{} // F2: mochi would send it unasked
	}
	s.client = cl
	return h.b.claim(s)
}

// checkWill asks of a Will what is asked of any message (F2).
func checkWill(a protocol.Address, c packets.ConnectParams) error {
	if !protocol.May(a, protocol.Sends, c.WillTopic) {
		return protocol.Errorf(protocol.CodeRefused, "Will on %q: not for %s to send", c.WillTopic, a)
	}
	return checkRetain(c.WillTopic, c.WillRetain)
}

func checkRetain(topic string, retain bool) error {
	if !retain {
		return nil
	}
	if _, kind, err := protocol.ParseTopic(topic); err != nil || !protocol.MayRetain(kind) {
		return protocol.Errorf(protocol.CodeRefused, "retained message on %q: not allowed", topic)
	}
	return nil
}

// OnACLCheck is asked before each publish, each subscription and each delivery.
func (h *hook) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	s := sessionOf(cl)
	if s == nil {
		return cl.Net.Inline
	}
	do, what := protocol.Listen, "listen to"
	if write {
		do, what = protocol.Sends, "send to"
	}
	if protocol.May(s.addr, do, topic) {
		return true
	}
	h.b.deny(s.addr, s.guard.RemoteAddr(), fmt.Errorf("%s %q", what, topic))
	return false
}

// OnSessionEstablished is told that CONNACK is on its way.
func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	if s := sessionOf(cl); s != nil {
		s.established()
	}
}

// OnPacketRead gives the agent's packet identifiers names of our own. mochi keeps both
// directions in one map: with the agent's own, a message that the agent sends makes
// mochi forget one that the agent has not acknowledged, and SUBSCRIBE is refused.
func (h *hook) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	s := sessionOf(cl)
	if s == nil {
		return pk, nil
	}
	// mochi passes over a publish to $SYS in silence, before it asks OnACLCheck.
	if strings.HasPrefix(pk.TopicName, "$") && !h.OnACLCheck(cl, pk.TopicName, true) {
		return pk, packets.ErrRejectPacket // which ends the connection, as any refusal does
	}
	switch {
	case pk.FixedHeader.Type == packets.Publish && pk.FixedHeader.Qos > 0,
		pk.FixedHeader.Type == packets.Subscribe, pk.FixedHeader.Type == packets.Unsubscribe:
		s.asked, pk.PacketID = pk.PacketID, s.freeID()
	}
	return pk, nil
}

// OnPacketEncode gives the agent its own packet identifier back. PUBACK is not here:
// we send it ourselves.
func (h *hook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	if t := pk.FixedHeader.Type; t == packets.Suback || t == packets.Unsuback {
		if s := sessionOf(cl); s != nil {
			pk.PacketID = s.asked
		}
	}
	return pk
}

// OnPublish takes every message of an agent out of mochi's hands: it goes to the hub,
// and PUBACK follows when the hub has kept it (F5).
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	s := sessionOf(cl)
	if s == nil {
		return pk, nil
	}
	if err := checkRetain(pk.TopicName, pk.FixedHeader.Retain); err != nil {
		h.b.deny(s.addr, s.guard.RemoteAddr(), err)
		s.guard.abort()
		return pk, packets.ErrRejectPacket
	}
	m := protocol.Message{Topic: pk.TopicName, Payload: pk.Payload, Retained: pk.FixedHeader.Retain}
	s.receive(m, pk.FixedHeader.Qos > 0)
	return pk, packets.ErrRejectPacket
}

// OnQosPublish is told of every QoS 1 message that mochi sends, or sends again.
func (h *hook) OnQosPublish(cl *mqtt.Client, pk packets.Packet, _ int64, _ int) {
	if s := sessionOf(cl); s != nil {
		s.lastID.Store(uint32(pk.PacketID))
	}
}

// OnQosComplete is told of every PUBACK of an agent.
func (h *hook) OnQosComplete(cl *mqtt.Client, _ packets.Packet) {
	if s := sessionOf(cl); s != nil {
		s.kick()
	}
}

var _ mqtt.Hook = (*hook)(nil)
