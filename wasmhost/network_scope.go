package wasmhost

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// scope is one destination that was granted: a name or addresses, and a port.
type scope struct {
	name  string       // "" when the scope is of addresses
	below bool         // the names below name, and not name itself
	net   netip.Prefix // not valid when the scope is a name
	port  uint16       // 0: any
}

// rules is what the scopes of one capability allow.
type rules struct {
	scopes []scope
	bad    []string // scopes that say nothing, and so allow nothing
}

// parseRules reads scopes; ported says whether each ends with a port.
func parseRules(texts []string, ported bool) rules {
	var out rules
	for _, text := range texts {
		if s, ok := parseScope(text, ported); ok {
			out.scopes = append(out.scopes, s)
		} else {
			out.bad = append(out.bad, text)
		}
	}
	return out
}

// parseScope reads "name:443", "*.example.com:443", "10.0.0.5:502", "10.0.0.0/8:*" or
// "[fd00::/8]:502"; without ported a name alone.
func parseScope(text string, ported bool) (s scope, ok bool) {
	host := text
	if ported {
		var port string
		var err error
		if host, port, err = net.SplitHostPort(text); err != nil {
			return s, false
		}
		if s.port, ok = portOf(port); !ok && port != "*" {
			return s, false
		}
		if s.net, ok = prefixOf(host); ok {
			return s, true
		}
	}
	name, below := strings.CutPrefix(host, "*.")
	s.name, ok = hostName(name)
	s.below = below
	return s, ok
}

// portOf reads a port as it is written by everybody: no sign, no zero in front.
func portOf(text string) (uint16, bool) {
	n, err := strconv.ParseUint(text, 10, 16)
	return uint16(n), err == nil && n > 0 && strconv.FormatUint(n, 10) == text
}

// prefixOf reads an address or a whole network. An IPv4 address in IPv6's clothes is
// refused, since addresses are undressed before they are compared.
func prefixOf(text string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, false
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	return p, !p.Addr().Is4In6() && p == p.Masked()
}

// hostName returns a host name in lower case without the dot at its end, and whether it
// is one. What a resolver could take for an address, such as 0x7f.1 or 2130706433, is
// none.
func hostName(text string) (string, bool) {
	name := strings.ToLower(strings.TrimSuffix(text, "."))
	if name == "" || len(name) > 253 || strings.ContainsFunc(text, func(c rune) bool { return c > '~' }) {
		return "", false
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, notOfName) {
			return "", false
		}
	}
	last := labels[len(labels)-1]
	return name, strings.Trim(last, "0123456789") != "" && !strings.HasPrefix(last, "0x")
}

func notOfName(c rune) bool {
	return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_'
}

// opens reports whether the scope serves a port.
func (s *scope) opens(port uint16) bool { return s.port == 0 || s.port == port }

// named reports whether a name may be resolved and reached at a port.
func (r rules) named(name string, port uint16) bool {
	for _, s := range r.scopes {
		within := s.name == name
		if s.below {
			within = strings.HasSuffix(name, "."+s.name)
		}
		if s.name != "" && within && s.opens(port) {
			return true
		}
	}
	return false
}

// reaches reports whether an address may be dialled; byName says that a name in the
// scopes led there. A public address needs that or a scope with the address. One with
// a meaning of its own (special) needs a scope with the address always, and one that
// lies wholly in the same block: 0.0.0.0/0 opens no private address.
func (r rules) reaches(a netip.Addr, port uint16, byName bool) bool {
	if a.Zone() != "" || !a.IsValid() {
		return false
	}
	a = a.Unmap()
	block, isSpecial := special(a)
	if isSpecial && block.never || !isSpecial && byName {
		return !isSpecial
	}
	for _, s := range r.scopes {
		if !s.net.IsValid() || !s.opens(port) || !s.net.Contains(a) {
			continue
		}
		if !isSpecial || s.net.Bits() >= block.Bits() {
			return true
		}
	}
	return false
}
