package discover

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"strings"

	"github.com/stavily/stavily/protocol"
)

// Port is the port of multicast DNS.
const Port = 5353

// Bounds of what is believed of answers.
const (
	// FoundMax bounds the addresses that one look around returns.
	FoundMax  = 8
	siteKey   = "site="
	serviceIs = "_stavily"
)

// group is the multicast group of IPv4.
var group = netip.AddrFrom4([4]byte{224, 0, 0, 251})

var service = newName(serviceIs, "_tcp", "local")

// Gateway is where a packet says that a gateway is. Nothing of it is proven.
type Gateway struct {
	Site     protocol.Site
	Name     string // of the service instance
	Priority uint16 // lower comes first
	Address  netip.AddrPort
}

// Query returns the packet that asks who is a gateway here.
func Query() []byte {
	return outgoing{questions: []question{{service, typePTR, classIN}}}.build()
}

// Read returns the gateways of site that an answer names, those of every site for an empty one,
// at most FoundMax. from is where the answer came from: another device's loopback is nothing to
// dial. What is no answer has none, and a bad packet is an error with CodeBadMessage.
func Read(packet []byte, site protocol.Site, from netip.Addr) ([]Gateway, error) {
	m, err := parse(packet)
	if err != nil || !m.response {
		return nil, err
	}
	var all []Gateway
	for _, r := range m.records {
		if r.typ != typePTR || r.name != service || r.ttl == 0 {
			continue
		}
		g := Gateway{Site: m.siteOf(r.target), Name: r.target.first()}
		if g.Site.Check() != nil || site != "" && g.Site != site {
			continue
		}
		all = m.places(all, g, r.target, from)
	}
	return all, nil
}

// siteOf returns what the instance's text says.
func (m *message) siteOf(instance name) protocol.Site {
	for _, r := range m.records {
		if r.typ != typeTXT || r.name != instance {
			continue
		}
		for rest := r.data; len(rest) > 0 && int(rest[0]) < len(rest); rest = rest[1+int(rest[0]):] {
			text := string(rest[1 : 1+int(rest[0])])
			if site, is := strings.CutPrefix(text, siteKey); is {
				return protocol.Site(site)
			}
		}
	}
	return ""
}

// places adds g once for each of the instance's addresses.
func (m *message) places(all []Gateway, g Gateway, instance name, from netip.Addr) []Gateway {
	for _, srv := range m.records {
		if srv.typ != typeSRV || srv.name != instance || len(srv.data) != 6 {
			continue
		}
		g.Priority = binary.BigEndian.Uint16(srv.data)
		port := binary.BigEndian.Uint16(srv.data[4:])
		for _, r := range m.records {
			addr, is := r.address()
			if !is || r.name != srv.target || port == 0 || !worthADial(addr, from) || len(all) >= FoundMax {
				continue
			}
			g.Address = netip.AddrPortFrom(addr, port)
			all = append(all, g)
		}
	}
	return all
}

// address returns what a record of type A or AAAA holds.
func (r *record) address() (netip.Addr, bool) {
	if r.typ == typeA && len(r.data) == 4 || r.typ == typeAAAA && len(r.data) == 16 {
		addr, is := netip.AddrFromSlice(r.data)
		return addr.Unmap(), is
	}
	return netip.Addr{}, false
}

// worthADial refuses what is no device's address, and link-local ones of IPv6, which are none
// without their interface.
func worthADial(addr, from netip.Addr) bool {
	switch {
	case addr.IsLoopback():
		return from.IsLoopback()
	case addr.IsLinkLocalUnicast():
		return addr.Is4()
	default:
		return addr.IsGlobalUnicast()
	}
}

// Order returns gateways in the order in which they are to be tried, each address once: by
// priority, then name, IPv4 first. It keeps the first FoundMax.
func Order(all []Gateway) []Gateway {
	var out []Gateway // sorted by hand: package slices would weigh as much as this file
	for _, g := range all {
		at, again := len(out), false
		for i := len(out) - 1; i >= 0; i-- {
			again = again || out[i].Address == g.Address && out[i].compare(g) <= 0
			if g.compare(out[i]) < 0 {
				at = i
			}
		}
		if again {
			continue
		}
		kept := append([]Gateway{}, out[:at]...)
		kept = append(kept, g)
		for _, later := range out[at:] {
			if later.Address != g.Address {
				kept = append(kept, later)
			}
		}
		out = kept[:min(len(kept), FoundMax)]
	}
	return out
}

func (g Gateway) compare(other Gateway) int {
	return cmp.Or(cmp.Compare(g.Priority, other.Priority), strings.Compare(g.Name, other.Name),
		g.Address.Compare(other.Address))
}
