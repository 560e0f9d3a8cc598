package wasmhost

import (
	"net/netip"
	"strings"
	"testing"
)

// TestScopes: what each scope opens, and what it leaves closed. S-04, M-27.
func TestScopes(t *testing.T) {
	for _, c := range []struct {
		scope, host string
		port        uint16
		want        bool
	}{
		{"example.com:443", "example.com", 443, true},
		{"Example.COM.:443", "example.com", 443, true},
		{"example.com:443", "example.com", 80, false},
		{"example.com:*", "example.com", 1, true},
		{"example.com:443", "www.example.com", 443, false},
		{"example.com:443", "badexample.com", 443, false},
		{"example.com:443", "example.com.evil.test", 443, false},
		{"*.example.com:443", "www.example.com", 443, true},
		{"*.example.com:443", "a.b.example.com", 443, true},
		{"*.example.com:443", "example.com", 443, false},
		{"*.example.com:443", "badexample.com", 443, false},
		{"10.0.0.5:502", "10.0.0.5", 502, true},
		{"10.0.0.5:502", "10.0.0.6", 502, false},
		{"10.0.0.0/8:502", "10.200.0.6", 502, true},
		{"10.0.0.0/8:502", "10.200.0.6", 503, false},
		{"10.0.0.5:502", "::ffff:10.0.0.5", 502, true}, // it is the same machine
		{"8.8.8.8:53", "8.8.8.8", 53, true},
		{"0.0.0.0/0:443", "8.8.8.8", 443, true},
		{"0.0.0.0/0:443", "10.0.0.5", 443, false},
		{"0.0.0.0/0:443", "127.0.0.1", 443, false},
		{"10.0.0.0/7:443", "10.0.0.5", 443, false}, // wider than the private block
		{"169.254.169.254:80", "169.254.169.254", 80, true},
		{"127.0.0.1:8080", "127.0.0.1", 8080, true},
		{"[::/0]:443", "2606:2800:220:1::1", 443, true},
		{"[::/0]:443", "::1", 443, false},
		{"[::1]:443", "::1", 443, true},
		{"[fd00::/8]:502", "fd12::5", 502, true},
		{"[64:ff9b::/96]:443", "64:ff9b::808:808", 443, true},
		{"0.0.0.0:80", "0.0.0.0", 80, false},
		{"0.0.0.0/8:80", "0.1.2.3", 80, false},
		{"224.0.0.0/4:80", "224.0.0.1", 80, false},
		{"255.255.255.255:80", "255.255.255.255", 80, false},
		{"[::]:80", "::", 80, false},
		{"[ff02::1]:80", "ff02::1", 80, false},
		{"[fe80::1]:80", "fe80::1%eth0", 80, false},
	} {
		rules := parseRules([]string{c.scope}, true)
		got := rules.named(c.host, c.port)
		if a, err := netip.ParseAddr(c.host); err == nil {
			got = rules.reaches(a, c.port, false)
		}
		if got != c.want || len(rules.bad) > 0 {
			t.Errorf("scope %q, %s port %d: got %v (malformed %q), want %v", c.scope, c.host, c.port, got,
				rules.bad, c.want)
		}
	}
}

// TestScopesMalformed: a scope that is none allows nothing.
func TestScopesMalformed(t *testing.T) {
	for _, text := range []string{
		"", "example.com", "*:443", "*.:443", "example.com:", "example.com:0", "example.com:65536", "example.com:0443",
		"example.com:+443", "example.com:https", "https://example.com:443", "ex ample.com:443", "a..b:443", "*.*.com:443",
		"a.*.com:443", "-a.com:443", "bücher.example:443", "10.0.0.5", "10.0.0.5/8:502", "10.0.0:502", "010.0.0.5:502",
		"0x7f.1:80", "0x7f000001:80", "2130706433:80", "127.1:80", "fd00::/8:502", "[fe80::1%eth0]:80",
		"[::ffff:10.0.0.5]:502", "[::ffff:0:0/96]:502", "10.0.0.0/33:80", "10.0.0.0/:80", "/8:80", ":80",
		strings.Repeat("a", 64) + ".com:80", strings.Repeat("a.", 127) + "com:80", "a\x00.com:80", "\u212Aube.com:80",
	} {
		if rules := parseRules([]string{text}, true); len(rules.scopes) > 0 {
			t.Errorf("scope %q is taken for %+v", text, rules.scopes)
		}
	}
	for _, text := range []string{"example.com:53", "10.0.0.5", "*", "::1"} {
		if rules := parseRules([]string{text}, false); len(rules.scopes) > 0 {
			t.Errorf("scope %q of dns.resolve is taken for %+v", text, rules.scopes)
		}
	}
}

