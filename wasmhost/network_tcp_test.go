package wasmhost

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

// parrot says hello, says every line again, and counts who is there.
func parrot(t *testing.T, here *atomic.Int32, left chan<- struct{}) string {
	return listen(t, func(c net.Conn) {
		here.Add(1)
		defer func() { here.Add(-1); left <- struct{}{} }()
		_, _ = io.WriteString(c, "hello\r\n")
		for lines := bufio.NewReader(c); ; {
			line, err := lines.ReadBytes('\n')
			if err != nil || string(line) == "quit\n" {
				return
			}
			if _, err := c.Write(line); err != nil {
				return
			}
		}
	})
}

const connectDB = `tcp.connect {"host":"db.example.com","port":5432}`

// database is a plugin that may talk to a parrot, and the parrot's visitors.
func database(t *testing.T) (*Plugin, *internet, *atomic.Int32, chan struct{}) {
	t.Helper()
	n, here, left := newInternet(), new(atomic.Int32), make(chan struct{}, 64)
	n.name("db.example.com", "8.8.8.8")
	n.hosts["8.8.8.8:5432"] = parrot(t, here, left)
	p := load(t, newHost(t, Config{Network: NetworkConfig{Network: n}}), networked(t,
		"tcp.connect:db.example.com:5432", "dns.resolve:db.example.com"))
	return p, n, here, left
}

// TestTCP connects, reads, writes and closes.
func TestTCP(t *testing.T) {
	p, _, here, left := database(t)
	got, a := calls(t, p, connectDB, `tcp.read {"conn":1}`, `tcp.write {"conn":1,"data":"ü\n"}`,
		`tcp.read {"conn":1,"max":1}`, `tcp.read {"conn":1,"max":1,"base64":true}`, `tcp.read {"conn":1,"base64":true}`,
		`tcp.read {"conn":1,"timeout_ms":20}`, `tcp.write {"conn":1,"data_base64":"AP8K"}`, `tcp.read {"conn":1,"max":3}`,
		`tcp.write {"conn":1,"data":"quit\n"}`, `tcp.read {"conn":1}`, `tcp.read {"conn":1}`, `tcp.close {"conn":1}`,
		`tcp.close {"conn":1}`, `tcp.read {"conn":1}`, `tcp.write {"conn":1,"data":"a","data_base64":"YQ=="}`, `tcp.read {}`)
	want := []string{
		"map[address:8.8.8.8:5432 conn:1]", "map[data:hello\r\n eof:false]", "map[size:3]", "map[data_base64:ww== eof:false]",
		"map[data_base64:vA== eof:false]", "map[data_base64:Cg== eof:false]", "deadline", "map[size:3]",
		"map[data_base64:AP8K eof:false]", "map[size:5]", "map[data: eof:true]", "map[data: eof:true]", "map[]", "map[]",
		"not-found", "not-found", "not-found",
	}
	for i := range want {
		if text := fmt.Sprint(got[i].OK); text != want[i] && got[i].code() != want[i] {
			t.Errorf("call %d: %s %+v, want %s", i, text, got[i].Error, want[i])
		}
	}
	if a.Usage.Denied != 0 {
		t.Errorf("%d denials", a.Usage.Denied)
	}
	<-left
	if n := here.Load(); n != 0 {
		t.Errorf("%d visitors", n)
	}
	for _, args := range []string{
		`{"host":"db.example.com"}`, `{"host":"db.example.com","port":0}`, `{"host":"db.example.com","port":70000}`,
		`{"host":"","port":5432}`, `{"host":"db.example.com:5432","port":5432}`, `{"host":"[::1]","port":5432}`,
	} {
		if got, _ := calls(t, p, "tcp.connect "+args); got[0].code() != "bad-input" {
			t.Errorf("%s: %+v", args, got[0])
		}
	}
}

