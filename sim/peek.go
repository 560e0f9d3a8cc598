package sim

import "github.com/stavily/stavily/protocol"

// peek walks through a map with whole numbers as keys, as agents and the hub encode their
// messages and records, and reads a few of its values without the rest: this is most of
// what the world looks at, and a decoder of whole messages would cost more than the agent
// that is simulated. A value is read once, or passed over by the next key; of the last one
// nothing is looked at unless it is read. Bytes that are not such a map make it bad.
type peek struct {
	rest []byte
	left uint64 // keys
	key  uint64 // since the last next
	owed bool   // its value has not been read
	bad  bool
}

func newPeek(b []byte) peek {
	p := peek{rest: b}
	p.left = p.argument(protocol.MajorMap)
	return p
}

// next goes on to the next key; it reports false at the end.
func (p *peek) next() bool {
	if p.left == 0 || p.bad {
		return false
	}
	if p.owed {
		p.pass(1)
	}
	p.left--
	p.key = p.argument(protocol.MajorUint)
	p.owed = true
	return !p.bad
}

// head takes the head of an item: its major type and argument.
func (p *peek) head() (major byte, arg uint64) {
	if b := p.rest; len(b) > 0 && b[0]&^protocol.MajorMask < 24 { // nearly all are short
		p.rest = b[1:]
		return b[0] & protocol.MajorMask, uint64(b[0] &^ protocol.MajorMask)
	}
	return p.longHead()
}

func (p *peek) longHead() (major byte, arg uint64) {
	major, arg, rest, ok := protocol.ReadHead(p.rest)
	if !ok {
		p.bad = true
		return 0, 0
	}
	p.rest = rest
	return major, arg
}

// argument takes the head of an item of that type and returns its argument.
func (p *peek) argument(want byte) uint64 {
	major, arg := p.head()
	p.owed, p.bad = false, p.bad || major != want
	return arg
}

// pass takes so many whole items.
func (p *peek) pass(items uint64) {
	for left := items; left > 0 && !p.bad; left-- {
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

// What follows reads the value of the key, which must be of that type.

func (p *peek) uint() uint64 { return p.argument(protocol.MajorUint) }

// int is uint of a number that may be below 0.
func (p *peek) int() int64 {
	if len(p.rest) > 0 && p.rest[0]&protocol.MajorMask == protocol.MajorNint {
		return -1 - int64(p.argument(protocol.MajorNint))
	}
	return int64(p.argument(protocol.MajorUint))
}

func (p *peek) truth() bool {
	return p.argument(protocol.MajorOther) == protocol.SimpleTrue&^protocol.MajorMask
}

// bytes returns the value's bytes or text.
func (p *peek) bytes() []byte {
	major, n := p.head()
	p.owed, p.bad = false, p.bad || major != protocol.MajorBytes && major != protocol.MajorText
	return p.take(n)
}

// id reads bytes, which must be as many as to has.
func (p *peek) id(to []byte) {
	b := p.bytes()
	p.bad = p.bad || len(b) != len(to)
	copy(to, b)
}

// enter returns the value, a map, to be read; leave goes on behind it.
func (p *peek) enter() peek {
	p.owed = false
	v := newPeek(p.rest)
	v.bad = v.bad || p.bad
	return v
}

// leave goes on behind a map that was entered.
func (p *peek) leave(v *peek) {
	items := 2 * min(v.left, protocol.MapMax)
	if v.owed {
		items++
	}
	if p.left > 0 { // else nothing behind it is looked at
		v.pass(items)
	}
	p.rest, p.bad = v.rest, v.bad
}

func (p *peek) mark() (m protocol.Mark) {
	v := p.enter()
	for v.next() {
		switch v.key {
		case 1:
			m.Boot = v.uint()
		case 2:
			m.Sequence = v.uint()
		default:
		}
	}
	p.leave(&v)
	return m
}
