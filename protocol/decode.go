package protocol

import (
	"bytes"
	"math"
	"unicode/utf8"
)

// What is in this file reads without reflection what comes most, at a sixth of the cost of
// Unmarshal: whatever stands as Marshal writes it. All else is left to Unmarshal, which
// alone says what is wrong and what is merely unusual, so that nothing is taken here that
// it would refuse or read otherwise.

// DecodeBatch is Unmarshal of a Batch. Its records are not b's bytes.
func DecodeBatch(b []byte) (Batch, error) {
	if len(b) <= MessageMax {
		b = bytes.Clone(b)
	}
	return decode(b, (*plain).batch)
}

// DecodeLaneAck is Unmarshal of a LaneAck.
func DecodeLaneAck(b []byte) (LaneAck, error) { return decode(b, (*plain).laneAck) }

// DecodeLaneAcks is Unmarshal of a LaneAck, or of an array of them.
func DecodeLaneAcks(b []byte) (LaneAcks, error) {
	if len(b) > 0 && b[0]&MajorMask == MajorArray {
		return decode(b, (*plain).laneAcks)
	}
	one, err := DecodeLaneAck(b)
	if err != nil {
		return nil, err
	}
	return LaneAcks{one}, nil
}

// DecodeEvent is Unmarshal of an Event. Its data may be b's bytes.
func DecodeEvent(b []byte) (Event, error) { return decode(b, (*plain).event) }

// DecodeResult is Unmarshal of a Result. Its data may be b's bytes.
func DecodeResult(b []byte) (Result, error) { return decode(b, (*plain).result) }

// decode reads what stands as Marshal writes it, and leaves all else to Unmarshal.
func decode[T any](b []byte, read func(*plain) T) (T, error) {
	if len(b) <= MessageMax {
		p := plain{b: b}
		if v := read(&p); p.ended() {
			return v, nil
		}
	}
	var v T
	err := Unmarshal(b, &v)
	return v, err
}

func (p *plain) batch() (v Batch) {
	for n, key := p.mapHead(), uint64(0); n > 0 && !p.odd; n-- {
		switch key = p.key(key); key {
		case 1:
			v.Epoch = p.uint(math.MaxUint64)
		case 2:
			v.Lane = Lane(p.uint(math.MaxUint8))
		case 3:
			v.Records = p.records()
		case 4:
			v.Steady = p.uint(math.MaxUint64)
		case 6:
			v.Together = p.truth()
		default:
			p.odd = true
		}
	}
	return v
}

func (p *plain) records() []Record {
	n := p.count(MajorArray, min(ArrayMax, uint64(len(p.b))))
	if p.odd {
		return nil
	}
	all := make([]Record, n)
	for i := 0; i < len(all) && !p.odd; i++ {
		all[i] = p.record()
	}
	return all
}

func (p *plain) record() (v Record) {
	for n, key := p.mapHead(), uint64(0); n > 0 && !p.odd; n-- {
		switch key = p.key(key); key {
		case 1:
			v.Mark = p.mark()
		case 2:
			v.Time = p.stamp()
		case 3:
			v.Body = p.raw(DepthMax - batchDepth - 1)
		case 4:
			v.Steady = p.uint(math.MaxUint64)
		default:
			p.odd = true
		}
	}
	return v
}

func (p *plain) laneAcks() LaneAcks {
	n := p.count(MajorArray, min(ArrayMax, uint64(len(p.b))))
	if p.odd {
		return nil
	}
	all := make(LaneAcks, n)
	for i := 0; i < len(all) && !p.odd; i++ {
		all[i] = p.laneAck()
	}
	return all
}

func (p *plain) laneAck() (v LaneAck) {
	for n, key := p.mapHead(), uint64(0); n > 0 && !p.odd; n-- {
		switch key = p.key(key); key {
		case 1:
			v.Epoch = p.uint(math.MaxUint64)
		case 2:
			v.Lane = Lane(p.uint(math.MaxUint8))
		case 3:
			v.Mark = p.mark()
		case 4:
			v.WaitMS = uint32(p.uint(math.MaxUint32))
		default:
			p.odd = true
		}
	}
	return v
}

func (p *plain) mark() (v Mark) {
	for n, key := p.mapHead(), uint64(0); n > 0 && !p.odd; n-- {
		switch key = p.key(key); key {
		case 1:
			v.Boot = p.uint(math.MaxUint64)
		case 2:
			v.Sequence = p.uint(math.MaxUint64)
		default:
			p.odd = true
		}
	}
	return v
}

func (p *plain) stamp() (v Stamp) {
	for n, key := p.mapHead(), uint64(0); n > 0 && !p.odd; n-- {
		switch key = p.key(key); key {
		case 1:
			v.UnixMS = p.int()
		case 2:
			v.Quality = Quality(p.uint(math.MaxUint8))
		default:
			p.odd = true
		}
	}
	return v
}

func (p *plain) event() (v Event) {
	for n, key := p.mapHead(), uint64(0); n > 0 && !p.odd; n-- {
		switch key = p.key(key); key {
		case 1:
			p.id(v.Run[:])
		case 2:
			v.Workflow = WorkflowName(p.text())
		case 3:
			v.Revision = p.uint(math.MaxUint64)
		case 4:
			v.Time = p.stamp()
		case 5:
			v.Data = p.raw(DepthMax - 1)
		default:
			p.odd = true
		}
	}
	return v
}

