package broker

import (
	"net"
	"net/netip"
	"sync"

	"github.com/stavily/stavily/protocol"
)

// gate counts connections before anything is read from them.
type gate struct {
	caps       Caps
	handshakes chan struct{} // bound: Caps.Handshakes
	joins      chan struct{} // bound: Caps.Joins

	mu    sync.Mutex // guards the fields below
	total int
	perIP map[netip.Addr]int
}

func newGate(caps Caps) *gate {
	return &gate{
		caps:       caps,
		handshakes: make(chan struct{}, caps.Handshakes),
		joins:      make(chan struct{}, caps.Joins),
		perIP:      map[netip.Addr]int{},
	}
}

// enter counts a connection in and returns what counts it out again. The error has
// CodeLimit and names the cap.
func (g *gate) enter(remote net.Addr) (leave func(), err error) {
	ip := ipOf(remote)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.total >= g.caps.Connections {
		return nil, protocol.Errorf(protocol.CodeLimit, "connections: %d open, limit %d",
			g.total, g.caps.Connections)
	}
	if g.perIP[ip] >= g.caps.PerIP {
		return nil, protocol.Errorf(protocol.CodeLimit, "connections of %s: %d open, limit %d",
			ip, g.perIP[ip], g.caps.PerIP)
	}
	g.total++
	g.perIP[ip]++
	return func() { g.leave(ip) }, nil
}

func (g *gate) leave(ip netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	if g.perIP[ip]--; g.perIP[ip] == 0 {
		delete(g.perIP, ip)
	}
}

// ipOf returns the address by which connections are counted: for IPv6 its /64, which
// one customer has whole.
func ipOf(remote net.Addr) netip.Addr {
	ap, err := netip.ParseAddrPort(remote.String())
	if err != nil {
		return netip.Addr{}
	}
	ip := ap.Addr().Unmap().WithZone("")
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return ip
}
