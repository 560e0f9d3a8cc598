package wasmhost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/stavily/stavily/protocol"
)

// internet is a network in which every address is a listener on loopback, or nobody.
type internet struct {
	mu       sync.Mutex
	names    map[string][][]string // what a name answers: first, second, and the last for ever
	hosts    map[string]string     // public address and port -> where it listens really
	resolved []string
	dialled  []string
}

func newInternet() *internet {
	return &internet{names: map[string][][]string{}, hosts: map[string]string{}}
}

// name makes a name answer with these addresses.
func (n *internet) name(name string, addrs ...string) { n.names[name] = [][]string{addrs} }

func (n *internet) Resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.resolved = append(n.resolved, host)
	answers := n.names[host]
	switch {
	case host == "never.example.com":
		n.mu.Unlock()
		<-ctx.Done()
		n.mu.Lock()
		return nil, ctx.Err()
	case host == "broken.example.com":
		return nil, errors.New("server misbehaving")
	case len(answers) == 0:
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	case len(answers) > 1:
		n.names[host] = answers[1:]
	}
	var out []netip.Addr
	for _, text := range answers[0] {
		out = append(out, netip.MustParseAddr(text))
	}
	return out, nil
}

func (n *internet) Dial(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	n.mu.Lock()
	n.dialled = append(n.dialled, to.String())
	at, ok := n.hosts[to.String()]
	n.mu.Unlock()
	switch {
	case at == "silence":
		<-ctx.Done()
		return nil, ctx.Err()
	case !ok:
		return nil, fmt.Errorf("dial %s %s: no route", network, to)
	}
	return machine{}.Dial(ctx, network, netip.MustParseAddrPort(at))
}

// asked returns what was resolved and dialled since the last time.
func (n *internet) asked() (resolved, dialled string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	resolved, dialled = strings.Join(n.resolved, " "), strings.Join(n.dialled, " ")
	n.resolved, n.dialled = nil, nil
	return resolved, dialled
}

// networked is asking for a plugin with five connections.
func networked(t testing.TB, permissions ...string) Spec {
	t.Helper()
	s := asking(t, permissions...)
	s.Manifest.Limits.Connections = 5
	return s
}

// counterOf returns the counter of one capability.
func counterOf(p *Plugin, capability string) protocol.Audit {
	for _, c := range p.Counters() {
		if c.Capability == capability {
			return c
		}
	}
	return protocol.Audit{}
}

// TestNetworkDenies: what is outside the scopes is never dialled, nor resolved when its
// name is not in them. S-04, M-27.
func TestNetworkDenies(t *testing.T) {
	n := newInternet()
	p := load(t, newHost(t, Config{Network: NetworkConfig{Network: n}}), networked(t,
		"http.request:api.example.com:443", "http.request:*.lan.example:*", "http.request:0.0.0.0/0:80",
		"http.request:[::/0]:80", "http.request:10.1.0.0/16:8080", "tcp.connect:db.example.com:5432",
		"tcp.connect:*.lan.example:502", "dns.resolve:api.example.com"))
	n.name("api.example.com", "8.8.8.8")
	list := []string{
		`http.request {"url":"https://evil.test/"}`, `http.request {"url":"http://api.example.com/"}`,
		`http.request {"url":"https://api.example.com:8443/"}`, `http.request {"url":"https://api.example.com.evil.test/"}`,
		`http.request {"url":"https://evil-api.example.com/"}`, `http.request {"url":"https://lan.example/"}`,
		`http.request {"url":"https://8.8.8.8/"}`, `http.request {"url":"http://10.2.0.1:8080/"}`,
		`http.request {"url":"http://10.1.0.1/"}`, `http.request {"url":"http://[::ffff:10.2.0.1]:8080/"}`,
		`tcp.connect {"host":"db.example.com","port":5433}`, `tcp.connect {"host":"api.example.com","port":443}`,
		`tcp.connect {"host":"10.1.0.1","port":8080}`, `tcp.connect {"host":"localhost","port":5432}`,
		`dns.resolve {"name":"db.example.com"}`, `dns.resolve {"name":"secret.api.example.com"}`,
		`dns.resolve {"name":"localhost"}`, `dns.resolve {"name":"evil.test"}`,
	}
	for _, a := range notPublic {
		host := strings.ReplaceAll(a, "%", "%25")
		if strings.Contains(a, ":") {
			host = "[" + host + "]"
		}
		list = append(list, `http.request {"url":"http://`+host+`/"}`,
			fmt.Sprintf(`tcp.connect {"host":%q,"port":502}`, a))
	}
	for _, host := range []string{ // other ways to write 127.0.0.1
		"0x7f.1", "0x7f000001", "2130706433", "127.1", "017700000001", "127.0.0.1.", "127.0.0.01", "①②⑦.0.0.1", "%31%32%37.1",
		"api.example.com%2eevil.test", "api.example.com\\\\@evil.test", "api.example.com@evil.test", "api.example.com:443@evil.test",
	} {
		list = append(list, `http.request {"url":"https://`+host+`/"}`)
	}
	if len(list) < 40 {
		t.Fatalf("%d destinations, want 40", len(list))
	}
	before := counterOf(p, protocol.CapTCP).Denied
	for _, call := range list {
		got, a := calls(t, p, call)
		resolved, dialled := n.asked()
		if code := got[0].code(); code != "denied" && code != "bad-input" || resolved+dialled != "" {
			t.Errorf("%s: %s %v, resolved %q, dialled %q", call, code, got[0].Error, resolved, dialled)
		}
		if got[0].code() == "denied" && a.Usage.Denied != 1 {
			t.Errorf("%s: %d denials counted", call, a.Usage.Denied)
		}
	}
	if counterOf(p, protocol.CapTCP).Denied <= before {
		t.Error("no denial of tcp.connect in the audit")
	}
}

