package wasmhost

import (
	"encoding/binary"
	"time"

	"github.com/tetratelabs/wazero/api"
)

const (
	clockReal      = 0
	clockMonotonic = 1
	clockLast      = 3 // the CPU time of process and thread, which a guest has not

	// clockStep is the resolution of both clocks in nanoseconds.
	clockStep = 1000

	// randomStep is how much randomness is drawn before the guest's end is looked for.
	randomStep = 64 << 10

	subscriptionSize = 48
	eventSize        = 32
	// subscriptionsMax bounds one poll.
	subscriptionsMax = 1024
)

// now returns a clock's time in nanoseconds.
func (w *world) now(id uint32) int64 {
	if w.tape != nil {
		return w.tape.clock(id, w.in, w.clock)
	}
	return w.clock(id)
}

func (w *world) clock(id uint32) int64 {
	if id == clockReal {
		return w.in.clock().UnixNano()
	}
	return int64(w.in.clock().Sub(w.born) + time.Second) // not from zero: Go refuses to start then
}

// knownClock says what is wrong with a clock's number.
func knownClock(id uint32) wasiErrno {
	switch {
	case id <= clockMonotonic:
		return wasiOK
	case id <= clockLast:
		return wasiNotsup
	}
	return wasiInval
}

func clockResGet(_ *world, m api.Memory, a []uint64) wasiErrno {
	if e := knownClock(uint32(a[0])); e != wasiOK {
		return e
	}
	if !m.WriteUint64Le(uint32(a[1]), clockStep) {
		return wasiFault
	}
	return wasiOK
}

func clockTimeGet(w *world, m api.Memory, a []uint64) wasiErrno {
	id := uint32(a[0])
	if e := knownClock(id); e != wasiOK {
		return e
	}
	if _, ok := m.Read(uint32(a[2]), 8); !ok {
		return wasiFault
	}
	m.WriteUint64Le(uint32(a[2]), uint64(w.now(id)))
	return wasiOK
}

func randomGet(w *world, m api.Memory, a []uint64) wasiErrno {
	b, ok := m.Read(uint32(a[0]), uint32(a[1]))
	if !ok {
		return wasiFault
	}
	for len(b) > 0 {
		w.checkAlive()
		part := b[:min(len(b), randomStep)]
		if w.draw(part) != nil {
			return wasiIO
		}
		b = b[len(part):]
	}
	return wasiOK
}

// subscription is one thing that a guest waits for.
type subscription struct {
	user  uint64
	kind  byte
	fd    uint32
	wait  time.Duration // of a clock, from now
	errno wasiErrno
	ready bool
	bytes uint64 // that can be read
	flags uint16
}

// The kinds of subscriptions, and what an event can say of a stream.
const (
	pollClock = 0
	pollRead  = 1
	pollWrite = 2

	pollHangup = 1
)

func pollOneoff(w *world, m api.Memory, a []uint64) wasiErrno {
	n := uint32(a[2])
	if n == 0 || n > subscriptionsMax {
		return wasiInval
	}
	in, ok := m.Read(uint32(a[0]), n*subscriptionSize)
	if !ok {
		return wasiFault
	}
	out, ok := m.Read(uint32(a[1]), n*eventSize)
	if !ok {
		return wasiFault
	}
	if _, ok := m.Read(uint32(a[3]), 4); !ok {
		return wasiFault
	}
	subs := make([]subscription, n)
	for i := range subs {
		if e := w.subscribe(&subs[i], in[i*subscriptionSize:]); e != wasiOK {
			return e
		}
	}
	w.wait(subs)
	m.WriteUint32Le(uint32(a[3]), putEvents(out, subs))
	return wasiOK
}

// subscribe reads one subscription, and says at once whether it has come true.
func (w *world) subscribe(s *subscription, b []byte) wasiErrno {
	le := binary.LittleEndian
	s.user, s.kind = le.Uint64(b), b[8]
	switch s.kind {
	case pollClock:
		id, timeout, flags := le.Uint32(b[16:]), le.Uint64(b[24:]), le.Uint16(b[40:])
		if flags > 1 {
			return wasiInval
		}
		if s.errno = knownClock(id); s.errno == wasiOK {
			s.wait = time.Duration(min(timeout, 1<<62))
			if flags == 1 { // absolute
				s.wait -= time.Duration(w.now(id))
			}
		}
		s.ready = s.errno != wasiOK || s.wait <= 0
	case pollRead, pollWrite:
		s.fd = le.Uint32(b[16:])
		w.look(s)
	default:
		return wasiInval
	}
	return wasiOK
}

// look says whether a stream can be read or written at once. Whether stdin can is found
// out by wait.
func (w *world) look(s *subscription) {
	f := w.file(s.fd)
	s.ready = true
	switch {
	case f == nil:
		s.errno = wasiBadf
	case f.node != nil && s.kind == pollRead && !f.node.dir:
		s.bytes = uint64(max(f.node.size-f.at, 0))
	case f.node != nil, (s.fd == 0) != (s.kind == pollRead):
		s.errno = wasiBadf
	default:
		s.ready = s.kind == pollWrite
	}
}

// wait waits until something of subs has come true.
func (w *world) wait(subs []subscription) {
	least, input, ready := time.Duration(-1), false, false
	for _, s := range subs {
		ready = ready || s.ready
		input = input || !s.ready && s.kind == pollRead
		if s.kind == pollClock && (least < 0 || s.wait < least) {
			least = s.wait
		}
	}
	if ready {
		least = 0
	}
	switch {
	case input:
		n, eof, came := w.await(least)
		for i := range subs {
			if s := &subs[i]; came && s.kind == pollRead && !s.ready {
				s.ready, s.bytes = true, uint64(n)
				if eof {
					s.flags = pollHangup
				}
			}
		}
		if came {
			return
		}
	case least > 0:
		w.sleep(least)
	}
	for i := range subs {
		if s := &subs[i]; !ready && s.kind == pollClock && s.wait <= least {
			s.ready = true
		}
	}
}

// sleep waits, and ends with the guest.
func (w *world) sleep(d time.Duration) {
	if w.tape == nil || !w.tape.replaying {
		w.in.rests()
		w.in.sleep(d)
		w.in.woke()
	}
	w.checkAlive()
}

// putEvents writes what has come true and returns how much that is.
func putEvents(out []byte, subs []subscription) (n uint32) {
	le := binary.LittleEndian
	for _, s := range subs {
		if !s.ready {
			continue
		}
		b := out[n*eventSize : (n+1)*eventSize]
		clear(b)
		le.PutUint64(b, s.user)
		le.PutUint16(b[8:], uint16(s.errno))
		b[10] = s.kind
		le.PutUint64(b[16:], s.bytes)
		le.PutUint16(b[24:], s.flags)
		n++
	}
	return n
}
