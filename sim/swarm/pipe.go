package swarm

import (
	"context"
	"net"
	"sync"
)

// pipes is a listener whose connections stay in this process.
type pipes struct {
	waiting chan net.Conn
	closed  chan struct{}
	once    sync.Once // closes closed
}

// pipesMax bounds the connections that wait to be accepted.
const pipesMax = 1024

func newPipes() *pipes {
	return &pipes{waiting: make(chan net.Conn, pipesMax), closed: make(chan struct{})}
}

// Dial returns the near end of a new connection.
func (p *pipes) Dial(ctx context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.waiting <- far:
		return near, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept returns the far end of the next one.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.waiting:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close ends the listener.
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr says that there is no address.
func (p *pipes) Addr() net.Addr { return address{} }

type address struct{}

func (address) Network() string { return "pipe" }
func (address) String() string  { return "pipe" }

var _ net.Listener = (*pipes)(nil)
