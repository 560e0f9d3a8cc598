package disk

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/stavily/stavily/protocol"
)

// A frame is what one call of Apply writes, whole or not at all:
//
//	4 bytes  length of the payload, little endian
//	4 bytes  CRC-32C of the segment's number, the frame's offset and the payload
//	2 bytes  of the CRC-32C of the same place and the eight bytes above
//	payload  its kind, then what the kind says
//
// A frame is good only in its own place, so that what an old file left on the medium is
// never taken for one. The payload of kindChanges goes on with the number of bytes before
// the frame that were not synced when it was written, and then its operations.
const headerSize = 10

const (
	kindChanges  = 1
	kindSnapshot = 2
)

// payloadMax bounds a frame, against a length that is none.
const payloadMax = 256 << 20

var crcTable = crc32.MakeTable(crc32.Castagnoli)

// place is where a frame stands.
type place struct {
	segment uint64
	offset  int64
}

func (p place) sum(b []byte) uint32 {
	var seed [16]byte
	binary.LittleEndian.PutUint64(seed[:], p.segment)
	binary.LittleEndian.PutUint64(seed[8:], uint64(p.offset))
	return crc32.Update(crc32.Checksum(seed[:], crcTable), crcTable, b)
}

// seal fills the header of a frame, whose payload stands behind headerSize free bytes.
func seal(frame []byte, at place) {
	payload := frame[headerSize:]
	binary.LittleEndian.PutUint32(frame, uint32(len(payload)))
	binary.LittleEndian.PutUint32(frame[4:], at.sum(payload))
	binary.LittleEndian.PutUint16(frame[8:], uint16(at.sum(frame[:8])))
}

// lengthOf returns the payload's length as a header says it; 0 when it is none.
func lengthOf(header []byte, at place) int {
	n := binary.LittleEndian.Uint32(header)
	if n == 0 || n > payloadMax || binary.LittleEndian.Uint16(header[8:]) != uint16(at.sum(header[:8])) {
		return 0
	}
	return int(n)
}

// payloadOf returns the payload of the frame that b begins with, nil if that is not a
// good one.
func payloadOf(b []byte, at place) []byte {
	if len(b) < headerSize {
		return nil
	}
	n := lengthOf(b, at)
	if n == 0 || n > len(b)-headerSize {
		return nil
	}
	payload := b[headerSize : headerSize+n]
	if binary.LittleEndian.Uint32(b[4:]) != at.sum(payload) {
		return nil
	}
	return payload
}

// The operations of a frame, with a lane in the lower half of the byte where they are
// about a record.
const (
	opSet    = 0x01 // key, value
	opRemove = 0x02 // key
	opRecord = 0x10 // mark, value: a record at the end of its lane
	opTrim   = 0x20 // mark: of the lane, this record and all before are gone
	opHole   = 0x30 // mark: this record is gone
)

// op is one operation. Its slices are the frame's.
type op struct {
	code  byte // without the lane
	lane  protocol.Lane
	mark  protocol.Mark
	key   []byte
	value []byte
}

// reader takes a payload apart. After the first fault nothing more comes.
type reader struct {
	b      []byte
	at     int
	broken bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b[r.at:])
	if n <= 0 {
		r.broken = true
		r.at = len(r.b)
		return 0
	}
	r.at += n
	return v
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)-r.at) {
		r.broken = true
		r.at = len(r.b)
		return nil
	}
	b := r.b[r.at : r.at+int(n) : r.at+int(n)]
	r.at += int(n)
	return b
}

func (r *reader) mark() protocol.Mark {
	boot := r.uvarint()
	return protocol.Mark{Boot: boot, Sequence: r.uvarint()}
}

// next returns the next operation, false at the end and at a fault.
func (r *reader) next() (o op, ok bool) {
	if r.at >= len(r.b) {
		return o, false
	}
	code := r.b[r.at]
	r.at++
	switch code {
	case opSet:
		o = op{code: code, key: r.bytes(), value: r.bytes()}
	case opRemove:
		o = op{code: code, key: r.bytes()}
	default:
		o = op{code: code & 0xf0, lane: protocol.Lane(code & 0x0f)}
		o.mark = r.mark()
		switch o.code {
		case opRecord:
			o.value = r.bytes()
		case opTrim, opHole:
		default:
			r.broken = true
		}
	}
	return o, !r.broken
}

// changesOf begins to read a payload of kindChanges: unsynced is what its writer says of
// the bytes before it.
func changesOf(payload []byte) (r reader, unsynced int64, ok bool) {
	r = reader{b: payload, at: 1}
	unsynced = int64(min(r.uvarint(), payloadMax))
	return r, unsynced, payload[0] == kindChanges && !r.broken
}

func appendMark(b []byte, m protocol.Mark) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, m.Boot), m.Sequence)
}

func appendBytes[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
