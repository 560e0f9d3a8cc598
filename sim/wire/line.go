// Package wire is connections in bad weather: pairs of net.Conn in this process whose
// bytes arrive late, stall, or never come. A Line is what connects one device with the
// rest of the world; all its connections share its weather, which may change at any time.
//
// Nothing here opens a socket, so that it works in the virtual time of testing/synctest
// too; what is to reach a real one is pumped there by the caller.
package wire

import (
	"errors"
	"math"
	"net"
	"slices"
	"sync"
	"time"
)

// Way is a direction of a line.
type Way uint8

// Up is from the device that dials, Down is to it.
const (
	Up Way = iota
	Down
)

// Shape is what a line is like on an ordinary day.
type Shape struct {
	// Latency is how long a byte is on its way, evenly spread by Jitter to both sides.
	Latency, Jitter time.Duration
	// Loss is the share of packets that must be sent again, 0 to below 1. Since a
	// connection keeps its order, a loss is a stall of all that follows.
	Loss float64
	// Bandwidth is in bytes a second each way; 0 is no bound.
	Bandwidth float64
}

const (
	// bufferMax bounds the bytes under way in one direction of one connection; whoever
	// writes more waits, as on a socket.
	bufferMax = 64 << 10
	// packetMax is how many bytes can be lost at once, retransmit how long the first loss
	// holds up a line at the least, and lossesMax bounds the losses in a row.
	packetMax  = 1400
	retransmit = 200 * time.Millisecond
	lossesMax  = 6
)

// ErrDown is the error of a connection that was cut and of one that finds no line.
var ErrDown = errors.New("wire: the line is down")

// Line is the line of one device. Its methods may be called from any goroutine.
type Line struct {
	// Shape and Unit, which draws from 0 to below 1, must not change once in use. Unit is
	// called by one goroutine at a time.
	Shape Shape
	Unit  func() float64
	// Count is told of all bytes that are put on the line. It may be nil.
	Count func(way Way, bytes int)
	// Addr is the device's address, as the other end sees it.
	Addr net.Addr

	mu      sync.Mutex // guards the fields below
	blocked [2]int
	shut    int
	pairs   []*pair
}

// pair is one connection.
type pair struct{ lanes [2]*lane }

// Connect opens a connection: near is the device's end, far the other. The error is
// ErrDown while the line is shut.
func (l *Line) Connect() (near, far net.Conn, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut > 0 {
		return nil, nil, ErrDown
	}
	p := &pair{}
	for way := range p.lanes {
		p.lanes[way] = &lane{line: l, way: Way(way), changed: make(chan struct{}), blocked: l.blocked[way] > 0}
	}
	l.pairs = append(slices.DeleteFunc(l.pairs, (*pair).over), p)
	return &end{in: p.lanes[Down], out: p.lanes[Up], addr: l.Addr}, &end{
		in: p.lanes[Up], out: p.lanes[Down], addr: l.Addr,
	}, nil
}

// Block holds all bytes of a direction, by 1, or lets them go, by -1. Blocks add up.
func (l *Line) Block(way Way, by int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blocked[way] += by
	for _, p := range l.pairs {
		p.lanes[way].block(l.blocked[way] > 0)
	}
}

// Shut cuts the line and refuses connections, by 1, or takes them again, by -1.
func (l *Line) Shut(by int) {
	l.mu.Lock()
	l.shut += by
	shut := l.shut > 0
	l.mu.Unlock()
	if shut {
		l.Cut()
	}
}

// Cut breaks all connections at once. What is under way is lost.
func (l *Line) Cut() {
	l.mu.Lock()
	pairs := l.pairs
	l.pairs = nil
	l.mu.Unlock()
	for _, p := range pairs {
		for _, way := range p.lanes {
			way.cut()
		}
	}
}

// delay draws how long n bytes are held up by losses, and how long they are on their way.
func (l *Line) delay(n int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	took := l.Shape.Latency
	if l.Shape.Jitter > 0 {
		took += time.Duration((2*l.Unit() - 1) * float64(l.Shape.Jitter))
	}
	if l.Shape.Loss <= 0 {
		return max(0, took)
	}
	p := 1 - math.Pow(1-l.Shape.Loss, float64(1+n/packetMax))
	pause := max(retransmit, 2*l.Shape.Latency)
	for range lossesMax {
		if l.Unit() >= p {
			break
		}
		took += pause
		pause *= 2
	}
	return max(0, took)
}

func (l *Line) count(way Way, n int) {
	if l.Count != nil {
		l.Count(way, n)
	}
}

// over reports whether neither end uses the connection any more.
func (p *pair) over() bool { return p.lanes[Up].over() && p.lanes[Down].over() }
