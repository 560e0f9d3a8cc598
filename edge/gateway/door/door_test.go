package door

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/edge/credentials"
	"github.com/stavily/stavily/protocol"
)

// C-3, S-12: a door lets in who belongs to its site by a certificate of the hub's CA, also when that
// has ended and the hub, which alone could renew it, is away; and nobody else.
func TestWhoGetsIn(t *testing.T) {
	w := newWorld(t)
	other := newAuthority(t)
	good := w.ca.agent(pump)
	uri := func(text string) *url.URL {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	named := []*url.URL{protocol.IdentityURI(pump)}
	over := func(d time.Duration) *tls.Certificate {
		return w.ca.card(&x509.Certificate{URIs: named, ExtKeyUsage: client, NotAfter: time.Now().Add(-d)})
	}
	for _, c := range []struct {
		name   string
		shown  *tls.Certificate
		as     protocol.Address
		change func(*tls.Config)
		in     bool
	}{
		{"a neighbour", good, pump, nil, true},
		{"a neighbour that is a gateway too", w.ca.agent(valve, protocol.GatewayServerName(gw.Site)), valve, nil, true},
		{"its certificate has ended", over(300 * day), pump, nil, true},
		{"it ended longer ago than the grace", over(credentials.GatewayGrace + day), pump, nil, false},
		{"it begins tomorrow by this clock", w.ca.card(&x509.Certificate{
			URIs: named, ExtKeyUsage: client, NotBefore: time.Now().Add(day), NotAfter: time.Now().Add(2 * day),
		}), pump, nil, true},
		{"an agent of another site", w.ca.agent(far), far, nil, false},
		{"an agent of another site, by its name alone", w.ca.agent(far), pump, nil, false},
		{"the gateway's own name", w.ca.agent(gw), gw, nil, false},
		{"another CA", other.agent(pump), pump, nil, false},
		{"another CA, and it has ended", other.card(&x509.Certificate{
			URIs: named, ExtKeyUsage: client, NotAfter: time.Now().Add(-day),
		}), pump, nil, false},
		{"a server's certificate", w.ca.card(&x509.Certificate{
			URIs: named, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}), pump, nil, false},
		{"no agent in it", w.ca.card(&x509.Certificate{URIs: []*url.URL{uri("https://plant/pump")}, ExtKeyUsage: client}), pump, nil, false},
		{"two agents in it", w.ca.card(&x509.Certificate{
			URIs: []*url.URL{protocol.IdentityURI(pump), protocol.IdentityURI(valve)}, ExtKeyUsage: client,
		}), pump, nil, false},
		{"another's name over the line", good, valve, nil, false},
		{"none shown", &tls.Certificate{}, pump, nil, false},
		{"TLS 1.2", good, pump, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }, false},
		{"another protocol", good, pump, func(c *tls.Config) { c.NextProtos, c.VerifyConnection = []string{"h2"}, nil }, false},
		{"none", good, pump, func(c *tls.Config) { c.NextProtos, c.VerifyConnection = nil, nil }, false},
	} {
		config := w.trust(c.shown)
		if c.change != nil {
			c.change(config)
		}
		conn, in := w.knock(config, c.as)
		if in != c.in {
			t.Errorf("%s: let in %v, want %v", c.name, in, c.in)
		}
		if conn != nil {
			_ = conn.Close()
		}
	}
}

// Nobody is let in by an agent whose certificate does not say that it is a gateway of this site,
// whatever it would like; it asks for one that does, and opens when it has that, and when that
// has ended too.
func TestDoorOfNoGateway(t *testing.T) {
	w := newWorld(t)
	good := w.ca.agent(pump)
	for _, c := range []struct {
		name string
		own  *tls.Certificate
		in   bool
	}{
		{"an agent", w.ca.agent(gw), false},
		{"another site's gateway", w.ca.agent(gw, protocol.GatewayServerName("oslo")), false},
		{"a gateway", w.ca.agent(gw, protocol.GatewayServerName(gw.Site)), true},
		{"a gateway a year after its certificate's end", w.ca.card(&x509.Certificate{
			URIs: []*url.URL{protocol.IdentityURI(gw)}, DNSNames: []string{protocol.GatewayServerName(gw.Site)},
			ExtKeyUsage: both, NotAfter: time.Now().Add(-365 * day),
		}), true},
	} {
		w.own.Store(c.own)
		gullible := w.trust(good)
		gullible.VerifyConnection = nil
		conn, in := w.knock(gullible, pump)
		if in != c.in || w.door.IsGateway() != c.in {
			t.Errorf("%s: let in %v, is a gateway %v, want %v", c.name, in, w.door.IsGateway(), c.in)
		}
		if conn != nil {
			_ = conn.Close()
		}
	}
	w.own.Store(w.ca.agent(gw))
	wait(t, w.hurried)
}

