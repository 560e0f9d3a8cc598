package broker

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"time"

	"github.com/stavily/stavily/protocol"
)

// replayed is a connection that is read from its first byte again.
type replayed struct {
	net.Conn
	from io.Reader
}

// Read returns what was read before, and then what comes.
func (r replayed) Read(p []byte) (int, error) { return r.from.Read(p) }

// listening is a connection that answers nothing.
type listening struct {
	net.Conn
	heard *bytes.Buffer
}

// Read remembers what it returns.
func (l listening) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	l.heard.Write(p[:n])
	return n, err
}

// Write takes p and sends nothing.
func (listening) Write(p []byte) (int, error) { return len(p), nil }

// Close leaves the connection open.
func (listening) Close() error { return nil }

// errPeeked ends a handshake of which only the first word was wanted.
var errPeeked = errors.New("peeked")

// peek reads the first word of a TLS client, without an answer, and returns whether it wants to
// join, and the connection as it was before. The reader's own bounds hold: see budget.
func peek(conn net.Conn) (joins bool, again net.Conn, err error) {
	var heard bytes.Buffer
	hello := tls.Server(listening{conn, &heard}, &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			joins = slices.Contains(h.SupportedProtos, protocol.ALPNJoin) &&
				!slices.Contains(h.SupportedProtos, protocol.ALPNLink)
			return nil, errPeeked
		},
	})
	if err = hello.Handshake(); errors.Is(err, errPeeked) {
		err = nil
	}
	return joins, replayed{conn, io.MultiReader(&heard, conn)}, err
}

// tunnel hands a joining connection on as it came.
func (b *Broker) tunnel(ctx context.Context, conn net.Conn, limited *budget) {
	leave := b.joins(conn)
	if leave == nil {
		return
	}
	defer leave()
	defer b.recovered("tunnel", protocol.Address{}, nil)
	ctx, cancel := context.WithTimeout(ctx, b.caps.JoinDeadline)
	defer cancel()
	limited.left.Store(4 * protocol.MessageMax) // one request, with its handshake
	_ = conn.SetDeadline(time.Now().Add(b.caps.JoinDeadline))
	b.cfg.Tunnel(ctx, conn)
}