// TestNamesLeadNowhereElse: a name in the scopes that answers with an address that has a
// meaning of its own is not dialled; among several, only the public ones are.
func TestNamesLeadNowhereElse(t *testing.T) {
	n := newInternet()
	p := load(t, newHost(t, Config{Network: NetworkConfig{Network: n}}), networked(t,
		"tcp.connect:*.lan.example:502", "tcp.connect:10.0.0.0/8:502", "tcp.connect:192.168.1.5:503"))
	for i, a := range notPublic {
		name := fmt.Sprintf("n%d.lan.example", i)
		n.name(name, a)
		got, _ := calls(t, p, fmt.Sprintf(`tcp.connect {"host":%q,"port":502}`, name))
		_, dialled := n.asked()
		open := netip.MustParsePrefix("10.0.0.0/8").Contains(netip.MustParseAddr(a).Unmap())
		if want := map[bool]string{true: "unavailable", false: "denied"}[open]; got[0].code() != want ||
			(dialled != "") != open {
			t.Errorf("%s: %s, dialled %q", a, got[0].code(), dialled)
		}
		if !open && strings.Contains(got[0].Error.Text, a) {
			t.Errorf("%s: the plugin is told: %s", a, got[0].Error.Text)
		}
	}
	n.name("last.lan.example", "169.254.169.254")
	calls(t, p, `tcp.connect {"host":"last.lan.example","port":502}`)
	if got := counterOf(p, protocol.CapTCP).Subject; got != "last.lan.example:502 at 169.254.169.254" {
		t.Errorf("the audit says %q", got)
	}
	n.asked()
	n.name("mixed.lan.example", "127.0.0.1", "8.8.8.8", "192.168.1.5", "::1", "10.0.0.9")
	got, _ := calls(t, p, `tcp.connect {"host":"mixed.lan.example","port":502}`)
	if resolved, dialled := n.asked(); resolved != "mixed.lan.example" || dialled != "8.8.8.8:502 10.0.0.9:502" {
		t.Errorf("%s, resolved %q, dialled %q", got[0].code(), resolved, dialled)
	}
}

// TestRebinding: a name that answers first with a public address and then with this
// machine's is asked once for each connection, and what it answers is judged each time.
func TestRebinding(t *testing.T) {
	n := newInternet()
	p := load(t, newHost(t, Config{Network: NetworkConfig{Network: n}}), networked(t,
		"http.request:*.example.com:80", "tcp.connect:*.example.com:80", "dns.resolve:*.example.com"))
	secret := listen(t, func(net.Conn) { t.Error("the secret was reached") })
	n.hosts["127.0.0.1:80"] = secret
	for _, call := range []string{
		`http.request {"url":"http://rebind.example.com/"}`, `tcp.connect {"host":"rebind.example.com","port":80}`,
	} {
		n.names["rebind.example.com"] = [][]string{{"8.8.8.8"}, {"127.0.0.1"}}
		got, _ := calls(t, p, call, call)
		resolved, dialled := n.asked()
		if got[0].code() != "unavailable" || got[1].code() != "denied" || dialled != "8.8.8.8:80" ||
			resolved != "rebind.example.com rebind.example.com" {
			t.Errorf("%s: %s %s, resolved %q, dialled %q", call, got[0].code(), got[1].code(), resolved, dialled)
		}
	}
	// What dns.resolve answered opens nothing either.
	n.names["rebind.example.com"] = [][]string{{"8.8.8.8"}, {"127.0.0.1"}}
	got, _ := calls(t, p, `dns.resolve {"name":"rebind.example.com"}`, `http.request {"url":"http://rebind.example.com/"}`)
	if _, dialled := n.asked(); got[1].code() != "denied" || dialled != "" {
		t.Errorf("after dns.resolve: %v, dialled %q", got, dialled)
	}
}

