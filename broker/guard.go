package broker

import (
	"bufio"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stavily/stavily/protocol"
)

const (
	readBuffer = 1 << 10  // of one connection; longer payloads pass it by
	writePiece = 16 << 10 // each piece has the write deadline for itself
	keepBuffer = 4 << 10  // an idle connection keeps no larger write buffer
)

// guard is the connection that mochi gets instead of the real one.
//
// Read gives whole, checked packets. Write never waits: it appends, and one goroutine,
// which lives only while there is something to write, sends. So mochi never holds its
// locks while an agent does not read.
type guard struct {
	conn    net.Conn
	caps    Caps
	reader  packetReader
	rate    bucket
	onError func(kind packetType, err error) // a packet that did not pass

	unread []byte                        // of the packet being read; read loop only
	seen   packetType                    // the last packet; read loop only
	left   bool                          // DISCONNECT has come; read loop only
	done   chan struct{}                 // closed when nothing more is read
	gone   chan struct{}                 // closed when the real connection is closed
	heard  atomic.Pointer[chan struct{}] // closed when a packet comes, when set

	mu      sync.Mutex // guards the fields below
	out     []byte     // to be written
	spare   []byte     // the other buffer, when it is not being written
	writing int        // bytes being written
	flushes bool       // flush runs
	closing bool       // no more is taken; the rest is flushed
	closed  bool
}

func newGuard(conn net.Conn, caps Caps, onError func(packetType, error)) *guard {
	g := &guard{
		conn: conn, caps: caps, onError: onError,
		done: make(chan struct{}), gone: make(chan struct{}),
	}
	g.reader = packetReader{
		src:          bufio.NewReaderSize(conn, readBuffer),
		keepaliveMax: uint16(caps.KeepaliveMax / time.Second),
	}
	g.rate = bucket{rate: caps.Rate, burst: float64(caps.Burst), level: float64(caps.Burst), last: time.Now()}
	return g
}

// Read returns bytes of checked packets only.
func (g *guard) Read(p []byte) (int, error) {
	if len(g.unread) == 0 {
		if err := g.readPacket(); err != nil {
			return 0, err
		}
	}
	n := copy(p, g.unread)
	g.unread = g.unread[n:]
	return n, nil
}

func (g *guard) readPacket() error {
	packet, kind, err := g.reader.next()
	if err != nil {
		if protocol.CodeOf(err) != protocol.CodeInternal {
			g.onError(kind, err)
			g.abort()
		}
		return err
	}
	if ch := g.heard.Swap(nil); ch != nil {
		close(*ch)
	}
	g.seen = kind
	g.left = kind == typeDisconnect
	if kind == typePublish && !g.pause(g.rate.take(time.Now())) {
		return net.ErrClosed
	}
	g.unread = packet
	return nil
}

// pause holds the reader back, which holds the sender back. It returns false when the
// connection was closed meanwhile.
func (g *guard) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-g.done:
		return false
	}
}

// nextHeard returns a channel that is closed when the next packet comes.
func (g *guard) nextHeard() <-chan struct{} {
	ch := make(chan struct{})
	g.heard.Store(&ch)
	return ch
}

// Write takes p or closes the connection: a line with more waiting than can be in
// flight belongs to an agent that does not read.
func (g *guard) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closing || g.closed {
		return 0, net.ErrClosed
	}
	if len(g.out)+g.writing+len(p) > g.caps.backlogMax() {
		g.shut()
		return 0, protocol.Errorf(protocol.CodeLimit, "write: %d bytes wait, limit %d",
			len(g.out)+g.writing, g.caps.backlogMax())
	}
	if g.out == nil {
		g.out, g.spare = g.spare[:0], nil
	}
	g.out = append(g.out, p...)
	if !g.flushes {
		g.flushes = true
		go g.flush()
	}
	return len(p), nil
}

// flush writes until nothing waits. It closes the connection on the first error:
// mochi's own write loop would go on with the next message.
func (g *guard) flush() {
	for {
		buf := g.takeOut()
		if buf == nil {
			return
		}
		if err := g.writeOut(buf); err != nil {
			g.abort()
			return
		}
		g.giveBack(buf)
	}
}

