package broker_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/stavily/stavily/broker"
	"github.com/stavily/stavily/protocol"
)

// Who joins is passed on from the first byte, and TLS is between it and whoever is behind; who
// wants the line is served here.
func TestTunnel(t *testing.T) {
	hub := newWorld(t, func(c *broker.Config) {
		c.Join = func(_ context.Context, conn *tls.Conn) {
			var in [5]byte
			if _, err := io.ReadFull(conn, in[:]); err == nil {
				_, _ = conn.Write(bytes.ToUpper(in[:]))
			}
		}
	})
	gateway := newWorld(t, func(c *broker.Config) {
		c.Tunnel = func(ctx context.Context, conn net.Conn) {
			far, err := new(net.Dialer).DialContext(ctx, "tcp", hub.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer far.Close()
			go func() { _, _ = io.Copy(far, conn) }()
			_, _ = io.Copy(conn, far)
		}
	})
	conn, err := tls.Dial("tcp", gateway.addr, &tls.Config{
		RootCAs: hub.pool(), ServerName: protocol.HubServerName, NextProtos: []string{protocol.ALPNJoin},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(bound))
	got := make([]byte, 5)
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "HELLO" {
		t.Errorf("through the gateway: %q, %v", got, err)
	}
	line, err := tls.Dial("tcp", gateway.addr, gateway.agentTLS(protocol.IdentityURI(pump)))
	if err != nil {
		t.Fatalf("the line of the gateway itself: %v", err)
	}
	_ = line.Close()
}

// C-3: with a grace, a certificate that is over lets its agent in; after it, or from another
// CA, or without the grace, it does not.
func TestGrace(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		name    string
		grace   time.Duration
		over    time.Duration
		foreign bool
		want    bool
	}{
		{"valid", 400 * day, -day, false, true},
		{"over", 400 * day, 300 * day, false, true},
		{"over for too long", 400 * day, 401 * day, false, false},
		{"of another CA", 400 * day, -day, true, false},
		{"over, without a grace", 0, time.Minute, false, false},
	} {
		w := newWorld(t, func(cfg *broker.Config) { cfg.Grace = c.grace })
		ca, caKey := w.ca, w.key
		if c.foreign {
			ca, caKey = newCA(t)
		}
		key := newKey(t)
		cert := sign(t, &x509.Certificate{
			URIs:        []*url.URL{protocol.IdentityURI(pump)},
			NotBefore:   time.Now().Add(-1000 * day),
			NotAfter:    time.Now().Add(-c.over),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}, ca, key, caKey)
		conn, err := tls.Dial("tcp", w.addr, &tls.Config{
			RootCAs: w.pool(), ServerName: protocol.HubServerName, NextProtos: []string{protocol.ALPNLink},
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		// In TLS 1.3 the server's word on the client comes with the first read: an answer to
		// CONNECT, or an alert.
		_ = conn.SetDeadline(time.Now().Add(bound))
		if _, err = conn.Write(login{id: protocol.MQTTClientID(pump)}.packet()); err == nil {
			_, err = conn.Read(make([]byte, 4))
		}
		_ = conn.Close()
		if (err == nil) != c.want {
			t.Errorf("%s: %v, want it let in: %v", c.name, err, c.want)
		}
	}
}