// S-12: whom the hub has named as gone is cut at once and not let in again, by the key that it had;
// who joined anew under the name is, and the others never notice. The newest word is the whole one.
func TestGoneAtTheDoor(t *testing.T) {
	w := newWorld(t)
	old, stays := w.ca.agent(pump), w.ca.agent(valve)
	gone := func(shown *tls.Certificate, as protocol.Address) protocol.Gone {
		return protocol.Gone{Agent: as.Agent, Key: protocol.DigestOf(shown.Leaf.RawSubjectPublicKeyInfo)}
	}
	line, in := w.knock(w.trust(old), pump)
	beside, also := w.knock(w.trust(stays), valve)
	if !in || !also {
		t.Fatalf("before: let in %v and %v", in, also)
	}
	w.door.Gone([]protocol.Gone{gone(old, pump)})
	if n, err := line.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("who is gone hears %d bytes, %v: want it cut", n, err)
	}
	if _, in := w.knock(w.trust(old), pump); in {
		t.Error("who is gone is back")
	}
	if _, err := beside.Write([]byte{0xc0, 0}); err != nil { // a ping
		t.Error(err)
	}
	if n, err := beside.Read(make([]byte, 2)); err != nil || n != 2 {
		t.Errorf("its neighbour hears %d bytes, %v: want the answer to its ping", n, err)
	}
	anew := w.ca.agent(pump)
	again, in := w.knock(w.trust(anew), pump)
	if !in {
		t.Error("who joined anew is not let in")
	} else {
		_ = again.Close()
	}
	w.door.Gone([]protocol.Gone{gone(stays, valve)})
	if _, in := w.knock(w.trust(stays), valve); in {
		t.Error("the second that is gone is back")
	}
	if _, in := w.knock(w.trust(old), pump); !in {
		t.Error("who is not named any more is not let in")
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// C-2: while the hub is away neighbours are let in, hear that it is, and speak to each other; what
// they say to the hub is no more lost than the hub's own line would: presence and report go up, in
// the gateway's name, when it is back.
func TestSiteWithoutTheHub(t *testing.T) {
	w := newWorld(t)
	if wait(t, w.uplinks) {
		t.Error("the gateway's own agent begins with a hub")
	}
	a, toA := w.line(pump, w.ca.agent(pump))
	_, toB := w.line(valve, w.ca.agent(valve))
	if err := a.Send(protocol.Message{Topic: protocol.Topic(pump, protocol.UpPresence), Payload: []byte{0xa0}}); err != nil {
		t.Fatal(err)
	}
	var uplink protocol.Uplink
	if err := protocol.Unmarshal(hears(t, toA, protocol.DownUplink).Payload, &uplink); err != nil || uplink.Up {
		t.Errorf("the neighbour hears %+v of the hub, %v; want that it is away", uplink, err)
	}
	word := protocol.Hop{To: valve, From: pump, Word: protocol.HopOffer, Run: protocol.RunID{1}, Workflow: "guard", Step: "act"}
	if err := a.Send(protocol.Message{Topic: protocol.Topic(pump, protocol.UpHop), Payload: protocol.MustMarshal(word)}); err != nil {
		t.Fatal(err)
	}
	var came protocol.Hop
	if err := protocol.Unmarshal(hears(t, toB, protocol.DownHop).Payload, &came); err != nil || came.From != pump || came.Step != "act" {
		t.Errorf("came %+v, %v; want the word of %s", came, err, pump)
	}
	if n := len(w.up); n != 0 {
		t.Errorf("%d messages to a hub that is away", n)
	}
	w.door.OnState(true, 1)
	if !wait(t, w.uplinks) {
		t.Error("the gateway's own agent does not hear of the hub")
	}
	var carried protocol.Carried
	m := wait(t, w.up)
	if err := protocol.Unmarshal(m.Payload, &carried); err != nil || m.Topic != protocol.Topic(gw, protocol.UpCarried) ||
		carried.Agent != pump.Agent || carried.Kind != protocol.UpPresence {
		t.Errorf("%q says %+v, %v; want the presence of %s", m.Topic, carried, err, pump)
	}
	hint := protocol.Carried{Agent: valve.Agent, Kind: protocol.DownHint, Payload: []byte("hint")}
	w.door.Hear(protocol.Message{Topic: protocol.Topic(gw, protocol.DownCarried), Payload: protocol.MustMarshal(hint)})
	if m := hears(t, toB, protocol.DownHint); string(m.Payload) != "hint" {
		t.Errorf("the neighbour hears %q of the hub", m.Payload)
	}
	if err := w.door.Send(protocol.Message{Topic: protocol.Topic(pump, protocol.UpReported)}); protocol.CodeOf(err) != protocol.CodeRefused {
		t.Errorf("the gateway's agent in a neighbour's name: %v", err)
	}
}

// A neighbour has the topics that the hub's broker would give it, and no others: who tries is cut.
func TestAccessAtTheDoor(t *testing.T) {
	w := newWorld(t)
	shown := w.ca.agent(pump)
	for _, c := range []struct {
		topic string
		may   bool
	}{
		{protocol.Topic(pump, protocol.UpLocal), true},
		{protocol.Topic(valve, protocol.UpReported), false},
		{protocol.Topic(gw, protocol.UpCarried), false},
		{protocol.Topic(pump, protocol.DownHint), false},
		{protocol.Topic(valve, protocol.DownHop), false},
		{"$SYS/x", false},
	} {
		conn, in := w.knock(w.trust(shown), pump)
		if !in {
			t.Fatal("not let in")
		}
		body := append([]byte{0, byte(len(c.topic))}, c.topic...)
		body = append(append(body, 0, 1), 'x') // packet 1
		if _, err := conn.Write(append([]byte{0x32, byte(len(body))}, body...)); err != nil {
			t.Fatal(err)
		}
		var answer [4]byte // PUBACK
		_, err := io.ReadFull(conn, answer[:])
		if isTimeout(err) || (err == nil && answer[0] == 0x40) != c.may {
			t.Errorf("%s publishes on %q: %x, %v; want it taken: %v", pump, c.topic, answer, err, c.may)
		}
		_ = conn.Close()
	}
	if n := len(w.up); n != 0 {
		t.Errorf("%d messages went up", n)
	}
}

// Who joins speaks to the hub alone: the door passes its bytes on as they are, and is no party to
// them, whether the agent may stand at a door or not. Without the hub the line ends; nobody waits.
func TestJoinsPassTheDoor(t *testing.T) {
	w := newWorld(t)
	w.own.Store(w.ca.agent(gw)) // no gateway yet: its first neighbours may join all the same
	hub := w.ca.card(&x509.Certificate{
		DNSNames: []string{protocol.HubServerName}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	join := credentials.Trust{
		IsCA: w.ca.cert.Equal, CA: w.ca.cert, Now: time.Now, ALPN: protocol.ALPNJoin, Site: "",
	}.Config()
	if conn, err := tls.DialWithDialer(&net.Dialer{Timeout: bound}, "tcp", w.addr, join); err == nil {
		_ = conn.Close()
		t.Fatal("joined without a hub")
	} else if isTimeout(err) {
		t.Fatalf("without a hub: %v, want the line's end", err)
	}
	at := listenJoins(t, hub)
	w.hub.Store(&at)
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: bound}, "tcp", w.addr, join)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(bound))
	if shown := conn.ConnectionState().PeerCertificates[0]; !shown.Equal(hub.Leaf) {
		t.Errorf("who joins sees %q, want the hub", shown.DNSNames)
	}
	said := bytes.Repeat([]byte("request "), 4<<10)
	if _, err := conn.Write(said); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(io.LimitReader(conn, int64(len(said))))
	if err != nil || string(got) != strings.ToUpper(string(said)) {
		t.Errorf("%d bytes came back, %v; want the hub's answer", len(got), err)
	}
	if n, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("%d bytes more, %v: want the line's end when the hub has said all", n, err)
	}
}