func (p *plain) result() (v Result) {
	for n, key := p.mapHead(), uint64(0); n > 0 && !p.odd; n-- {
		switch key = p.key(key); key {
		case 1:
			p.id(v.Run[:])
		case 2:
			v.Workflow = WorkflowName(p.text())
		case 3:
			v.Step = StepName(p.text())
		case 4:
			v.Type = pluginType(p.text())
		case 5:
			v.Status = Status(p.uint(math.MaxUint8))
		case 6:
			v.Error = p.error()
		case 7:
			v.Time = p.stamp()
		case 8:
			v.TookUS = p.int()
		case 9:
			v.Tries = uint32(p.uint(math.MaxUint32))
		case 10:
			v.Data = p.raw(DepthMax - 1)
		case 11:
			v.Last = p.truth()
		case 12:
			v.By = p.address()
		default:
			p.odd = true
		}
	}
	return v
}

func (p *plain) error() *Error {
	v := &Error{}
	for n, key := p.mapHead(), uint64(0); n > 0 && !p.odd; n-- {
		switch key = p.key(key); key {
		case 1:
			v.Code = Code(p.uint(math.MaxUint8))
		case 2:
			v.Text = string(p.text())
		default:
			p.odd = true
		}
	}
	return v
}

func (p *plain) address() (v Address) {
	for n, key := p.mapHead(), uint64(0); n > 0 && !p.odd; n-- {
		switch key = p.key(key); key {
		case 1:
			v.Site = Site(p.text())
		case 2:
			v.Agent = AgentName(p.text())
		default:
			p.odd = true
		}
	}
	return v
}

// pluginType returns b as a type; the known ones cost no allocation.
func pluginType(b []byte) PluginType {
	for _, known := range [...]PluginType{Trigger, Action, Output} {
		if string(b) == string(known) {
			return known
		}
	}
	return PluginType(b)
}

// plain reads items in core deterministic encoding, one behind the other.
type plain struct {
	b   []byte // what is left
	odd bool   // something was not as it is written here: nothing that was read counts
}

// ended reports whether all was read and nothing was odd.
func (p *plain) ended() bool { return !p.odd && len(p.b) == 0 }

// head takes the head of an item, which must be the shortest for its argument.
func (p *plain) head() (major byte, arg uint64) {
	if len(p.b) > 0 && p.b[0]&^MajorMask < 24 { // nearly all are so short
		first := p.b[0]
		p.b = p.b[1:]
		return first & MajorMask, uint64(first &^ MajorMask)
	}
	return p.longHead()
}

func (p *plain) longHead() (major byte, arg uint64) {
	major, arg, rest, ok := ReadHead(p.b)
	size := len(p.b) - len(rest)
	if !ok || size > 1 && (arg < 24 || size > 2 && arg>>(4*(size-1)) == 0) {
		p.odd = true
		return 0, 0
	}
	p.b = rest
	return major, arg
}

// count takes the head of an item of that type, whose argument is at most most.
func (p *plain) count(want byte, most uint64) uint64 {
	major, n := p.head()
	if major != want || n > most || p.odd {
		p.odd = true
		return 0
	}
	return n
}

func (p *plain) uint(most uint64) uint64 { return p.count(MajorUint, most) }

func (p *plain) int() int64 {
	major, n := p.head()
	switch {
	case n > math.MaxInt64:
	case major == MajorUint:
		return int64(n)
	case major == MajorNint:
		return ^int64(n)
	}
	p.odd = true
	return 0
}

// mapHead takes the head of a map and returns how many pairs follow.
func (p *plain) mapHead() uint64 { return p.count(MajorMap, MapMax) }

// key takes a key, which must be above the one before.
func (p *plain) key(before uint64) uint64 {
	k := p.uint(math.MaxUint64)
	p.odd = p.odd || k <= before
	return k
}

func (p *plain) take(n uint64) []byte {
	if n > uint64(len(p.b)) || p.odd {
		p.odd = true
		return nil
	}
	b := p.b[:n:n]
	p.b = p.b[n:]
	return b
}

// text takes a text; it is still the message's bytes.
func (p *plain) text() []byte {
	b := p.take(p.count(MajorText, MessageMax))
	p.odd = p.odd || !utf8.Valid(b)
	return b
}

// id takes a byte string, which must be as long as to.
func (p *plain) id(to []byte) {
	b := p.take(p.count(MajorBytes, MessageMax))
	p.odd = p.odd || len(b) != len(to)
	copy(to, b)
}

func (p *plain) truth() bool {
	b := p.take(1)
	p.odd = p.odd || len(b) != 1 || b[0] != SimpleTrue && b[0] != SimpleFalse
	return !p.odd && b[0] == SimpleTrue
}

// raw takes one item that nests at most so deep.
func (p *plain) raw(depth int) Raw {
	all := p.b
	p.skip(depth)
	if p.odd {
		return nil
	}
	n := len(all) - len(p.b)
	return Raw(all[:n:n])
}

// skip passes over one item. Floats are told from other simple values by their heads,
// which are no shortest ones.
func (p *plain) skip(depth int) {
	if len(p.b) == 0 {
		p.odd = true
		return
	}
	switch first := p.b[0]; {
	case first >= SimpleFalse && first <= SimpleNull:
		p.take(1)
		return
	case first >= Float16 && first <= Float64:
		p.take(1 + 2<<(first-Float16))
		return
	}
	major, n := p.head()
	switch major {
	case MajorUint, MajorNint:
	case MajorBytes, MajorText:
		p.take(n)
	case MajorArray:
		p.items(n, ArrayMax, depth)
	case MajorMap:
		p.items(2*min(n, MapMax+1), 2*MapMax, depth)
	default:
		p.odd = true
	}
}

func (p *plain) items(n, most uint64, depth int) {
	if n > most || depth < 1 {
		p.odd = true
	}
	for ; n > 0 && !p.odd; n-- {
		p.skip(depth - 1)
	}
}