func (g *guard) takeOut() []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.out) == 0 || g.closed {
		g.flushes = false
		if g.closing {
			g.shut()
		}
		return nil
	}
	buf := g.out
	g.out, g.writing = nil, len(buf)
	return buf
}

func (g *guard) giveBack(buf []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writing = 0
	if cap(buf) <= keepBuffer && g.spare == nil {
		g.spare = buf[:0]
	}
}

func (g *guard) writeOut(buf []byte) error {
	for len(buf) > 0 {
		n := min(len(buf), writePiece)
		if err := g.conn.SetWriteDeadline(time.Now().Add(g.caps.WriteDeadline)); err != nil {
			return err
		}
		if _, err := g.conn.Write(buf[:n]); err != nil {
			return err
		}
		buf = buf[n:]
	}
	return nil
}

// Close takes no more, lets what waits be written within the write deadline, and
// closes.
func (g *guard) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.closing {
		return nil
	}
	g.closing = true
	if !g.flushes {
		g.shut()
		return nil
	}
	close(g.done)
	return g.conn.SetReadDeadline(time.Unix(1, 0)) // the reader must not wait
}

// abort closes at once; what waits is lost.
func (g *guard) abort() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut()
}

// shut is abort for those who hold mu.
func (g *guard) shut() {
	if g.closed {
		return
	}
	g.closed = true
	g.out, g.spare = nil, nil
	select {
	case <-g.done:
	default:
		close(g.done)
	}
	go func() { // TLS says goodbye, which may take seconds
		_ = g.conn.Close() // there is nobody to tell
		close(g.gone)
	}()
}

// finish closes and returns when the real connection is closed.
func (g *guard) finish() {
	_ = g.Close()
	late := time.AfterFunc(g.caps.WriteDeadline, g.abort)
	defer late.Stop()
	<-g.gone
}

// SetDeadline is mochi's keepalive: one and a half times what the agent asked for.
// It is for reading only, writing has its own.
func (g *guard) SetDeadline(t time.Time) error { return g.SetReadDeadline(t) }

// SetReadDeadline never allows more than the longest keepalive.
func (g *guard) SetReadDeadline(t time.Time) error {
	last := time.Now().Add(g.caps.KeepaliveMax * 3 / 2)
	if t.IsZero() || t.After(last) {
		t = last
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closing || g.closed {
		return net.ErrClosed
	}
	return g.conn.SetReadDeadline(t)
}

// SetWriteDeadline does nothing: flush sets its own.
func (g *guard) SetWriteDeadline(time.Time) error { return nil }

// LocalAddr returns the address of this end.
func (g *guard) LocalAddr() net.Addr { return g.conn.LocalAddr() }

// RemoteAddr returns the address of the agent's end.
func (g *guard) RemoteAddr() net.Addr { return g.conn.RemoteAddr() }

// bucket is a token bucket. It has no lock: one read loop owns it.
type bucket struct {
	rate, burst, level float64
	last               time.Time
}

// take takes one token and returns how long to wait before it may be used.
func (b *bucket) take(now time.Time) time.Duration {
	b.level = min(b.burst, b.level+now.Sub(b.last).Seconds()*b.rate)
	b.last = now
	b.level--
	if b.level >= 0 {
		return 0
	}
	return time.Duration(-b.level / b.rate * float64(time.Second))
}

// budget is a raw socket that may give only so many bytes before login.
type budget struct {
	net.Conn
	left atomic.Int64 // bytes; at most zero once spent
	free atomic.Bool  // login has succeeded
}

var errBudget = errors.New("too many bytes before login")

// Read counts until login.
func (b *budget) Read(p []byte) (int, error) {
	if b.free.Load() {
		return b.Conn.Read(p)
	}
	left := b.left.Load()
	if left <= 0 {
		return 0, errBudget
	}
	if int64(len(p)) > left {
		p = p[:left]
	}
	n, err := b.Conn.Read(p)
	b.left.Add(-int64(n))
	return n, err
}

var (
	_ net.Conn  = (*guard)(nil)
	_ io.Reader = (*budget)(nil)
)