// One who hangs up amid a join leaves nothing open at the hub until the deadline of joins.
func TestJoinerHangsUp(t *testing.T) {
	w := newWorld(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	at := ln.Addr().String()
	w.hub.Store(&at)
	raw, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = tls.Client(raw, &tls.Config{NextProtos: []string{protocol.ALPNJoin}, InsecureSkipVerify: true}).Handshake()
	}()
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	_ = far.SetDeadline(time.Now().Add(20 * time.Second)) // less than the 30 s of a join
	if n, err := far.Read(make([]byte, 1)); err != nil || n != 1 {
		t.Fatalf("the hub hears %d bytes, %v", n, err)
	}
	_ = raw.Close()
	if _, err := io.Copy(io.Discard, far); isTimeout(err) {
		t.Error("the hub's end is still open")
	}
}

// listenJoins is a hub that says all that it hears of a joining agent in capitals.
func listenJoins(t *testing.T, shown *tls.Certificate) string {
	t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{*shown}, NextProtos: []string{protocol.ALPNJoin},
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() {
		_ = ln.Close()
		wait(t, ended)
	})
	go func() {
		defer close(ended)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		said := make([]byte, 32<<10)
		if _, err := io.ReadFull(conn, said); err == nil {
			_, _ = conn.Write(bytes.ToUpper(said))
		}
	}()
	return ln.Addr().String()
}

// A door that nobody runs is closed as well, and one that ends cuts who is inside.
func TestDoorEnds(t *testing.T) {
	w := newWorld(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var quiet world
	quiet.uplinks = make(chan bool, 1)
	d, err := Open(Config{Address: gw, CA: w.ca.cert, Own: w.own.Load, Now: time.Now, Send: w.send, Agent: &quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { d.Run(ctx, ln); close(ended) }()
	w.addr = ln.Addr().String()
	line, in := w.knock(w.trust(w.ca.agent(pump)), pump)
	if !in {
		t.Fatal("not let in")
	}
	cancel()
	wait(t, ended)
	if n, err := line.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("after the end: %d bytes, %v; want it cut", n, err)
	}
	if d, err = Open(Config{Address: gw, CA: w.ca.cert, Own: w.own.Load, Send: w.send, Agent: w}); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
