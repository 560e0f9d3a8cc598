package protocol

import "net/netip"

// Special returns the narrowest range with a meaning of its own that an address lies in, such
// as 10.0.0.0/8, whether nothing opens that range, and whether there is one. Others are
// addresses of the public internet. An IPv4 address must not be written as IPv6.
func Special(a netip.Addr) (block netip.Prefix, never, ok bool) {
	for _, b := range specials(a) {
		if p := netip.MustParsePrefix(b.cidr); p.Contains(a) && (!ok || p.Bits() > block.Bits()) {
			block, never, ok = p, b.never, true
		}
	}
	return block, never, ok
}

// blockBits returns how narrow the narrowest special range is that holds all of a network; 0
// for none.
func blockBits(n netip.Prefix) (bits int) {
	for _, b := range specials(n.Addr()) {
		if p := netip.MustParsePrefix(b.cidr); p.Contains(n.Addr()) && p.Bits() <= n.Bits() {
			bits = max(bits, p.Bits())
		}
	}
	return bits
}

func specials(a netip.Addr) []specialRange {
	if a.Is6() {
		return specialIPv6
	}
	return specialIPv4
}

type specialRange struct {
	cidr  string
	never bool
}

// specialIPv4 holds IANA's special-purpose registry and the addresses at which clouds
// tell a machine its secrets.
var specialIPv4 = []specialRange{
	{"0.0.0.0/8", true}, // connects to this machine
	{"10.0.0.0/8", false},
	{"100.64.0.0/10", false}, // carriers' NAT
	{"127.0.0.0/8", false},
	{"168.63.129.16/32", false}, // a cloud's own, though public
	{"169.254.0.0/16", false},   // link-local, clouds' metadata
	{"172.16.0.0/12", false},
	{"192.0.0.0/24", false},
	{"192.0.2.0/24", false},
	{"192.88.99.0/24", false}, // 6to4 relays
	{"192.168.0.0/16", false},
	{"198.18.0.0/15", false},
	{"198.51.100.0/24", false},
	{"203.0.113.0/24", false},
	{"224.0.0.0/4", true}, // multicast
	{"240.0.0.0/4", false},
	{"255.255.255.255/32", true},
}

// specialIPv6 closes all but 2000::/3, and what therein leads elsewhere: an IPv4
// address that is written within another is never judged, so it is not reached.
var specialIPv6 = []specialRange{
	{"::/3", true},          // unspecified, IPv4-compatible and -translated, all unassigned
	{"::1/128", false},      // loopback
	{"64:ff9b::/96", false}, // NAT64
	{"64:ff9b:1::/48", false},
	{"100::/64", false},  // discard
	{"2001::/23", false}, // Teredo, ORCHID, benchmarks
	{"2001:db8::/32", false},
	{"2002::/16", false}, // 6to4
	{"3fff::/20", false},
	{"4000::/2", true},
	{"8000::/2", true},
	{"c000::/3", true},
	{"e000::/4", true},
	{"f000::/5", true},
	{"f800::/6", true},
	{"fc00::/7", false}, // unique local
	{"fe00::/9", true},
	{"fe80::/10", false}, // link-local
	{"fec0::/10", false}, // site-local, of old
	{"ff00::/8", true},   // multicast
}
