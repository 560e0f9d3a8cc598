package discover

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/stavily/stavily/protocol"
)

const (
	// placesMax bounds the nets that are asked, or spoken to.
	placesMax = 8
	// packetsMax bounds the packets that one question has answered.
	packetsMax = 64
)

// Place is one net that the device is in, by IPv4.
type Place struct {
	Interface *net.Interface
	Prefixes  []netip.Prefix // with the device's own address each
}

// Places returns the nets in which the device may be heard by others, loopback not among them.
func Places() []Place {
	all, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var out []Place
	const want = net.FlagUp | net.FlagMulticast
	for i := range all {
		if all[i].Flags&(want|net.FlagLoopback) != want || len(out) == placesMax {
			continue
		}
		if p := placeAt(&all[i]); p.own4().IsValid() {
			out = append(out, p)
		}
	}
	return out
}

func placeAt(i *net.Interface) Place {
	p := Place{Interface: i}
	addrs, _ := i.Addrs() // without any there is no place
	for _, a := range addrs {
		n, is := a.(*net.IPNet)
		if !is {
			continue
		}
		addr, _ := netip.AddrFromSlice(n.IP)
		ones, _ := n.Mask.Size()
		if prefix := netip.PrefixFrom(addr.Unmap(), ones); prefix.IsValid() {
			p.Prefixes = append(p.Prefixes, prefix)
		}
	}
	return p
}

// own4 returns the device's first address of IPv4 there.
func (p Place) own4() netip.Addr {
	for _, prefix := range p.Prefixes {
		if prefix.Addr().Is4() {
			return prefix.Addr()
		}
	}
	return netip.Addr{}
}

// holds reports whether addr is one of that net.
func (p Place) holds(addr netip.Addr) bool {
	for _, prefix := range p.Prefixes {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// Search says what is looked for, and where.
type Search struct {
	Site   protocol.Site // empty: of any
	Port   uint16        // of multicast DNS: Port
	Places []Place
	Until  time.Time // answers are waited for until then
}

// Browse asks in each place at now, and again halfway to Until, and returns the gateways that
// answered, in the order in which to try them. That none did is no error.
func Browse(ctx context.Context, now time.Time, s Search) []Gateway {
	found := make([][]Gateway, len(s.Places))
	var all sync.WaitGroup
	for i, p := range s.Places {
		all.Go(func() { found[i] = s.ask(ctx, now, p) })
	}
	all.Wait()
	var out []Gateway
	for _, f := range found {
		out = append(out, f...)
	}
	return Order(out)
}

// ask asks in one place. A socket bound to an address there sends by the interface that has it.
func (s *Search) ask(ctx context.Context, now time.Time, p Place) (found []Gateway) {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.own4(), 0)))
	if err != nil {
		return nil
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	half := now.Add(s.Until.Sub(now) / 2)
	packet, packets := make([]byte, PacketMax+1), 0
	for _, until := range []time.Time{half, s.Until} {
		_, _ = conn.WriteToUDPAddrPort(Query(), netip.AddrPortFrom(group, s.Port)) // asked again, or later
		_ = conn.SetReadDeadline(until)
		for ; packets < packetsMax; packets++ {
			n, from, err := conn.ReadFromUDPAddrPort(packet)
			if err != nil {
				break
			}
			if !p.holds(from.Addr().Unmap()) {
				continue
			}
			more, _ := Read(packet[:n], s.Site, from.Addr().Unmap()) // anybody may send anything
			found = append(found, more...)
		}
	}
	return found
}
