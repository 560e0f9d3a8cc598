package broker_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/stavily/stavily/broker"
	"github.com/stavily/stavily/edge/mqtt"
	"github.com/stavily/stavily/protocol"
)

// bound is how long a test waits for what must happen.
const bound = 20 * time.Second

var pump = protocol.Address{Site: "lab", Agent: "pump"}

// world is a hub's CA, a broker on a real socket, and agents with certificates.
type world struct {
	testing.TB
	ca     *x509.Certificate
	key    *ecdsa.PrivateKey
	broker *broker.Broker
	addr   string
}

func newCA(t testing.TB) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key := newKey(t)
	return sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "test hub CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().AddDate(-10, 0, 0), NotAfter: time.Now().Add(time.Hour),
	}, nil, key, key), key
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign signs c, by itself when by is nil.
func sign(t testing.TB, c, by *x509.Certificate, key, byKey *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber = serial
	if c.NotBefore.IsZero() {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	if by == nil {
		by = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, &key.PublicKey, byKey)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func (w *world) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(w.ca)
	return pool
}

func (w *world) hubTLS() *tls.Config {
	key := newKey(w)
	c := sign(w, &x509.Certificate{
		Subject: pkix.Name{CommonName: "hub"}, DNSNames: []string{protocol.HubServerName},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, w.ca, key, w.key)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{c.Raw}, PrivateKey: key}},
		ClientCAs:    w.pool(),
	}
}

// agentTLS returns the configuration of the agent that the URI names.
func (w *world) agentTLS(uri *url.URL) *tls.Config {
	key := newKey(w)
	c := sign(w, &x509.Certificate{
		Subject: pkix.Name{CommonName: "agent"}, URIs: []*url.URL{uri},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, w.ca, key, w.key)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{c.Raw}, PrivateKey: key}},
		RootCAs:      w.pool(),
		ServerName:   protocol.HubServerName,
		NextProtos:   []string{protocol.ALPNLink},
	}
}

func testLog(t testing.TB) *slog.Logger {
	t.Helper()
	if testing.Verbose() && os.Getenv("STAVILY_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}

// newWorld starts a broker on a loopback socket. cfg may be nil or change the config.
func newWorld(t testing.TB, change func(*broker.Config)) *world {
	t.Helper()
	w := &world{TB: t}
	w.ca, w.key = newCA(t)
	cfg := broker.Config{Log: testLog(t), TLS: w.hubTLS(), Caps: broker.DefaultCaps()}
	if change != nil {
		change(&cfg)
	}
	b, err := broker.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.broker = b
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- b.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		if err := b.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return w
}

// fast is a link's config with waits fit for tests.
func fast(t testing.TB, a protocol.Address, dial func(context.Context) (net.Conn, error)) mqtt.Config {
	t.Helper()
	return mqtt.Config{
		Address: a, Dial: dial, Log: testLog(t),
		BackoffMin: time.Millisecond, BackoffMax: 50 * time.Millisecond,
	}
}

func (w *world) dialTLS(a protocol.Address) func(context.Context) (net.Conn, error) {
	return mqtt.DialTLS(w.addr, w.agentTLS(protocol.IdentityURI(a)))
}

// run starts a link and waits until it is up.
func run(t testing.TB, cfg mqtt.Config) *mqtt.Link {
	t.Helper()
	up := make(chan struct{}, 100)
	told := cfg.OnState
	cfg.OnState = func(is bool) {
		if told != nil {
			told(is)
		}
		if is {
			up <- struct{}{}
		}
	}
	l, err := mqtt.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := wait(t, ended); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	wait(t, up)
	return l
}

// wait returns what comes from ch, and fails the test when nothing comes.
func wait[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case v := <-ch:
		return v
	case <-timer.C:
		t.Fatalf("nothing came for %v", bound)
		panic("unreachable")
	}
}

// hears makes a channel of a Listen.
func hears(t testing.TB, l protocol.Link, filter string) <-chan protocol.Message {
	t.Helper()
	ch := make(chan protocol.Message, 1<<16)
	if err := l.Listen(filter, func(m protocol.Message) { ch <- m }); err != nil {
		t.Fatal(err)
	}
	return ch
}

// send sends, and again while the link is not ready.
func send(t testing.TB, l protocol.Link, m protocol.Message) {
	t.Helper()
	for end := time.Now().Add(bound); ; {
		err := l.Send(m)
		if err == nil {
			return
		}
		if protocol.CodeOf(err) != protocol.CodeUnavailable || time.Now().After(end) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond) // the link has room when the other side has read
	}
}
