package wasmhost

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stavily/stavily/protocol"
)

// TestScopesMeet: what the intersection of two grants opens is what both open, and nothing
// else, for names, addresses, ports and files (S-04).
func TestScopesMeet(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	host := func() string {
		return pick("a.com", "*.a.com", "x.a.com", "*.x.a.com", "y.x.a.com", "b.com", "*.com", "A.com", "10.0.0.0/8", "10.1.0.0/16",
			"10.1.2.3", "0.0.0.0/0", "8.0.0.0/5", "8.8.8.8", "10.0.0.0/7", "224.0.0.0/4", "240.0.0.0/3", "[fd00::/8]", "[fd00::1]", "[::/0]",
			"[2001:4860::/32]", "192.168.1.0/24", "127.0.0.1", "not a host", "10.0.0.1/8")
	}
	scopes := func(make func() string) (out []string) {
		for range 1 + r.IntN(3) {
			out = append(out, make())
		}
		return out
	}
	both := func(capability string, a, b []string) []string {
		got := protocol.Intersect([]protocol.Grant{{Capability: capability, Scopes: a}}, []protocol.Grant{{Capability: capability, Scopes: b}})
		if len(got) == 0 {
			return nil
		}
		return got[0].Scopes
	}
	addresses := []string{
		"10.1.2.3", "10.2.0.1", "8.8.8.8", "9.9.9.9", "224.0.0.1", "255.255.255.255",
		"fd00::1", "fd00::2", "2001:4860::8", "192.168.1.7", "127.0.0.1", "11.0.0.1",
	}
	for range 20_000 {
		dest := func() string { return host() + ":" + pick("443", "502", "*", "x") }
		a, b := scopes(dest), scopes(dest)
		c := both(protocol.CapTCP, a, b)
		ra, rb, rc := parseRules(a, true), parseRules(b, true), parseRules(c, true)
		port := []uint16{443, 502, 80}[r.IntN(3)]
		name := pick("a.com", "x.a.com", "y.x.a.com", "z.y.x.a.com", "b.com", "com")
		if want := ra.named(name, port) && rb.named(name, port); rc.named(name, port) != want {
			t.Fatalf("%q and %q: %q; %s:%d want %v", a, b, c, name, port, want)
		}
		at := netip.MustParseAddr(pick(addresses...))
		if want := ra.reaches(at, port, false) && rb.reaches(at, port, false); rc.reaches(at, port, false) != want {
			t.Fatalf("%q and %q: %q; %s:%d want %v", a, b, c, at, port, want)
		}
		folder := func() string { return pick(".", "a", "a/b", "a/b/c", "ab", "b") }
		a, b = scopes(folder), scopes(folder)
		c = both(protocol.CapRead, a, b)
		path := pick("a", "a/b", "a/b/c", "a/b/c/d", "ab", "ab/c", "b/a", "c")
		if want := inScopes(a, path) && inScopes(b, path); inScopes(c, path) != want {
			t.Fatalf("%q and %q: %q; %s want %v", a, b, c, path, want)
		}
		program := func() string { return pick("uptime", "/usr/bin/uptime", "df", "/bin/df", "./x") }
		a, b = scopes(program), scopes(program)
		c = both(protocol.CapProcess, a, b)
		for _, one := range c {
			argv0 := pick("uptime", "/usr/bin/uptime", "df", "/bin/df")
			_, inA := allowed(argv0, a)
			_, inB := allowed(argv0, b)
			if _, inC := allowed(argv0, []string{one}); inC && !(inA && inB) {
				t.Fatalf("%q and %q: %q opens %s", a, b, c, argv0)
			}
		}
	}
}
