package discover

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/stavily/stavily/protocol"
)

const (
	// lasts is how long others may keep what was said, in seconds; lastsBrief in an answer to
	// one that asks once (RFC 6762, 6.7).
	lasts      = 120
	lastsBrief = 10
	// answersMax bounds the answers a second: an answer is larger than its question.
	answersMax = 20
	// addressesMax bounds the addresses that are told.
	addressesMax = 8
)

// Self is what a gateway says of itself.
type Self struct {
	Address protocol.Address
	Port    uint16
	At      []netip.Addr // where it is in the net that is spoken to
}

// Responder answers for one gateway in one net. One caller at a time.
type Responder struct {
	self     []record // the PTR first
	count    int      // answers in the second that began at
	at       time.Time
	lastSaid time.Time // by multicast
}

// NewResponder returns the Responder of a gateway. Its service instance is called agent.site, or
// by its agent's name alone where that would be too long.
func NewResponder(s Self) *Responder {
	label := string(s.Address.Agent) + "." + string(s.Address.Site)
	if len(label) > labelMax {
		label = string(s.Address.Agent)
	}
	instance := newName(label, serviceIs, "_tcp", "local")
	host := newName(string(s.Address.Agent), string(s.Address.Site), "stavily", "local")
	text := siteKey + string(s.Address.Site)
	own := func(n name, typ uint16, data []byte, target name) record {
		return record{question: question{n, typ, classIN | topBit}, ttl: lasts, data: data, target: target}
	}
	srv := binary.BigEndian.AppendUint16(make([]byte, 4), s.Port)
	r := &Responder{self: []record{
		{question: question{service, typePTR, classIN}, ttl: lasts, target: instance}, // others have one too
		own(instance, typeSRV, srv, host),
		own(instance, typeTXT, append([]byte{byte(len(text))}, text...), ""),
	}}
	for _, addr := range s.At[:min(len(s.At), addressesMax)] {
		typ := uint16(typeAAAA)
		if addr.Is4() {
			typ = typeA
		}
		r.self = append(r.self, own(host, typ, addr.AsSlice(), ""))
	}
	return r
}

// Announce returns the packet that says to all that the gateway is here.
func (r *Responder) Announce() []byte {
	return outgoing{flags: isAnswer, answers: r.self}.build()
}

// Goodbye returns the packet that says that it is not any more.
func (r *Responder) Goodbye() []byte {
	return outgoing{flags: isAnswer, answers: withTTL(r.self, 0)}.build()
}

// Answer returns the answer to a packet, nil when there is none to give, and whether it is for
// everybody. once says that it came from another port than that of multicast DNS: from one that
// asks once and keeps nothing.
func (r *Responder) Answer(now time.Time, packet []byte, once bool) (answer []byte, toAll bool) {
	m, err := parse(packet)
	if err != nil || m.response {
		return nil, false
	}
	var asked []question
	toAll = !once
	for _, q := range m.questions {
		if slices.ContainsFunc(r.self, q.asksFor) {
			asked = append(asked, question{q.name, q.typ, q.class &^ topBit})
			toAll = toAll && q.class&topBit == 0
		}
	}
	if len(asked) == 0 || !once && r.known(m, asked) || !r.may(now, toAll) {
		return nil, false
	}
	var answers, more []record
	for _, rec := range r.self {
		if slices.ContainsFunc(asked, func(q question) bool { return q.asksFor(rec) }) {
			answers = append(answers, rec)
		} else {
			more = append(more, rec)
		}
	}
	if !once {
		return outgoing{flags: isAnswer, answers: answers, more: more}.build(), toAll
	}
	answers, more = withTTL(answers, lastsBrief), withTTL(more, lastsBrief)
	return outgoing{m.id, isAnswer, asked, answers, more}.build(), false
}

// asksFor reports whether rec is an answer to q.
func (q question) asksFor(rec record) bool {
	class := q.class &^ topBit
	return q.name == rec.name && (q.typ == rec.typ || q.typ == typeAny) &&
		(class == classIN || class == classAny)
}

// known reports whether who asks only for gateways says that it knows of this one.
func (r *Responder) known(m message, asked []question) bool {
	pointer := r.self[0]
	if slices.ContainsFunc(asked, func(q question) bool { return q.name != pointer.name }) {
		return false
	}
	return slices.ContainsFunc(m.records, func(k record) bool {
		return k.typ == typePTR && k.name == pointer.name && k.target == pointer.target && k.ttl >= lasts/2
	})
}

// may holds answers to their rate: one a second to all, answersMax together.
func (r *Responder) may(now time.Time, toAll bool) bool {
	if since := now.Sub(r.at); since < 0 || since >= time.Second {
		r.at, r.count = now, 0
	}
	if since := now.Sub(r.lastSaid); toAll && since >= 0 && since < time.Second || r.count >= answersMax {
		return false
	}
	r.count++
	if toAll {
		r.lastSaid = now
	}
	return true
}

// withTTL returns records to be kept for ttl seconds; a cache that keeps them briefly, or not,
// is not to be flushed for them.
func withTTL(records []record, ttl uint32) []record {
	out := slices.Clone(records)
	for i := range out {
		out[i].ttl = ttl
		out[i].class &^= topBit
	}
	return out
}
