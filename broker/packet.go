package broker

import (
	"bufio"
	"encoding/binary"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/stavily/stavily/protocol"
)

// packetType is the MQTT control packet type, the upper half of the first byte.
type packetType byte

// The packets that an agent may send. All else is refused: QoS 2, the server's own
// packets, and AUTH of MQTT 5.
const (
	typeConnect     packetType = 1
	typePublish     packetType = 3
	typePuback      packetType = 4
	typeSubscribe   packetType = 8
	typeUnsubscribe packetType = 10
	typePingreq     packetType = 12
	typeDisconnect  packetType = 14
)

const (
	// connectMax bounds the body of CONNECT in bytes: names, and a Will of 4 KiB.
	connectMax = 5 << 10
	// publishMax bounds the body of PUBLISH: topic, packet identifier, payload.
	publishMax = 2 + protocol.TopicMax + 2 + protocol.MessageMax
	// filtersMax bounds the filters of one SUBSCRIBE: an agent has 5 that it may use.
	filtersMax = 16
	// subscribeMax bounds the body of SUBSCRIBE and UNSUBSCRIBE.
	subscribeMax = 2 + filtersMax*(2+protocol.TopicMax+1)
	// clientIDMax bounds the client identifier: site, slash, agent.
	clientIDMax = 2*protocol.NameMax + 1

	mqtt311 = 4 // the protocol level of MQTT 3.1.1
)

// packetReader cuts a byte stream into MQTT 3.1.1 packets and lets only well-formed
// ones pass. mochi's decoders see nothing that has not passed here.
type packetReader struct {
	src          *bufio.Reader
	keepaliveMax uint16 // seconds
	began        bool   // CONNECT has been seen
	scratch      []byte // small packets reuse it
}

// next returns the next whole packet, its header included, and its type. The bytes
// are valid until the next call.
func (r *packetReader) next() ([]byte, packetType, error) {
	first, err := r.src.ReadByte()
	if err != nil {
		return nil, 0, err
	}
	kind := packetType(first >> 4)
	if err := r.expect(kind, first&0x0f); err != nil {
		return nil, kind, err
	}
	size, head, err := r.length()
	if err != nil {
		return nil, kind, err
	}
	if limit := bodyMax(kind); size > limit {
		return nil, kind, protocol.Errorf(protocol.CodeLimit, "packet type %d: body of %d bytes, limit %d",
			kind, size, limit)
	}
	packet := r.room(1 + len(head) + size)
	packet[0] = first
	copy(packet[1:], head)
	body := packet[1+len(head):]
	if _, err := io.ReadFull(r.src, body); err != nil {
		return nil, kind, err
	}
	return packet, kind, r.check(kind, first, body)
}

// room returns n bytes, from the scratch when they are few.
func (r *packetReader) room(n int) []byte {
	if n > cap(r.scratch) {
		if n > 512 {
			return make([]byte, n)
		}
		r.scratch = make([]byte, max(n, 64))
	}
	return r.scratch[:n]
}

// expect refuses, before any more is read, a type or flags that cannot stand here.
func (r *packetReader) expect(kind packetType, flags byte) error {
	if r.began == (kind == typeConnect) {
		return badPacket("packet type %d: want CONNECT first and once", kind)
	}
	want := byte(0)
	switch kind {
	case typePublish:
		return checkPublishFlags(flags)
	case typeSubscribe, typeUnsubscribe:
		want = 2
	case typeConnect, typePuback, typePingreq, typeDisconnect:
	default:
		return badPacket("packet type %d: not for agents to send", kind)
	}
	if flags != want {
		return badPacket("packet type %d: flags %#x, want %#x", kind, flags, want)
	}
	return nil
}

func checkPublishFlags(flags byte) error {
	qos, dup := flags>>1&3, flags&8 != 0
	if qos > 1 {
		return badPacket("PUBLISH: QoS %d, want 0 or 1", qos)
	}
	if qos == 0 && dup {
		return badPacket("PUBLISH: DUP with QoS 0")
	}
	return nil
}

// length reads the remaining length and returns it with its bytes as they came.
func (r *packetReader) length() (int, []byte, error) {
	size := 0
	var raw [4]byte
	for i := range raw {
		b, err := r.src.ReadByte()
		if err != nil {
			return 0, nil, err
		}
		raw[i] = b
		size |= int(b&0x7f) << (7 * i)
		if b&0x80 == 0 {
			return size, raw[:i+1], nil
		}
	}
	return 0, nil, badPacket("remaining length: over 4 bytes")
}

func bodyMax(kind packetType) int {
	switch kind {
	case typeConnect:
		return connectMax
	case typePublish:
		return publishMax
	case typeSubscribe, typeUnsubscribe:
		return subscribeMax
	case typePuback:
		return 2
	default:
		return 0
	}
}

func (r *packetReader) check(kind packetType, first byte, body []byte) error {
	switch kind {
	case typeConnect:
		r.began = true
		return checkConnect(body, r.keepaliveMax)
	case typePublish:
		return checkPublish(first, body)
	case typePuback:
		return checkPuback(body)
	case typeSubscribe:
		return checkFilters("SUBSCRIBE", body, true)
	case typeUnsubscribe:
		return checkFilters("UNSUBSCRIBE", body, false)
	default:
		return nil // PINGREQ, DISCONNECT: the empty body was checked by its bound
	}
}

// connectFlags are the bits of CONNECT's flag byte.
const (
	flagReserved   = 1 << 0
	flagClean      = 1 << 1
	flagWill       = 1 << 2
	flagWillRetain = 1 << 5
	flagPassword   = 1 << 6
	flagUser       = 1 << 7
)

