package main

import (
	"crypto/tls"
	"crypto/x509"
	"sync/atomic"
	"time"

	"github.com/stavily/stavily/edge/mqtt"
	"github.com/stavily/stavily/protocol"
)

// clock is the time that TLS goes by: the machine's, or the floor when that is later.
// A device without a clock begins in 1970 and would believe no certificate.
type clock struct{ floor atomic.Int64 } // ms since 1970

func (c *clock) raise(t time.Time) {
	if ms := t.UnixMilli(); ms > c.floor.Load() {
		c.floor.Store(ms)
	}
}

func (c *clock) now() time.Time {
	now, floor := time.Now(), time.UnixMilli(c.floor.Load())
	if now.Before(floor) {
		return floor
	}
	return now
}

// gatewayGrace is how long after its end a gateway's certificate still serves its neighbours.
const gatewayGrace = 400 * 24 * time.Hour

// trust is a TLS 1.3 client that believes the hub by its CA and nothing else. isCA says
// whether a certificate is that CA; the server's chain must hold it, or it is ca.
type trust struct {
	isCA  func(*x509.Certificate) bool
	ca    *x509.Certificate // nil: it must come in the server's chain
	clock *clock
	alpn  string
	own   func() *tls.Certificate // nil: none is shown
	site  protocol.Site           // whose gateways serve as well as the hub; empty: none do
	look  mqtt.Browse             // for the gateways that pass on to the hub; nil: nobody does
}

func (t trust) config() *tls.Config {
	c := &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: protocol.HubServerName,
		NextProtos: []string{t.alpn},
		Time:       t.clock.now,
		// The pinned CA decides, in verify. It is asked on resumption too, which the
		// usual verification is not.
		InsecureSkipVerify: true, //nolint:gosec // see above
		VerifyConnection:   t.verify,
	}
	if t.own != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return t.own(), nil }
	}
	return c
}

// verify believes a server whose certificate the pinned CA signed for the hub's name.
// A certificate from the device's future is one from before the device's clock was
// set: that alone is no reason to refuse the hub.
func (t trust) verify(s tls.ConnectionState) error {
	if s.NegotiatedProtocol != t.alpn {
		return protocol.Errorf(protocol.CodeIncompatible, "hub speaks %q, want %q", s.NegotiatedProtocol, t.alpn)
	}
	if len(s.PeerCertificates) == 0 {
		return protocol.Errorf(protocol.CodeRefused, "hub shows no certificate")
	}
	ca := t.ca
	between := x509.NewCertPool()
	for _, cert := range s.PeerCertificates[1:] {
		between.AddCert(cert)
		if ca == nil && t.isCA(cert) {
			ca = cert
		}
	}
	if ca == nil {
		return protocol.Errorf(protocol.CodeRefused, "hub is not the one that the join token is for")
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	leaf := s.PeerCertificates[0]
	at := t.clock.now()
	for _, cert := range []*x509.Certificate{leaf, ca} {
		if at.Before(cert.NotBefore) {
			at = cert.NotBefore
		}
	}
	name := protocol.HubServerName
	if t.site != "" && leaf.VerifyHostname(name) != nil {
		name = protocol.GatewayServerName(t.site)
		// The hub may be away, and a gateway as old as this agent's own certificate.
		if at.After(leaf.NotAfter) && at.Before(leaf.NotAfter.Add(gatewayGrace)) {
			at = leaf.NotAfter
		}
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: at, DNSName: name,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return protocol.Errorf(protocol.CodeRefused, "hub's certificate: %w", err)
	}
	return nil
}
