package door

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"math/big"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stavily/stavily/edge/credentials"
	"github.com/stavily/stavily/edge/gateway"
	"github.com/stavily/stavily/edge/mqtt"
	"github.com/stavily/stavily/protocol"
)

const (
	bound = 30 * time.Second // for what must happen
	day   = 24 * time.Hour
)

var (
	gw    = protocol.Address{Site: "plant", Agent: "gw-1"}
	pump  = protocol.Address{Site: "plant", Agent: "pump"}
	valve = protocol.Address{Site: "plant", Agent: "valve"}
	far   = protocol.Address{Site: "oslo", Agent: "pump"}

	client = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	both   = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
)

// authority is a hub's CA.
type authority struct {
	testing.TB
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{TB: t, key: newKey(t)}
	a.cert = a.sign(&x509.Certificate{
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(10_000 * day),
	}, a.key)
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign signs c for key; it holds from three years ago to the next hour, unless c says else.
func (a *authority) sign(c *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.Helper()
	c.SerialNumber = big.NewInt(1)
	if c.NotBefore.IsZero() {
		c.NotBefore = time.Now().Add(-1000 * day)
	}
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(time.Hour)
	}
	by := a.cert
	if by == nil {
		by = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, &key.PublicKey, a.key)
	if err != nil {
		a.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.Fatal(err)
	}
	return cert
}

// card is what somebody shows.
func (a *authority) card(c *x509.Certificate) *tls.Certificate {
	key := newKey(a)
	cert := a.sign(c, key)
	return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

// agent is a card for an agent, with the names of a server besides.
func (a *authority) agent(at protocol.Address, names ...string) *tls.Certificate {
	return a.card(&x509.Certificate{URIs: []*url.URL{protocol.IdentityURI(at)}, DNSNames: names, ExtKeyUsage: both})
}

// world is a door on a real socket, with the hub's end of what it says.
type world struct {
	testing.TB
	ca      *authority
	door    *Door
	addr    string
	own     atomic.Pointer[tls.Certificate]
	hub     atomic.Pointer[string] // where joins go; nil: it is not reached
	hurried chan struct{}
	uplinks chan bool             // what the gateway's own agent hears of the uplink
	up      chan protocol.Message // to the hub
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{
		TB: t, ca: newAuthority(t), hurried: make(chan struct{}, 100), uplinks: make(chan bool, 100),
		up: make(chan protocol.Message, 100),
	}
	w.own.Store(w.ca.agent(gw, protocol.GatewayServerName(gw.Site)))
	shelf, err := gateway.OpenFolder(t.TempDir(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	w.door, err = Open(Config{
		Address: gw, CA: w.ca.cert, Own: w.own.Load, Hurry: func() { w.hurried <- struct{}{} }, Now: time.Now,
		Dial: w.dialHub, Send: w.send, Agent: w, Shelf: shelf,
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { w.door.Run(ctx, ln); close(ended) }()
	t.Cleanup(func() {
		cancel()
		wait(t, ended)
	})
	return w
}

// Message and Uplink are the gateway's own agent.
func (w *world) Message(protocol.Message) {}

func (w *world) Uplink(up bool, _ uint64) { w.uplinks <- up }

func (w *world) send(m protocol.Message) error {
	w.up <- m
	return nil
}

func (w *world) dialHub(ctx context.Context) (net.Conn, error) {
	at := w.hub.Load()
	if at == nil {
		return nil, protocol.Errorf(protocol.CodeUnavailable, "no hub")
	}
	return new(net.Dialer).DialContext(ctx, "tcp", *at)
}

// trust is how an agent of the site connects, with what it shows.
func (w *world) trust(shown *tls.Certificate) *tls.Config {
	return credentials.Trust{
		IsCA: w.ca.cert.Equal, CA: w.ca.cert, Now: time.Now, ALPN: protocol.ALPNLink, Site: gw.Site,
		Own: func() *tls.Certificate { return shown },
	}.Config()
}

// knock dials with config and says who it is; the line, and whether the door opened.
func (w *world) knock(config *tls.Config, as protocol.Address) (conn net.Conn, in bool) {
	w.Helper()
	conn, err := tls.Dial("tcp", w.addr, config)
	if err != nil {
		return nil, false
	}
	w.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(bound))
	body := append([]byte{0, 4, 'M', 'Q', 'T', 'T', 4, 0, 0, 30}, // MQTT 3.1.1, a session that lasts, 30 s
		binary.BigEndian.AppendUint16(nil, uint16(len(protocol.MQTTClientID(as))))...)
	body = append(body, protocol.MQTTClientID(as)...)
	if _, err := conn.Write(append([]byte{0x10, byte(len(body))}, body...)); err != nil {
		return conn, false
	}
	var answer [4]byte // CONNACK
	n, err := conn.Read(answer[:])
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		w.Errorf("%s: no word in %s", as, bound)
	}
	return conn, err == nil && n == len(answer) && answer[0] == 0x20 && answer[3] == 0
}

// line is an agent's own link through the door, which is up.
func (w *world) line(at protocol.Address, shown *tls.Certificate) (link *mqtt.Link, heard chan protocol.Message) {
	w.Helper()
	up := make(chan bool, 100)
	link, err := mqtt.New(mqtt.Config{
		Address: at, Dial: mqtt.DialTLS(w.addr, w.trust(shown)), OnState: func(is bool) { up <- is },
		BackoffMin: time.Millisecond, BackoffMax: 50 * time.Millisecond,
	})
	if err != nil {
		w.Fatal(err)
	}
	heard = make(chan protocol.Message, 100)
	if err := link.Listen(protocol.DownFilter(at), func(m protocol.Message) { heard <- m; m.Done() }); err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- link.Run(ctx) }()
	w.Cleanup(func() {
		cancel()
		_ = wait(w, ended)
	})
	if !wait(w, up) {
		w.Fatalf("%s: its line is down", at)
	}
	return link, heard
}

// wait returns what comes from ch, and fails the test when nothing comes.
func wait[T any](t testing.TB, ch <-chan T) (v T) {
	t.Helper()
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case v = <-ch:
	case <-timer.C:
		t.Fatalf("nothing came for %v", bound)
	}
	return v
}

// hears waits for a message of one kind.
func hears(t testing.TB, heard <-chan protocol.Message, of protocol.Kind) protocol.Message {
	t.Helper()
	for {
		m := wait(t, heard)
		if _, kind, err := protocol.ParseTopic(m.Topic); err != nil || kind == of {
			return m
		}
	}
}
