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
)

// errLine is every error of a line: the first cause is what why says.
var errLine = errors.New("the line is down")

// line is the connection to the hub. It bounds what the hub may send before any of it is
// kept, and lets a long write go on as long as it moves.
type line struct {
	net.Conn
	timeout time.Duration
	in      frame
	onFail  func(error) // told the first cause; set before use
	cause   atomic.Pointer[error]
}

func newLine(conn net.Conn, timeout time.Duration) *line {
	return &line{Conn: conn, timeout: timeout, onFail: func(error) {}}
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
		if err := l.SetWriteDeadline(time.Now().Add(l.timeout)); err != nil {
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
	return nil
}

var _ net.Conn = (*line)(nil)