// notPublic holds addresses that a name must not lead to.
var notPublic = []string{
	"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.0.1",
	"168.63.129.16", "169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1",
	"192.88.99.1", "192.168.0.1", "192.168.255.255", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.7",
	"224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.254", "255.255.255.255",
	"::", "::1", "::2", "::7f00:1", "::10.0.0.1", "::ffff:0:10.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
	"::ffff:169.254.169.254", "::ffff:0.0.0.0", "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "100::1",
	"1fff::1", "2001::1", "2001:0:7f00:1::", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::1",
	"2002:a00:1::1", "3fff::1", "4000::1", "5f00::1", "8000::1", "c000::1", "e000::1", "f000::1", "f800::1",
	"fc00::1", "fd00:ec2::254", "fdff::1", "fe00::1", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "ff02::1", "ff0e::1",
}

// TestAddresses judges addresses that a name in the scopes leads to.
func TestAddresses(t *testing.T) {
	rules := parseRules([]string{"example.com:443"}, true)
	for _, text := range notPublic {
		if rules.reaches(netip.MustParseAddr(text), 443, true) {
			t.Errorf("a name may lead to %s", text)
		}
	}
	for _, text := range []string{
		"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
		"169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0", "223.255.255.255",
		"2001:200::1", "2003::1", "2606:4700::1", "2a00::1", "3ffe::1", "::ffff:8.8.8.8",
	} {
		if !rules.reaches(netip.MustParseAddr(text), 443, true) {
			t.Errorf("a name may not lead to %s", text)
		}
	}
	if rules.reaches(netip.Addr{}, 443, true) {
		t.Error("a name may lead to no address at all")
	}
}

// TestBlocksCoverIPv6: what is not 2000::/3 is in a block, whatever is added later.
func TestBlocksCoverIPv6(t *testing.T) {
	for top := range 256 {
		for _, low := range []byte{0, 0x80, 0xff} {
			raw := [16]byte{byte(top), low, 15: 1}
			a := netip.AddrFrom16(raw)
			if _, ok := special(a); !ok && top>>5 != 1 {
				t.Errorf("%s is in no block", a)
			}
		}
	}
}

// FuzzScope: no text is taken for a scope that opens what it does not say.
func FuzzScope(f *testing.F) {
	for _, text := range []string{"example.com:443", "*.a:*", "10.0.0.0/8:502", "[::1]:80", "0x7f.1:80"} {
		f.Add(text)
	}
	loopback := netip.MustParseAddr("127.0.0.1")
	f.Fuzz(func(t *testing.T, text string) {
		s, ok := parseScope(text, true)
		if !ok {
			return
		}
		if (s.name == "") == !s.net.IsValid() {
			t.Fatalf("%q: both a name and addresses, or neither: %+v", text, s)
		}
		if s.name != "" {
			if _, err := netip.ParseAddr(s.name); err == nil {
				t.Fatalf("%q: an address as a name", text)
			}
		}
		all := rules{scopes: []scope{s}}
		if all.reaches(loopback, max(s.port, 1), true) && !(s.net.IsValid() && s.net.Bits() >= 8 && s.net.Contains(loopback)) {
			t.Fatalf("%q opens this machine", text)
		}
	})
}
