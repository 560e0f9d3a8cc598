package wasmhost

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/stavily/stavily/protocol"
)

// The bounds of tcp.read, bytes.
const (
	tcpReadDefault = 4 << 10
	tcpReadMax     = 64 << 10
)

// longAgo as a deadline ends what waits.
var longAgo = time.Unix(1, 0)

// socket is one connection of a plugin.
type socket struct {
	target target
	addr   netip.AddrPort
	gauged *gauged
	conn   net.Conn // gauged, or TLS over it
}

// abort closes a socket without a word to the other side.
func (s *socket) abort() { _ = s.gauged.Close() }

// do runs a read or a write that ends with ctx, and leaves the socket's deadline unset.
func (s *socket) do(ctx context.Context, op func([]byte) (int, error), p []byte) (int, error) {
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = s.conn.SetDeadline(longAgo)
		close(ended)
	})
	n, err := op(p)
	if !stop() {
		<-ended
		_ = s.conn.SetDeadline(time.Time{})
	}
	return n, err
}

// sockets holds the connections of one request, which end with it.
type sockets struct {
	open map[uint64]*socket
	last uint64
}

func (s *sockets) add(one *socket) uint64 {
	if s.open == nil {
		s.open = map[uint64]*socket{}
	}
	s.last++
	s.open[s.last] = one
	return s.last
}

func (s *sockets) close() {
	for n, one := range s.open {
		one.abort()
		delete(s.open, n)
	}
}

// drop closes one connection at once.
func (s *sockets) drop(n uint64) {
	s.open[n].abort()
	delete(s.open, n)
}

type tcpArgs struct {
	Host      string  `cbor:"host"`
	Port      uint16  `cbor:"port"`
	TLS       bool    `cbor:"tls"`
	Conn      uint64  `cbor:"conn"`
	Data      *string `cbor:"data"`
	Data64    *string `cbor:"data_base64"`
	Max       int64   `cbor:"max"`
	Base64    bool    `cbor:"base64"`
	TimeoutMS int64   `cbor:"timeout_ms"`
}

func callTCPConnect(r *request, args protocol.Raw) (any, error) {
	var in tcpArgs
	if err := readArgs(args, &in); err != nil {
		return nil, err
	}
	host, err := hostOf(in.Host)
	if err != nil {
		return nil, err
	}
	if in.Port == 0 {
		return nil, protocol.Errorf(protocol.CodeBadInput, "port 0: want 1 to 65535")
	}
	ctx, cancel, limit := r.within(in.TimeoutMS)
	defer cancel()
	s, err := r.dial(ctx, &target{capability: protocol.CapTCP, host: host, port: in.Port, tls: in.TLS}, limit)
	if err != nil {
		return nil, err
	}
	return map[string]any{"conn": r.sockets.add(s), "address": s.addr.String()}, nil
}

// hostOf reads what a plugin calls a host: a name, or an address without brackets.
func hostOf(text string) (string, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return a.Unmap().String(), nil
	}
	name, ok := hostName(text)
	if !ok {
		return "", protocol.Errorf(protocol.CodeBadInput, "host %q: want a name in ASCII or an address",
			clip(text, 64))
	}
	return name, nil
}

// openSocket returns a connection of this request, if the scopes of now still allow it.
func (r *request) openSocket(args protocol.Raw) (in tcpArgs, s *socket, err error) {
	if err := readArgs(args, &in); err != nil {
		return in, nil, err
	}
	s = r.sockets.open[in.Conn]
	if s == nil {
		return in, nil, protocol.Errorf(protocol.CodeNotFound, "connection %d: not open in this request", in.Conn)
	}
	may := r.rules(protocol.CapTCP)
	if !may.reaches(s.addr.Addr(), s.target.port, may.named(s.target.host, s.target.port)) {
		r.sockets.drop(in.Conn)
		return in, nil, r.refuse(protocol.CapTCP, s.target.String())
	}
	return in, s, nil
}

// callTCPRead waits for bytes and returns those that are there. Only its own timeout
// leaves a failed connection open.
func callTCPRead(r *request, args protocol.Raw) (any, error) {
	in, s, err := r.openSocket(args)
	if err != nil {
		return nil, err
	}
	if in.Max <= 0 {
		in.Max = tcpReadDefault
	}
	ctx, cancel, _ := r.within(in.TimeoutMS)
	defer cancel()
	buf := make([]byte, min(in.Max, tcpReadMax))
	n, err := s.do(ctx, s.conn.Read, buf)
	out := map[string]any{"eof": errors.Is(err, io.EOF)}
	if n == 0 && err != nil && !errors.Is(err, io.EOF) {
		err := r.fault(ctx, s, "tcp.read", err)
		if protocol.CodeOf(err) != protocol.CodeDeadline {
			r.sockets.drop(in.Conn)
		}
		return nil, err
	}
	_ = field{"data", in.Base64, bytesRoom}.put(out, buf[:n]) // tcpReadMax fits
	return out, nil
}

// callTCPWrite writes all or fails; then nobody knows what has arrived, and the
// connection is closed.
func callTCPWrite(r *request, args protocol.Raw) (any, error) {
	in, s, err := r.openSocket(args)
	if err != nil {
		return nil, err
	}
	data, err := bytesOf("data", in.Data, in.Data64)
	if err != nil {
		return nil, err
	}
	ctx, cancel, _ := r.within(in.TimeoutMS)
	defer cancel()
	n, err := s.do(ctx, s.conn.Write, data)
	if err != nil {
		r.sockets.drop(in.Conn)
		return nil, r.fault(ctx, s, "tcp.write", err)
	}
	return map[string]any{"size": n}, nil
}

// callTCPClose closes a connection. One that is gone already is no error.
func callTCPClose(r *request, args protocol.Raw) (any, error) {
	var in tcpArgs
	if err := readArgs(args, &in); err != nil {
		return nil, err
	}
	s := r.sockets.open[in.Conn]
	if s == nil {
		return nil, nil
	}
	delete(r.sockets.open, in.Conn)
	ctx, cancel, _ := r.within(in.TimeoutMS)
	defer cancel()
	defer context.AfterFunc(ctx, s.abort)()
	_ = s.conn.Close()
	return nil, nil
}
