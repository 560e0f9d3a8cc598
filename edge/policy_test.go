package edge_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

func TestPolicyCut(t *testing.T) {
	reach := []protocol.Grant{
		{Capability: "dns.resolve"},
		{Capability: "http.request", Scopes: []string{"a:1"}},
		{Capability: "process.execute", Scopes: []string{"uptime"}},
	}
	own := []protocol.Grant{
		{Capability: "filesystem.read"}, {Capability: "filesystem.write"}, {Capability: "kv"}, {Capability: "metrics.read"},
	}
	for _, c := range []struct {
		name       string
		allow, ask []protocol.Grant
		left, cut  int
	}{
		{"default takes what reaches out", edge.DefaultPolicy().Allow, reach, 0, 3},
		{"default leaves the plugin's own", edge.DefaultPolicy().Allow, own, 4, 0},
		{"allowed beyond the default", slices.Concat(edge.DefaultPolicy().Allow, reach[1:2]), reach, 1, 2},
		{"no policy, no grant", nil, []protocol.Grant{{Capability: "kv"}}, 0, 1},
		{"process.execute without scopes is nothing", []protocol.Grant{{Capability: "process.execute"}}, reach[2:], 0, 1},
		{"a scope narrows", []protocol.Grant{{Capability: "dns.resolve", Scopes: []string{"a"}}}, []protocol.Grant{{Capability: "dns.resolve"}}, 1, 1},
	} {
		left, cut := edge.Policy{Allow: c.allow}.Cut(c.ask)
		if len(left) != c.left || len(cut) != c.cut {
			t.Errorf("%s: left %v, cut %v", c.name, left, cut)
		}
	}
}

// What a device allows is held to what the hub grants by what both mean: a scope within one that
// is allowed is left whole, of a wider one what is allowed is left, and nothing else. C-8.
func TestPolicyCutsByMeaning(t *testing.T) {
	for _, c := range []struct{ capability, allowed, asked, left, taken string }{
		{"mqtt.listen", "site/#", "site/+", "site/+", ""},
		{"mqtt.listen", "site/#", "site/line/+/state", "site/line/+/state", ""},
		{"mqtt.listen", "site/#", "site", "site", ""},
		{"mqtt.listen", "site/+", "site/#", "site/+", "mqtt.listen:site/# beyond site/+"},
		{"mqtt.listen", "site/a", "site/b", "", "mqtt.listen:site/b"},
		{"mqtt.listen", "site/a site/b", "site/+", "site/a site/b", "mqtt.listen:site/+ beyond site/a site/b"},
		{"mqtt.listen", "#", "$SYS/x", "", "mqtt.listen:$SYS/x"},
		{"mqtt.publish", "+/alarm", "line1/+", "line1/alarm", "mqtt.publish:line1/+ beyond line1/alarm"},
		{"mqtt.publish", "line/#", "line/a line/+", "line/a line/+", ""},
		{"filesystem.read", "logs", "logs/today.txt logs", "logs/today.txt logs", ""},
		{"filesystem.read", "logs", "logs2", "", "filesystem.read:logs2"},
		{"filesystem.write", "logs/today", ".", "logs/today", "filesystem.write:. beyond logs/today"},
		{"http.request", "*.example.com:443", "api.example.com:443", "api.example.com:443", ""},
		{"http.request", "*.example.com:443", "API.Example.com.:443", "API.Example.com.:443", ""},
		{"http.request", "*.example.com:443", "example.com:443", "", "http.request:example.com:443"},
		{"http.request", "api.example.com:443", "*.example.com:*", "api.example.com:443", "http.request:*.example.com:* beyond api.example.com:443"},
		{"http.request", "a:443", "b:443", "", "http.request:b:443"},
		{"tcp.connect", "10.0.0.0/8:502", "10.1.2.3:502 11.0.0.1:502", "10.1.2.3:502", "tcp.connect:11.0.0.1:502"},
		{"tcp.connect", "10.1.0.0/16:*", "10.0.0.0/8:502", "10.1.0.0/16:502", "tcp.connect:10.0.0.0/8:502 beyond 10.1.0.0/16:502"},
		{"tcp.connect", "[fd00::/8]:502", "[fd00::5]:502", "[fd00::5]:502", ""},
		{"dns.resolve", "*.example.com", "*.a.example.com", "*.a.example.com", ""},
		{"secret.use", "mail@smtp.example.com:25", "mail@smtp.example.com:25", "mail@smtp.example.com:25", ""},
		{"secret.use", "mail@*.example.com:*", "mail@smtp.example.com:25", "mail@smtp.example.com:25", ""},
		{"secret.use", "mail@a:25", "mail", "mail@a:25", "secret.use:mail beyond mail@a:25"}, // not to be told the value
		{"secret.use", "mail@a:25", "key@a:25", "", "secret.use:key@a:25"},
		{"process.execute", "uptime", "uptime uname", "uptime", "process.execute:uname"},
		{"process.execute", "*", "uptime", "", "process.execute:uptime"},
		{"process.execute", "uptime", "/usr/bin/uptime", "", "process.execute:/usr/bin/uptime"},
	} {
		policy := edge.Policy{Allow: []protocol.Grant{{Capability: c.capability, Scopes: strings.Fields(c.allowed)}}}
		left, taken := policy.Cut([]protocol.Grant{{Capability: c.capability, Scopes: strings.Fields(c.asked)}})
		got := ""
		if len(left) > 0 {
			got = strings.Join(left[0].Scopes, " ")
		}
		if words := strings.Join(taken, ", "); got != c.left || words != c.taken || (got == "") != (len(left) == 0) {
			t.Errorf("%s: allowed %q, asked %q: left %q and took %q, want %q and %q",
				c.capability, c.allowed, c.asked, got, words, c.left, c.taken)
		}
	}
}