func checkConnect(body []byte, keepaliveMax uint16) error {
	f := fields{left: body}
	name, level, flags, keepalive := f.text(4), f.byte(), f.byte(), f.uint16()
	switch {
	case f.short:
		return badPacket("CONNECT: cut short")
	case name != "MQTT" || level != mqtt311:
		return badPacket("CONNECT: protocol %q level %d, want MQTT level %d", name, level, mqtt311)
	case flags&flagReserved != 0:
		return badPacket("CONNECT: reserved flag set")
	case flags&flagClean != 0:
		// F6: mochi can leave a clean session connected and deaf.
		return badPacket("CONNECT: clean session asked for, want a persistent one")
	case keepalive == 0 || keepalive > keepaliveMax:
		return badPacket("CONNECT: keepalive %d s, want 1 to %d", keepalive, keepaliveMax)
	}
	if err := checkConnectFlags(flags); err != nil {
		return err
	}
	if id := f.text(clientIDMax); id == "" && !f.bad() {
		return badPacket("CONNECT: client identifier empty")
	}
	if flags&flagWill != 0 {
		if topic := f.text(protocol.TopicMax); !f.bad() {
			if err := checkTopic("Will topic", topic, false); err != nil {
				return err
			}
		}
		f.blob()
	}
	if flags&flagUser != 0 {
		f.blob()
	}
	return f.end("CONNECT")
}

func checkConnectFlags(flags byte) error {
	qos := flags >> 3 & 3
	switch {
	case qos > 1:
		return badPacket("CONNECT: Will QoS %d, want 0 or 1", qos)
	case flags&flagWill == 0 && (qos != 0 || flags&flagWillRetain != 0):
		return badPacket("CONNECT: Will flags without a Will")
	case flags&flagPassword != 0:
		return badPacket("CONNECT: password given, certificates are the only login")
	}
	return nil
}

func checkPublish(first byte, body []byte) error {
	f := fields{left: body}
	topic := f.text(protocol.TopicMax)
	if f.bad() {
		return f.end("PUBLISH")
	}
	if err := checkTopic("PUBLISH topic", topic, false); err != nil {
		return err
	}
	if first>>1&3 > 0 && f.uint16() == 0 {
		return badPacket("PUBLISH: no packet identifier")
	}
	if len(f.left) > protocol.MessageMax {
		return protocol.Errorf(protocol.CodeLimit, "PUBLISH %q: payload of %d bytes, MessageMax is %d",
			topic, len(f.left), protocol.MessageMax)
	}
	return nil
}

func checkPuback(body []byte) error {
	if len(body) != 2 || binary.BigEndian.Uint16(body) == 0 {
		return badPacket("PUBACK: want one packet identifier")
	}
	return nil
}

// checkFilters checks SUBSCRIBE, where a QoS byte follows each filter, and
// UNSUBSCRIBE.
func checkFilters(what string, body []byte, qos bool) error {
	f := fields{left: body}
	if f.uint16() == 0 {
		return badPacket("%s: no packet identifier", what)
	}
	count := 0
	for ; len(f.left) > 0; count++ {
		filter := f.text(protocol.TopicMax)
		if qos && f.byte() > 2 && !f.bad() {
			return badPacket("%s %q: QoS over 2", what, filter)
		}
		if f.bad() {
			return f.end(what)
		}
		if err := checkTopic(what+" filter", filter, true); err != nil {
			return err
		}
	}
	if count == 0 || count > filtersMax {
		return badPacket("%s: %d filters, want 1 to %d", what, count, filtersMax)
	}
	return nil
}

// checkTopic checks what MQTT asks of a topic or filter. Who may use it is asked
// later, of protocol.May.
func checkTopic(what, topic string, wild bool) error {
	if topic == "" {
		return badPacket("%s: empty", what)
	}
	if n := strings.Count(topic, "/") + 1; n > protocol.TopicLevelsMax {
		return protocol.Errorf(protocol.CodeLimit, "%s: %d levels, TopicLevelsMax is %d",
			what, n, protocol.TopicLevelsMax)
	}
	if !wild && strings.ContainsAny(topic, "+#") {
		return badPacket("%s %q: wildcard", what, topic)
	}
	return nil
}

// fields reads the fields of a packet's body. The first that does not fit marks the
// rest as bad; nothing is read past the end.
type fields struct {
	left  []byte
	short bool // cut short
	wrong bool // a text over its bound or not UTF-8
}

func (f *fields) bad() bool { return f.short || f.wrong }

func (f *fields) take(n int) []byte {
	if f.bad() || len(f.left) < n {
		f.short = f.short || !f.wrong
		f.left = nil
		return nil
	}
	b := f.left[:n]
	f.left = f.left[n:]
	return b
}

func (f *fields) byte() byte {
	if b := f.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (f *fields) uint16() uint16 {
	if b := f.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (f *fields) blob() []byte { return f.take(int(f.uint16())) }

// text reads a string of at most limit bytes: UTF-8 without NUL.
func (f *fields) text(limit int) string {
	b := f.blob()
	if f.short {
		return ""
	}
	if len(b) > limit || !utf8.Valid(b) || strings.IndexByte(string(b), 0) >= 0 {
		f.wrong = true
		return ""
	}
	return string(b)
}

// end returns the error of a body that did not fit, or has more than it should.
func (f *fields) end(what string) error {
	switch {
	case f.short:
		return badPacket("%s: cut short", what)
	case f.wrong:
		return badPacket("%s: a text is too long or not UTF-8", what)
	case len(f.left) > 0:
		return badPacket("%s: %d bytes too many", what, len(f.left))
	}
	return nil
}

func badPacket(format string, args ...any) error {
	return protocol.Errorf(protocol.CodeBadMessage, format, args...)
}
