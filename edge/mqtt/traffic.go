package mqtt

import (
	"net"
	"sync/atomic"
)

// Traffic counts the bytes of connections as TCP carries them, both ways, TLS and its
// handshakes with them; headers of TCP and IP are not seen from here. Its zero value is ready.
type Traffic struct{ bytes atomic.Uint64 }

// Bytes returns how many there were. It may be called from any goroutine.
func (t *Traffic) Bytes() uint64 { return t.bytes.Load() }

// counted is a connection whose bytes are counted.
type counted struct {
	net.Conn
	by *Traffic
}

// Read reads, and counts.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.by.bytes.Add(uint64(n))
	return n, err
}

// Write writes, and counts.
func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.by.bytes.Add(uint64(n))
	return n, err
}

var _ net.Conn = (*counted)(nil)