// TestResolve: M-27.
func TestResolve(t *testing.T) {
	n := newInternet()
	p := load(t, newHost(t, Config{Network: NetworkConfig{Network: n}}), networked(t, "dns.resolve:*.example.com"))
	n.name("www.example.com", "8.8.8.8", "2606:4700::1", "::ffff:10.0.0.1")
	n.name("empty.example.com")
	for _, c := range []struct{ args, code, want string }{
		{`{"name":"WWW.example.com."}`, "ok", "[8.8.8.8 2606:4700::1 10.0.0.1]"},
		{`{"name":"empty.example.com"}`, "ok", "[]"},
		{`{"name":"none.example.com"}`, "not-found", ""},
		{`{"name":"broken.example.com"}`, "unavailable", ""},
		{`{"name":"never.example.com","timeout_ms":20}`, "deadline", ""},
		{`{"name":"8.8.8.8"}`, "bad-input", ""},
		{`{"name":""}`, "bad-input", ""},
		{`{"name":7}`, "bad-input", ""},
		{`{}`, "bad-input", ""},
	} {
		got, _ := calls(t, p, "dns.resolve "+c.args)
		if got[0].code() != c.code || c.code == "ok" && fmt.Sprint(got[0].OK["addresses"]) != c.want {
			t.Errorf("%s: %v %+v, want %s %s", c.args, got[0].OK, got[0].Error, c.code, c.want)
		}
	}
	many := make([]string, 100)
	for i := range many {
		many[i] = fmt.Sprintf("9.9.9.%d", i)
	}
	n.name("many.example.com", many...)
	got, _ := calls(t, p, `dns.resolve {"name":"many.example.com"}`)
	if list, _ := got[0].OK["addresses"].([]any); len(list) != addressesMax {
		t.Errorf("%d addresses, want %d", len(list), addressesMax)
	}
}

// everyNetworkCall is one call of each kind to what all scopes below allow.
var everyNetworkCall = []string{
	`dns.resolve {"name":"a.example.com"}`, `http.request {"url":"http://a.example.com/"}`,
	`tcp.connect {"host":"a.example.com","port":80}`, `tcp.connect {"host":"9.9.9.9","port":80}`,
}

var everyNetworkPermission = []string{
	"dns.resolve:*.example.com", "http.request:a.example.com:80", "tcp.connect:a.example.com:80", "tcp.connect:9.9.9.9:80",
}

// TestNoNetwork: a manifest without allow_network_access, without connections or without
// scopes gets nothing, not even a name resolved. M-21, M-23, S-04.
func TestNoNetwork(t *testing.T) {
	n := newInternet()
	n.name("a.example.com", "8.8.8.8")
	h := newHost(t, Config{Network: NetworkConfig{Network: n}})
	forbidden := networked(t, everyNetworkPermission...)
	forbidden.Manifest.Network = false
	unconnected := networked(t, everyNetworkPermission...)
	unconnected.Manifest.Limits.Connections = 0
	unscoped := networked(t, "dns.resolve", "http.request", "tcp.connect")
	malformed := networked(t, "dns.resolve:*", "http.request:a.example.com", "tcp.connect:a.example.com")
	for name, c := range map[string]struct {
		spec Spec
		code string
	}{
		"allow_network_access false": {forbidden, "denied"},
		"max_network_connections 0":  {unconnected, "limit"},
		"no scopes":                  {unscoped, "denied"},
		"malformed scopes":           {malformed, "denied"},
	} {
		p := load(t, h, c.spec)
		got, a := calls(t, p, everyNetworkCall...)
		for i := range got {
			if got[i].code() != c.code {
				t.Errorf("%s: %s: %s, want %s", name, everyNetworkCall[i], got[i].code(), c.code)
			}
		}
		if resolved, dialled := n.asked(); resolved+dialled != "" || int(a.Usage.Denied) != len(got) {
			t.Errorf("%s: resolved %q, dialled %q, %d denials", name, resolved, dialled, a.Usage.Denied)
		}
		for _, capability := range []string{protocol.CapResolve, protocol.CapHTTP, protocol.CapTCP} {
			if counterOf(p, capability).Denied == 0 {
				t.Errorf("%s: no denial of %s in the audit", name, capability)
			}
		}
		if name == "malformed scopes" && !strings.Contains(got[1].Error.Text, `scope "a.example.com" is malformed`) {
			t.Errorf("%s: %s", name, got[1].Error.Text)
		}
	}
}

// listen serves each connection of a listener on loopback by f and returns its address.
func listen(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	done := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-done })
	go func() {
		defer close(done)
		var all sync.WaitGroup
		defer all.Wait()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { defer func() { _ = c.Close() }(); f(c) })
		}
	}()
	return l.Addr().String()
}

var _ Network = (*internet)(nil)
