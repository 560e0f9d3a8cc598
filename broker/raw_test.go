package broker_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/stavily/stavily/protocol"
)

// The packet types that the tests read, and the first bytes that they write.
const (
	connack, publish, puback, suback, pingresp = 2, 3, 4, 9, 13

	firstConnect, firstPublish1, firstSubscribe, firstPingreq = 0x10, 0x32, 0x82, 0xc0
)

// packet builds an MQTT packet of its first byte and its body.
func packet(first byte, body ...[]byte) []byte {
	var all []byte
	for _, b := range body {
		all = append(all, b...)
	}
	out := []byte{first}
	for n := len(all); ; {
		b := byte(n & 0x7f)
		if n >>= 7; n > 0 {
			b |= 0x80
		}
		out = append(out, b)
		if n == 0 {
			return append(out, all...)
		}
	}
}

func text(s string) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...) }

func number(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }

// login is what a CONNECT says.
type login struct {
	id        string
	level     byte // 4 when zero
	clean     bool
	keepalive uint16 // 30 when zero
	will      *protocol.Message
}

func (l login) packet() []byte {
	if l.level == 0 {
		l.level = 4
	}
	if l.keepalive == 0 {
		l.keepalive = 30
	}
	flags := byte(0)
	if l.clean {
		flags |= 2
	}
	var rest [][]byte
	if l.level == 5 {
		rest = append(rest, []byte{0})
	}
	rest = append(rest, text(l.id))
	if l.will != nil {
		flags |= 4 | 1<<3
		if l.will.Retained {
			flags |= 1 << 5
		}
		rest = append(rest, text(l.will.Topic), text(string(l.will.Payload)))
	}
	head := [][]byte{text("MQTT"), {l.level, flags}, number(l.keepalive)}
	return packet(firstConnect, append(head, rest...)...)
}

func publishPacket(topic string, id uint16, payload string) []byte {
	return packet(firstPublish1, text(topic), number(id), []byte(payload))
}

func subscribePacket(id uint16, filters ...string) []byte {
	body := [][]byte{number(id)}
	for _, f := range filters {
		body = append(body, text(f), []byte{1})
	}
	return packet(firstSubscribe, body...)
}

// raw is a hand-made agent, good or bad.
type raw struct {
	testing.TB
	net.Conn
	in *bufio.Reader
}

func newRaw(t testing.TB, conn net.Conn) *raw {
	t.Cleanup(func() { _ = conn.Close() })
	return &raw{t, conn, bufio.NewReader(conn)}
}

func (r *raw) send(b []byte) {
	r.Helper()
	_ = r.SetWriteDeadline(time.Now().Add(bound))
	if _, err := r.Write(b); err != nil {
		r.Fatalf("write: %v", err)
	}
}

// try sends what the other side may refuse to read to its end.
func (r *raw) try(b []byte) {
	_ = r.SetWriteDeadline(time.Now().Add(bound))
	_, _ = r.Write(b)
}

// read returns the next packet's type and body.
func (r *raw) read() (byte, []byte, error) {
	_ = r.SetReadDeadline(time.Now().Add(bound))
	first, err := r.in.ReadByte()
	if err != nil {
		return 0, nil, err
	}
	size, err := binary.ReadUvarint(r.in)
	if err != nil {
		return 0, nil, err
	}
	body := make([]byte, size)
	_, err = io.ReadFull(r.in, body)
	return first >> 4, body, err
}

// want reads one packet, which must be of that type.
func (r *raw) want(kind byte) []byte {
	r.Helper()
	got, body, err := r.read()
	if err != nil || got != kind {
		r.Fatalf("got packet type %d, error %v; want type %d", got, err, kind)
	}
	return body
}

// wantClosed reads to the end, which must come.
func (r *raw) wantClosed() {
	r.Helper()
	_ = r.SetReadDeadline(time.Now().Add(bound))
	_, err := io.Copy(io.Discard, r.in)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		r.Fatalf("the connection is still open after %v", bound)
	}
}

// login connects; the answer must be the code.
func (r *raw) login(l login, code byte) {
	r.Helper()
	r.send(l.packet())
	if body := r.want(connack); len(body) != 2 || body[1] != code {
		r.Fatalf("CONNACK %x, want code %d", body, code)
	}
}

// dial opens a raw connection of an agent in process.
func (w *world) dial(a protocol.Address) *raw {
	w.Helper()
	conn, err := w.broker.Dial(a)
	if err != nil {
		w.Fatal(err)
	}
	return newRaw(w, conn)
}

// in connects and logs in.
func (w *world) in(a protocol.Address) *raw {
	w.Helper()
	r := w.dial(a)
	r.login(login{id: protocol.MQTTClientID(a)}, 0)
	return r
}

// bare is mochi as it comes, with a hook that lets all pass but what refuse names.
type bare struct {
	*mqtt.Server
}

type bareHook struct {
	mqtt.HookBase
	mayWrite       func(topic string) bool
	onUnsubscribed func()
}

func (h *bareHook) ID() string { return "bare" }

func (h *bareHook) Provides(b byte) bool {
	return b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck || b == mqtt.OnUnsubscribed
}

func (h *bareHook) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }

func (h *bareHook) OnACLCheck(_ *mqtt.Client, topic string, write bool) bool {
	return !write || h.mayWrite == nil || h.mayWrite(topic)
}

func (h *bareHook) OnUnsubscribed(*mqtt.Client, packets.Packet) {
	if h.onUnsubscribed != nil {
		h.onUnsubscribed()
	}
}

func newBare(t testing.TB, h *bareHook) *bare {
	t.Helper()
	s := mqtt.New(&mqtt.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler)})
	if err := s.AddHook(h, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, cl := range s.Clients.GetAll() {
			cl.Stop(nil)
		}
		_ = s.Close()
	})
	return &bare{s}
}

func (b *bare) dial(t testing.TB) *raw {
	ours, theirs := net.Pipe()
	go func() { _ = b.EstablishConnection("pipe", ours) }()
	return newRaw(t, theirs)
}

func name(n int) protocol.Address {
	return protocol.Address{Site: "lab", Agent: protocol.AgentName(fmt.Sprintf("agent-%d", n))}
}