// TestConnectionLimit: of five connections the sixth is refused and counted, and so is a
// question to the resolver: M-21. What the request leaves open ends with it.
func TestConnectionLimit(t *testing.T) {
	p, n, here, left := database(t)
	got, a := calls(t, p, connectDB, connectDB, connectDB, connectDB, connectDB, connectDB,
		`dns.resolve {"name":"db.example.com"}`, `tcp.close {"conn":2}`, `dns.resolve {"name":"db.example.com"}`, connectDB, connectDB)
	for i, want := range strings.Fields("ok ok ok ok ok limit limit ok ok ok limit") {
		if got[i].code() != want {
			t.Errorf("call %d: %+v, want %s", i, got[i].Error, want)
		}
	}
	if resolved, _ := n.asked(); strings.Count(resolved, "db.example.com") != 7 {
		t.Errorf("resolved %q", resolved)
	}
	if c := counterOf(p, protocol.CapTCP); a.Usage.Denied != 3 || c.Denied != 2 || c.Subject != "max_network_connections 5" {
		t.Errorf("%d denials, audit %+v", a.Usage.Denied, c)
	}
	for range 6 {
		<-left
	}
	if n := here.Load(); n != 0 {
		t.Errorf("%d connections are open after the request", n)
	}
	if got, _ := calls(t, p, connectDB, `tcp.read {"conn":1}`); got[1].code() != "ok" {
		t.Errorf("the next request: %+v", got)
	}
}

// TestTCPEndsWithRequest: a read that waits ends with the request's time, and with the
// guest; the connection too.
func TestTCPEndsWithRequest(t *testing.T) {
	p, _, _, left := database(t)
	script := `{"calls":[{"name":"tcp.connect","args":{"host":"db.example.com","port":5432}},` +
		`{"name":"tcp.read","args":{"conn":1}},{"name":"tcp.read","args":{"conn":1,"timeout_ms":60000}}]}`
	r := work(t, script)
	r.TimeoutMS = 300
	began := time.Now()
	if a := p.Call(context.Background(), r); protocol.CodeOf(asError(a)) != protocol.CodeDeadline {
		t.Errorf("got %v", a.Error)
	}
	<-left
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if a := p.Call(ctx, work(t, script)); protocol.CodeOf(asError(a)) != protocol.CodeUnavailable {
		t.Errorf("cancelled: %v", a.Error)
	}
	<-left
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("took %v", took)
	}
}

// TestTCPGrantsChange: the scopes of now count for a connection that is open.
func TestTCPGrantsChange(t *testing.T) {
	n, here, left := newInternet(), new(atomic.Int32), make(chan struct{}, 1)
	n.name("db.example.com", "8.8.8.8")
	n.hosts["8.8.8.8:5432"] = parrot(t, here, left)
	scoped := func(scope string) []protocol.Grant {
		return []protocol.Grant{{Capability: protocol.CapMQTT}, {Capability: protocol.CapTCP, Scopes: []string{scope}}}
	}
	var p *Plugin
	p = load(t, newHost(t, Config{Network: NetworkConfig{Network: n}, Calls: map[string]HostCall{
		protocol.CapMQTT: func(context.Context, Grants, protocol.Raw) (any, error) {
			p.SetGrants(scoped("other.example.com:5432"))
			return nil, nil
		},
	}}), networked(t, "tcp.connect", "mqtt.publish"))
	p.SetGrants(scoped("db.example.com:5432"))
	got, _ := calls(t, p, connectDB, `tcp.read {"conn":1}`, `mqtt.publish {}`, `tcp.write {"conn":1,"data":"x\n"}`,
		`tcp.read {"conn":1}`)
	for i, want := range strings.Fields("ok ok ok denied not-found") {
		if got[i].code() != want {
			t.Errorf("call %d: %v %+v, want %s", i, got[i].OK, got[i].Error, want)
		}
	}
	<-left
}

// TestTCPOverTLS speaks TLS to a name that is verified, and to no other.
func TestTCPOverTLS(t *testing.T) {
	n := newInternet()
	roots := site(t, n, handler())
	p := load(t, newHost(t, Config{Network: NetworkConfig{Network: n, Roots: roots}}), networked(t,
		"tcp.connect:www.example.com:443", "tcp.connect:other.test:443"))
	got, _ := calls(t, p, `tcp.connect {"host":"www.example.com","port":443,"tls":true}`,
		`tcp.write {"conn":1,"data":"GET /echo HTTP/1.0\r\nHost: x\r\n\r\n"}`, `tcp.read {"conn":1,"max":12}`,
		`tcp.close {"conn":1}`, `tcp.connect {"host":"other.test","port":443,"tls":true}`)
	if got[2].OK["data"] != "HTTP/1.0 200" || got[4].code() != "unavailable" {
		t.Errorf("got %v", got)
	}
}

