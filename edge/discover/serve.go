package discover

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/stavily/stavily/protocol"
)

// Server has a gateway be found in one place.
type Server struct {
	conn      *net.UDPConn
	place     Place
	responder *Responder
	to        netip.AddrPort // all
}

// Listen begins to listen in a place for those who ask at port, Port or that of a test, 0 for
// any. gateway is where the gateway listens: an address that is not of the place is told to
// nobody there.
func Listen(p Place, port uint16, a protocol.Address, gateway netip.AddrPort) (*Server, error) {
	s := Self{Address: a, Port: gateway.Port()}
	at := gateway.Addr().Unmap()
	for _, prefix := range p.Prefixes {
		own := prefix.Addr()
		if !worthADial(own, own) || at.IsValid() && !at.IsUnspecified() && at != own {
			continue
		}
		s.At = append(s.At, own)
	}
	if len(s.At) == 0 {
		return nil, protocol.Errorf(protocol.CodeNotFound, "mdns: %s: gateway at %s has no address there",
			p.Interface.Name, gateway)
	}
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(group, port))
	conn, err := net.ListenMulticastUDP("udp4", p.Interface, to)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeUnavailable, "mdns: %s: %w", p.Interface.Name, err)
	}
	bound, _ := conn.LocalAddr().(*net.UDPAddr)
	return &Server{conn, p, NewResponder(s), netip.AddrPortFrom(group, bound.AddrPort().Port())}, nil
}

// Port returns the port at which the server listens.
func (s *Server) Port() uint16 { return s.to.Port() }

// Serve says that the gateway is there, answers until ctx ends, says goodbye and closes the
// server. now is the clock. Who is not in the place, as it seems, gets no answer (RFC 6762, 11).
func (s *Server) Serve(ctx context.Context, now func() time.Time) error {
	defer s.conn.Close()
	defer context.AfterFunc(ctx, func() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) })()
	_, _ = s.conn.WriteToUDPAddrPort(s.responder.Announce(), s.to) // those who come later ask
	packet := make([]byte, PacketMax+1)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(packet)
		if ctx.Err() != nil {
			_, _ = s.conn.WriteToUDPAddrPort(s.responder.Goodbye(), s.to)
			return nil
		}
		if err != nil {
			return protocol.Errorf(protocol.CodeUnavailable, "mdns: %s: %w", s.place.Interface.Name, err)
		}
		if !s.place.holds(from.Addr().Unmap()) {
			continue
		}
		answer, toAll := s.responder.Answer(now(), packet[:n], from.Port() != s.to.Port())
		if toAll {
			from = s.to
		}
		if answer != nil {
			_, _ = s.conn.WriteToUDPAddrPort(answer, from) // a lost one is asked for again
		}
	}
}
