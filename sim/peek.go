package sim

import "github.com/stavily/stavily/protocol"

// peek walks through a map with whole numbers as keys, as agents and the hub encode their
// messages and records, and reads a few of its values without the rest: this is most of
// what the world looks at, and a decoder of whole messages would cost more than the agent
// that is simulated. Bytes that are not such a map make it bad.
type peek struct {
	rest  []byte
	left  uint64 // keys
	key   uint64 // and its value, since the last next
	value []byte
	bad   bool
}

func newPeek(b []byte) peek {
	p := peek{rest: b}
	major, n := p.head()
	p.left, p.bad = n, p.bad || major != protocol.MajorMap
	return p
}

// next goes on to the next key; it reports false at the end.
func (p *peek) next() bool {
	if p.left == 0 || p.bad {
		return false
	}
	p.left--
	major, key := p.head()
	if p.key = key; p.left == 0 {
		p.value = p.rest // who looks into it sees where it ends
	} else {
		p.value = p.item()
	}
	p.bad = p.bad || major != protocol.MajorUint
	return !p.bad
}

// head takes the head of an item: its major type and argument.
func (p *peek) head() (major byte, arg uint64) {
	major, arg, rest, ok := protocol.ReadHead(p.rest)
	if !ok {
		p.bad = true
		return 0, 0
	}
	p.rest = rest
	return major, arg
}

// item takes a whole item and returns its bytes.
func (p *peek) item() []byte {
	all := p.rest
	for left := uint64(1); left > 0 && !p.bad; left-- {
		major, arg := p.head()
		switch major {
		case protocol.MajorBytes, protocol.MajorText:
			p.take(arg)
		case protocol.MajorArray:
			left += min(arg, protocol.ArrayMax)
		case protocol.MajorMap:
			left += 2 * min(arg, protocol.MapMax)
		default:
		}
	}
	return all[:len(all)-len(p.rest)]
}

func (p *peek) take(n uint64) []byte {
	if p.bad || n > uint64(len(p.rest)) {
		p.bad = true
		return nil
	}
	b := p.rest[:n]
	p.rest = p.rest[n:]
	return b
}

// simple returns the argument of the value's head, which is of that type.
func (p *peek) simple(want byte) uint64 {
	v := peek{rest: p.value}
	major, arg := v.head()
	p.bad = p.bad || v.bad || major != want
	return arg
}

func (p *peek) uint() uint64 { return p.simple(protocol.MajorUint) }

// int is uint of a number that may be below 0.
func (p *peek) int() int64 {
	if len(p.value) > 0 && p.value[0]&protocol.MajorMask == protocol.MajorNint {
		return -1 - int64(p.simple(protocol.MajorNint))
	}
	return int64(p.simple(protocol.MajorUint))
}

func (p *peek) truth() bool {
	return p.simple(protocol.MajorOther) == protocol.SimpleTrue&^protocol.MajorMask
}

// bytes returns the value's bytes or text.
func (p *peek) bytes() []byte { return p.content(p.value) }

func (p *peek) content(b []byte) []byte {
	v := peek{rest: b}
	major, n := v.head()
	b = v.take(n)
	p.bad = p.bad || v.bad || major != protocol.MajorBytes && major != protocol.MajorText
	return b
}

// id copies bytes, which must be as many as to has.
func (p *peek) id(to, b []byte) {
	p.bad = p.bad || len(b) != len(to)
	copy(to, b)
}

func (p *peek) mark() (m protocol.Mark) {
	v := newPeek(p.value)
	for v.next() {
		switch v.key {
		case 1:
			m.Boot = v.uint()
		case 2:
			m.Sequence = v.uint()
		default:
		}
	}
	p.bad = p.bad || v.bad
	return m
}