// TestBudget: the bytes of a minute, in and out, in plain and in TLS: S-07.
func TestBudget(t *testing.T) {
	var offset atomic.Int64
	n, here, left := newInternet(), new(atomic.Int32), make(chan struct{}, 64)
	n.name("db.example.com", "8.8.8.8")
	n.hosts["8.8.8.8:5432"] = parrot(t, here, left)
	h := newHost(t, Config{
		Network: NetworkConfig{Network: n, Budget: NetworkBudget{InPerMinute: 2000, OutPerMinute: 1000}},
		Clock:   func() time.Time { return time.Now().Add(time.Duration(offset.Load())) },
	})
	spec := networked(t, "tcp.connect:db.example.com:5432", "dns.resolve:db.example.com")
	p, second := load(t, h, spec), load(t, h, spec)
	write := fmt.Sprintf(`tcp.write {"conn":1,"data":%q}`, strings.Repeat("x", 500)+"\n")
	got, a := calls(t, p, connectDB, write, write, `tcp.read {"conn":1}`)
	for i, want := range strings.Fields("ok ok limit not-found") {
		if got[i].code() != want {
			t.Errorf("out, call %d: %+v, want %s", i, got[i].Error, want)
		}
	}
	if c := counterOf(p, protocol.CapTCP); a.Usage.Denied != 1 || c.Subject != "budget of 1000 bytes out per minute is spent" {
		t.Errorf("%d denials, audit %+v", a.Usage.Denied, c)
	}
	if got, _ := calls(t, second, connectDB, write); got[1].code() != "limit" {
		t.Errorf("another step of the plugin has a budget of its own: %+v", got)
	}
	for _, step := range []time.Duration{time.Minute, -time.Hour} { // also a clock that is set back
		offset.Add(int64(step))
		if got, _ := calls(t, p, connectDB, write); got[1].code() != "ok" {
			t.Errorf("after %v: %+v", step, got[1].Error)
		}
	}
	offset.Add(int64(time.Minute))
	var many []string
	for range 20 {
		many = append(many, `dns.resolve {"name":"db.example.com"}`)
	}
	got, _ = calls(t, p, many...)
	if got[0].code() != "ok" || got[19].code() != "limit" {
		t.Errorf("questions: first %s, last %s", got[0].code(), got[19].code())
	}
}

// TestBudgetIn: an answer beyond the budget breaks off, over TLS too; the next minute is
// a new one.
func TestBudgetIn(t *testing.T) {
	var offset atomic.Int64
	n := newInternet()
	roots := site(t, n, handler())
	h := newHost(t, Config{
		Network: NetworkConfig{Network: n, Roots: roots, Budget: NetworkBudget{InPerMinute: 20_000, OutPerMinute: -1}},
		Clock:   func() time.Time { return time.Now().Add(time.Duration(offset.Load())) },
	})
	p := load(t, h, networked(t, "http.request:8.8.8.8:8080", "http.request:*.example.com:443"))
	if got, _ := calls(t, p, `http.request {"url":"http://8.8.8.8:8080/echo"}`); got[0].code() != "limit" {
		t.Errorf("a budget of nothing: %+v", got[0])
	}
	p.budget.most[outward] = 1 << 20
	for _, url := range []string{"http://8.8.8.8:8080/big", "https://www.example.com/big"} {
		call := fmt.Sprintf(`http.request {"url":%q,"max":100}`, url)
		big := fmt.Sprintf(`http.request {"url":%q,"max":40000}`, url)
		got, _ := calls(t, p, call, big, call)
		for i, want := range strings.Fields("ok limit limit") {
			if got[i].code() != want {
				t.Errorf("%s, call %d: %+v, want %s", url, i, got[i].Error, want)
			}
		}
		if s := counterOf(p, protocol.CapHTTP).Subject; s != "budget of 20000 bytes in per minute is spent" {
			t.Errorf("the audit says %q", s)
		}
		offset.Add(int64(window))
	}
}

// TestMachineNetwork: without a network of its own a host uses the machine's.
func TestMachineNetwork(t *testing.T) {
	server := httptest.NewServer(handler())
	defer server.Close()
	at := server.Listener.Addr().String()
	p := load(t, newHost(t, Config{}), networked(t, "http.request:"+at, "http.request:localhost:1", "dns.resolve:localhost"))
	got, _ := calls(t, p, `http.request {"url":"http://`+at+`/binary"}`, `dns.resolve {"name":"localhost"}`,
		`http.request {"url":"http://localhost:1/"}`)
	if got[0].OK["body_base64"] != base64.StdEncoding.EncodeToString([]byte{0xff, 0, 1}) || got[1].code() != "ok" ||
		got[2].code() != "denied" {
		t.Errorf("got %+v", got)
	}
}
