package mqtt

import (
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/stavily/stavily/protocol"
)

const (
	writePiece = 16 << 10 // each piece has the write timeout for itself
	frameMax   = 2 + protocol.TopicMax + 2 + protocol.MessageMax

	typeSuback = 9
)

// errLine is every error of a line. paho takes an error that says "use of closed
// network connection" for one of its own making and then never cleans up.
var errLine = errors.New("the line is down")

// line is the connection that paho gets. It bounds what the hub may send, as paho
// does not, and lets a long write go on as long as it moves.
type line struct {
	net.Conn
	timeout time.Duration
	in      frame
	asked   atomic.Int32 // filters of the SUBSCRIBE that is under way
	onFail  func(error)  // told the first cause; set before use
	cause   atomic.Pointer[error]
}

func newLine(conn net.Conn, timeout time.Duration) *line {
	l := &line{Conn: conn, timeout: timeout, onFail: func(error) {}}
	l.in.suback = func(size int) bool { return size == 2+int(l.asked.Load()) }
	return l
}

// Read returns what the hub sent, once its framing was checked.
func (l *line) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if bad := l.in.feed(p[:n]); bad != nil {
		return 0, l.fail(bad)
	}
	if err != nil {
		return n, l.fail(err)
	}
	return n, nil
}

// Write gives each piece its own deadline.
func (l *line) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		piece := p[done:min(len(p), done+writePiece)]
		if err := l.Conn.SetWriteDeadline(time.Now().Add(l.timeout)); err != nil {
			return done, l.fail(err)
		}
		n, err := l.Conn.Write(piece)
		done += n
		if err != nil {
			return done, l.fail(err)
		}
	}
	return done, nil
}

// SetWriteDeadline does nothing: Write sets its own.
func (l *line) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline is for reading only.
func (l *line) SetDeadline(t time.Time) error { return l.SetReadDeadline(t) }

// fail remembers the first cause and closes.
func (l *line) fail(err error) error {
	if l.cause.CompareAndSwap(nil, &err) {
		l.onFail(err)
	}
	_ = l.Close() // there is nobody to tell
	return errLine
}

// why returns the first cause, or nil.
func (l *line) why() error {
	if p := l.cause.Load(); p != nil {
		return *p
	}
	return nil
}

// frame follows the fixed headers of a byte stream of MQTT.
type frame struct {
	suback func(size int) bool // whether a SUBACK of that size is due

	kind  byte
	size  int
	digit int // bytes of the remaining length read; header 0 is the type
	begun bool
	left  int // of the body
}

func (f *frame) feed(p []byte) error {
	for len(p) > 0 {
		if f.left > 0 {
			n := min(f.left, len(p))
			f.left -= n
			p = p[n:]
			continue
		}
		if err := f.header(p[0]); err != nil {
			return err
		}
		p = p[1:]
	}
	return nil
}

func (f *frame) header(b byte) error {
	if !f.begun {
		f.begun, f.kind, f.size, f.digit = true, b>>4, 0, 0
		return nil
	}
	if f.digit == 4 {
		return protocol.Errorf(protocol.CodeBadMessage, "remaining length: over 4 bytes")
	}
	f.size |= int(b&0x7f) << (7 * f.digit)
	f.digit++
	if b&0x80 != 0 {
		return nil
	}
	f.begun, f.left = false, f.size
	if f.size > frameMax {
		return protocol.Errorf(protocol.CodeLimit, "packet type %d of %d bytes, limit %d", f.kind, f.size, frameMax)
	}
	if f.kind == typeSuback && !f.suback(f.size) {
		// paho answers it with an index out of range.
		return protocol.Errorf(protocol.CodeBadMessage, "SUBACK of %d bytes: not what was asked", f.size)
	}
	return nil
}

var _ net.Conn = (*line)(nil)
