package discover

import (
	"encoding/binary"
	"strings"

	"github.com/stavily/stavily/protocol"
)

// Bounds of one packet.
const (
	// PacketMax bounds a packet in bytes, as RFC 6762, 17 does with its headers.
	PacketMax = 9000

	headSize     = 12
	nameMax      = 255
	labelMax     = 63
	jumpsMax     = 16
	questionsMax = 16
	recordsMax   = 64
)

// Types and classes of records, and bits of headers.
const (
	typeA    = 1
	typePTR  = 12
	typeTXT  = 16
	typeAAAA = 28
	typeSRV  = 33
	typeAny  = 255

	classIN  = 1
	classAny = 255
	topBit   = 1 << 15 // of a class: flush, in a record; answer by unicast, in a question

	isResponse = 1 << 15
	isAnswer   = isResponse | 1<<10 // of one that knows it itself
	notPlain   = 0x7800 | 0x000f    // opcode and response code, both 0 in what is of use
)

// name is a domain name as it travels, without compression: labels behind their lengths, letters
// A-Z made small, and the empty one at the end.
type name string

func newName(labels ...string) name {
	var b strings.Builder
	for _, l := range labels {
		b.WriteByte(byte(len(l)))
		b.WriteString(strings.ToLower(l))
	}
	b.WriteByte(0)
	return name(b.String())
}

// first returns the first label.
func (n name) first() string {
	if len(n) == 0 {
		return ""
	}
	return string(n[1 : 1+int(n[0])])
}

type question struct {
	name  name
	typ   uint16
	class uint16
}

type record struct {
	question
	ttl    uint32 // s
	data   []byte // without names
	target name   // of PTR and SRV; it follows data
}

// message is a packet that was read. Records of all three sections are in one row: who is asked
// may put them where it likes.
type message struct {
	id        uint16
	response  bool
	questions []question
	records   []record
}

// reader goes through a packet once.
type reader struct {
	packet []byte
	at     int
}

func badPacket(format string, args ...any) error {
	return protocol.Errorf(protocol.CodeBadMessage, "mdns packet: "+format, args...)
}

// parse reads a packet. What is behind its last record is not looked at.
func parse(packet []byte) (m message, err error) {
	if len(packet) < headSize || len(packet) > PacketMax {
		return m, badPacket("%d bytes, want %d to %d", len(packet), headSize, PacketMax)
	}
	word := func(i int) int { return int(binary.BigEndian.Uint16(packet[2*i:])) }
	flags, questions, records := word(1), word(2), word(3)+word(4)+word(5)
	switch {
	case flags&notPlain != 0:
		return m, badPacket("flags %04x", flags)
	case questions > questionsMax || records > recordsMax:
		return m, badPacket("%d questions and %d records, limits %d and %d", questions, records, questionsMax,
			recordsMax)
	}
	m.id, m.response = binary.BigEndian.Uint16(packet), flags&isResponse != 0
	r := &reader{packet, headSize}
	for range questions {
		q, err := r.question()
		if err != nil {
			return message{}, err
		}
		m.questions = append(m.questions, q)
	}
	for range records {
		rec, err := r.record()
		if err != nil {
			return message{}, err
		}
		m.records = append(m.records, rec)
	}
	return m, nil
}

// take returns the next n bytes.
func (r *reader) take(n int) ([]byte, error) {
	if n > len(r.packet)-r.at {
		return nil, badPacket("ends at byte %d, want %d more", len(r.packet), n-(len(r.packet)-r.at))
	}
	r.at += n
	return r.packet[r.at-n : r.at], nil
}

func (r *reader) question() (q question, err error) {
	if q.name, err = r.name(); err != nil {
		return q, err
	}
	b, err := r.take(4)
	if err != nil {
		return q, err
	}
	q.typ, q.class = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	return q, nil
}

func (r *reader) record() (rec record, err error) {
	if rec.question, err = r.question(); err != nil {
		return rec, err
	}
	b, err := r.take(6)
	if err != nil {
		return rec, err
	}
	rec.ttl = binary.BigEndian.Uint32(b)
	size := int(binary.BigEndian.Uint16(b[4:]))
	begin := r.at
	if rec.data, err = r.take(size); err != nil {
		return rec, err
	}
	before := 0 // the name that data ends with
	switch rec.typ {
	case typePTR:
	case typeSRV:
		before = 6
	default:
		return rec, nil
	}
	if size <= before {
		return rec, badPacket("record of type %d: %d bytes", rec.typ, size)
	}
	rec.data = rec.data[:before]
	r.at = begin + before
	if rec.target, err = r.name(); err == nil && r.at != begin+size {
		err = badPacket("record of type %d: name of %d bytes, want %d", rec.typ, r.at-begin-before, size-before)
	}
	return rec, err
}

// name reads a name. A pointer leads to before the name, or the part of it, that it ends: so it
// ends.
func (r *reader) name() (name, error) {
	var out strings.Builder
	at, behind, lowest := r.at, -1, r.at
	for jumps := 0; ; {
		if at >= len(r.packet) {
			return "", badPacket("name ends at byte %d", at)
		}
		size := int(r.packet[at])
		switch {
		case size == 0:
			if behind < 0 {
				behind = at + 1
			}
			r.at = behind
			out.WriteByte(0)
			return name(out.String()), nil
		case size <= labelMax:
			if at+1+size > len(r.packet) || out.Len()+1+size >= nameMax {
				return "", badPacket("label of %d bytes at byte %d", size, at)
			}
			out.WriteByte(byte(size))
			for _, c := range r.packet[at+1 : at+1+size] {
				if c >= 'A' && c <= 'Z' {
					c += 'a' - 'A'
				}
				out.WriteByte(c)
			}
			at += 1 + size
		case size >= 0xc0 && at+1 < len(r.packet):
			to := (size&0x3f)<<8 | int(r.packet[at+1])
			if jumps++; to < headSize || to >= lowest || jumps > jumpsMax {
				return "", badPacket("pointer at byte %d to %d", at, to)
			}
			if behind < 0 {
				behind = at + 2
			}
			at, lowest = to, to
		default:
			return "", badPacket("label of type %02x at byte %d", size, at)
		}
	}
}

// outgoing is a packet to be written. Names are short here and written in full.
type outgoing struct {
	id, flags     uint16
	questions     []question
	answers, more []record
}

func (o outgoing) build() []byte {
	b := binary.BigEndian.AppendUint16(nil, o.id)
	for _, n := range []int{int(o.flags), len(o.questions), len(o.answers), 0, len(o.more)} {
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	}
	for _, q := range o.questions {
		b = q.append(b)
	}
	for _, list := range [][]record{o.answers, o.more} {
		for _, r := range list {
			b = binary.BigEndian.AppendUint32(r.append(b), r.ttl)
			b = binary.BigEndian.AppendUint16(b, uint16(len(r.data)+len(r.target)))
			b = append(append(b, r.data...), r.target...)
		}
	}
	return b
}

func (q question) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(append(b, q.name...), q.typ)
	return binary.BigEndian.AppendUint16(b, q.class)
}
