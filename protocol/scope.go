package protocol

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// What a scope allows depends on its capability. Two scopes of one capability have at most
// one scope in common: what both allow, and nothing else.

// common returns what two scopes of a capability both allow, and whether that is anything.
func common(capability, a, b string) (string, bool) {
	if a == b {
		return a, true
	}
	return meet(capability, a, b)
}

// ScopeWithin returns what of a scope another one of the same capability allows, and whether that
// is some of it and all of it. Nothing is within a scope that is no scope, but itself.
func ScopeWithin(capability, scope, allowed string) (left string, some, all bool) {
	if left, some = common(capability, scope, allowed); !some {
		return "", false, false
	}
	itself, _ := meet(capability, scope, scope) // as meet would word it
	return left, true, left == scope || left == itself
}

// meet is common in one wording: names are in lower case.
func meet(capability, a, b string) (string, bool) {
	switch capability {
	case CapHTTP, CapTCP:
		return commonDestination(a, b)
	case CapResolve:
		return commonName(a, b)
	case CapRead, CapWrite:
		return commonFolder(a, b)
	case CapMQTT, CapListen:
		return commonFilter(a, b)
	case CapSecret:
		return commonSecret(a, b)
	}
	return "", false
}

// commonDestination is for "host:port", where the host may be a name, "*.name", an address
// or a network, and the port "*".
func commonDestination(a, b string) (string, bool) {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil {
		return "", false
	}
	port := portA
	if port == "*" {
		port = portB
	}
	if n, err := strconv.ParseUint(port, 10, 16); port != "*" && (err != nil || n == 0) ||
		portB != "*" && portB != port {
		return "", false
	}
	netA, isNetA := networkOf(hostA)
	netB, isNetB := networkOf(hostB)
	switch {
	case isNetA && isNetB:
		host, ok := commonNetwork(netA, netB)
		return net.JoinHostPort(host, port), ok
	case isNetA || isNetB:
		return "", false // a name opens names, an address opens addresses
	}
	host, ok := commonName(hostA, hostB)
	return net.JoinHostPort(host, port), ok
}

// networkOf reads an address or a network.
func networkOf(text string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), a.Zone() == "" && !a.Is4In6()
	}
	p, err := netip.ParsePrefix(text)
	return p, err == nil && p == p.Masked() && !p.Addr().Is4In6()
}

// commonNetwork is the narrower of two networks if the other holds it. A network that is
// wider than a special block opens nothing of that block.
func commonNetwork(a, b netip.Prefix) (string, bool) {
	narrow, wide := a, b
	if narrow.Bits() < wide.Bits() {
		narrow, wide = b, a
	}
	if narrow.Addr().BitLen() != wide.Addr().BitLen() || !wide.Contains(narrow.Addr()) ||
		blockBits(narrow) > wide.Bits() {
		return "", false
	}
	if narrow.IsSingleIP() {
		return narrow.Addr().String(), true
	}
	return narrow.String(), true
}

// commonName is for "name" and "*.name", which holds all names below but not the name.
func commonName(a, b string) (string, bool) {
	a, b = strings.ToLower(strings.TrimSuffix(a, ".")), strings.ToLower(strings.TrimSuffix(b, "."))
	if a == b {
		return a, true
	}
	switch {
	case below(a, b):
		return a, true
	case below(b, a):
		return b, true
	}
	return "", false
}

// below reports whether all that a name scope opens is opened by another one with a star.
func below(narrow, wide string) bool {
	above, starred := strings.CutPrefix(wide, "*")
	return starred && strings.HasPrefix(above, ".") && strings.HasSuffix(strings.TrimPrefix(narrow, "*"), above)
}

// commonFolder is for a path within the plugin's folder: a file, or a folder with all below.
func commonFolder(a, b string) (string, bool) {
	switch {
	case InFolder(a, b):
		return b, true
	case InFolder(b, a):
		return a, true
	}
	return "", false
}

// InFolder reports whether a path is that of a scope or lies below it. A scope "." is the
// whole folder.
func InFolder(scope, path string) bool {
	return scope == "." || scope == path || scope != "" && strings.HasPrefix(path, scope+"/")
}

// commonFilter is for MQTT filters.
func commonFilter(a, b string) (string, bool) {
	as, bs := strings.Split(a, "/"), strings.Split(b, "/")
	var out []string
	for i := 0; ; i++ {
		endA, endB := i >= len(as), i >= len(bs)
		switch {
		case endA && endB:
			return strings.Join(out, "/"), true
		case !endA && as[i] == "#":
			return joined(out, bs[min(i, len(bs)):])
		case !endB && bs[i] == "#":
			return joined(out, as[min(i, len(as)):])
		case endA || endB:
			return "", false
		case as[i] == "+" && (i > 0 || !strings.HasPrefix(bs[i], "$")):
			out = append(out, bs[i])
		case as[i] == bs[i], bs[i] == "+" && (i > 0 || !strings.HasPrefix(as[i], "$")):
			out = append(out, as[i])
		default:
			return "", false
		}
	}
}

// joined ends a filter with what # stands for; at the first level that is nothing with $.
func joined(out, rest []string) (string, bool) {
	if len(out) == 0 && len(rest) > 0 && strings.HasPrefix(rest[0], "$") {
		return "", false
	}
	return strings.Join(slices.Concat(out, rest), "/"), true
}
