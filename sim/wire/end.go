package wire

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// end is one end of a connection.
type end struct {
	in, out     *lane
	addr        net.Addr
	read, wrote deadline
}

// deadline is a moment that may change while somebody waits for it.
type deadline struct{ at atomic.Pointer[time.Time] }

func (d *deadline) get() time.Time {
	if t := d.at.Load(); t != nil {
		return *t
	}
	return time.Time{}
}

// Read returns what has arrived.
func (e *end) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return e.in.read(p, e.read.get)
}

// Write puts p on the line and waits only while the line is full.
func (e *end) Write(p []byte) (int, error) { return e.out.write(p, e.wrote.get) }

// Close ends both directions. What was written still arrives.
func (e *end) Close() error {
	e.out.set(func() { e.out.ended = true })
	e.in.set(func() { e.in.gone, e.in.chunks, e.in.size = true, nil, 0 })
	return nil
}

// LocalAddr and RemoteAddr are the device's address.
func (e *end) LocalAddr() net.Addr { return e.addr }

// RemoteAddr is as LocalAddr.
func (e *end) RemoteAddr() net.Addr { return e.addr }

// SetDeadline sets both deadlines.
func (e *end) SetDeadline(t time.Time) error {
	_ = e.SetReadDeadline(t) // neither has an error
	return e.SetWriteDeadline(t)
}

// SetReadDeadline ends reads at t.
func (e *end) SetReadDeadline(t time.Time) error {
	e.in.set(func() { e.read.at.Store(&t) })
	return nil
}

// SetWriteDeadline ends writes at t.
func (e *end) SetWriteDeadline(t time.Time) error {
	e.out.set(func() { e.wrote.at.Store(&t) })
	return nil
}

// Addr is an address in this process.
type Addr string

// Network returns "wire".
func (Addr) Network() string { return "wire" }

// String returns the address.
func (a Addr) String() string { return string(a) }

// waitingMax bounds the connections that wait to be accepted.
const waitingMax = 1024

// Listener accepts connections of this process.
type Listener struct {
	waiting chan net.Conn
	closed  chan struct{}
	once    sync.Once // closes closed
}

// NewListener returns a listener that is open.
func NewListener() *Listener {
	return &Listener{waiting: make(chan net.Conn, waitingMax), closed: make(chan struct{})}
}

// Hand gives a connection to the next Accept. The error is net.ErrClosed or that of ctx.
func (l *Listener) Hand(ctx context.Context, conn net.Conn) error {
	select {
	case <-l.closed:
		return net.ErrClosed
	default:
	}
	select {
	case l.waiting <- conn:
		return nil
	case <-l.closed:
		return net.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Dial returns the near end of a plain connection to the listener.
func (l *Listener) Dial(ctx context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	if err := l.Hand(ctx, far); err != nil {
		return nil, err
	}
	return near, nil
}

// Accept returns the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.waiting:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends the listener, and the connections that nobody accepted.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	for {
		select {
		case conn := <-l.waiting:
			_ = conn.Close()
		default:
			return nil
		}
	}
}

// Addr says that there is no address.
func (*Listener) Addr() net.Addr { return Addr("wire") }

var (
	_ net.Conn     = (*end)(nil)
	_ net.Listener = (*Listener)(nil)
)
