package protocol

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// TestScopesMeet: what two scopes have in common, told by examples.
func TestScopesMeet(t *testing.T) {
	for _, c := range []struct{ capability, a, b, want string }{
		{CapHTTP, "www.example.com:443", "*.example.com:443", "www.example.com:443"},
		{CapHTTP, "*.example.com:*", "*.api.example.com:443", "*.api.example.com:443"},
		{CapHTTP, "WWW.Example.com.:443", "*.example.com:*", "www.example.com:443"},
		{CapHTTP, "*.a:80", "x.a:80", "x.a:80"},
		{CapHTTP, "*.example.com:443", "example.com:443", ""},
		{CapHTTP, "*.example.com:443", "*.notexample.com:443", ""},
		{CapHTTP, "www.example.com:443", "*.example.com:80", ""},
		{CapHTTP, "a:0", "a:*", ""},
		{CapHTTP, "a:443", "a", ""},
		{CapTCP, "10.0.0.0/8:502", "10.1.0.0/16:*", "10.1.0.0/16:502"},
		{CapTCP, "10.0.0.0/8:502", "10.0.0.5:502", "10.0.0.5:502"},
		{CapTCP, "[fd00::/8]:502", "[fd00::5]:*", "[fd00::5]:502"},
		{CapTCP, "10.0.0.0/8:502", "11.0.0.0/8:502", ""},
		{CapTCP, "0.0.0.0/0:502", "8.8.8.0/24:502", "8.8.8.0/24:502"},
		{CapTCP, "0.0.0.0/0:502", "10.0.0.0/8:502", ""}, // opens public addresses only
		{CapTCP, "0.0.0.0/0:502", "[::/0]:502", ""},
		{CapTCP, "*.example.com:502", "10.0.0.5:502", ""},
		{CapTCP, "10.0.0.5/8:502", "10.0.0.5:502", ""}, // not a whole network
		{CapResolve, "*.example.com", "a.b.example.com", "a.b.example.com"},
		{CapResolve, "*.example.com", "*.com", "*.example.com"},
		{CapRead, "logs", "logs/today.txt", "logs/today.txt"},
		{CapRead, ".", "logs", "logs"},
		{CapWrite, "logs", "logs2", ""},
		{CapMQTT, "site/+/state", "site/#", "site/+/state"},
		{CapMQTT, "site/+/state", "+/a/+", "site/a/state"},
		{CapMQTT, "#", "$SYS/x", ""},
		{CapMQTT, "a/#", "a", "a"},
		{CapProcess, "uptime", "/usr/bin/uptime", ""},
		{CapSecret, "*", "mail", ""},
	} {
		for range 2 {
			got := Intersect([]Grant{{c.capability, []string{c.a}}}, []Grant{{c.capability, []string{c.b}}})
			text := ""
			if len(got) > 0 {
				text = strings.Join(got[0].Scopes, " ")
			}
			if text != c.want {
				t.Errorf("%s: %q and %q have %q in common, want %q", c.capability, c.a, c.b, text, c.want)
			}
			c.a, c.b = c.b, c.a
		}
	}
}

// TestFiltersMeet: a topic matches the common filter when it matches both, and only then.
func TestFiltersMeet(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	filter := func() string {
		var levels []string
		for range 1 + r.IntN(3) {
			levels = append(levels, pick("a", "b", "+", "$c"))
		}
		if r.IntN(3) == 0 {
			levels[len(levels)-1] = "#"
		}
		return strings.Join(levels, "/")
	}
	for range 20_000 {
		a, b := filter(), filter()
		topic := strings.Join([]string{pick("a", "b", "$c"), pick("a", "b", "$c"), pick("a", "b")}[:1+r.IntN(3)], "/")
		got, ok := commonFilter(a, b)
		if want := Match(a, topic) && Match(b, topic); want != (ok && Match(got, topic)) {
			t.Fatalf("%q and %q: common %q %v, topic %q want %v", a, b, got, ok, topic, want)
		}
	}
}

// TestScopeWithin: a scope is whole within another one when all that it matches the other matches.
func TestScopeWithin(t *testing.T) {
	for _, c := range []struct {
		capability, scope, allowed, left string
		all                              bool
	}{
		{CapListen, "site/+", "site/#", "site/+", true},
		{CapListen, "site/#", "site/+", "site/+", false},
		{CapListen, "site/#", "site/#", "site/#", true},
		{CapHTTP, "WWW.example.com:443", "*.example.com:443", "www.example.com:443", true},
		{CapHTTP, "*.example.com:443", "www.example.com:443", "www.example.com:443", false},
		{CapTCP, "10.0.0.5/32:502", "10.0.0.0/8:502", "10.0.0.5:502", true},
		{CapTCP, "0.0.0.0/0:1", "8.8.8.8:1", "8.8.8.8:1", false},
		{CapProcess, "uptime", "uptime", "uptime", true},
		{CapProcess, "uptime", "*", "", false},
		{"no such", "a", "b", "", false},
	} {
		left, some, all := ScopeWithin(c.capability, c.scope, c.allowed)
		if left != c.left || some != (c.left != "") || all != c.all {
			t.Errorf("%s: of %q is %q within %q, all %v; want %q, %v", c.capability, c.scope, left, c.allowed, all, c.left, c.all)
		}
	}
}

// FuzzScopes: whatever a manifest says, two scopes meet alike from either side, and what
// they have in common meets both in itself.
func FuzzScopes(f *testing.F) {
	f.Add("www.example.com:443", "*.example.com:*")
	f.Add("[fd00::/8]:502", "0.0.0.0/0:1")
	f.Add("a/+/b", "#")
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, capability := range capabilities {
			one, ok := common(capability, a, b)
			other, also := common(capability, b, a)
			if ok != also || one != other && !strings.EqualFold(one, other) {
				t.Fatalf("%s: %q and %q: %q %v, turned %q %v", capability, a, b, one, ok, other, also)
			}
			if again, still := common(capability, one, a); ok && one != "" && (!still || !strings.EqualFold(again, one)) {
				t.Fatalf("%s: %q and %q: %q, which meets the first in %q", capability, a, b, one, again)
			}
		}
	})
}
