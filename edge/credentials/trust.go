package credentials

import (
	"crypto/tls"
	"crypto/x509"
	"time"

	"github.com/stavily/stavily/protocol"
)

// GatewayGrace is how long after its end a certificate still serves between a gateway and its
// neighbours, either way: the hub, which alone could renew it, may be away.
const GatewayGrace = 400 * 24 * time.Hour

// Trust is a TLS 1.3 client that believes the hub by its CA and nothing else.
type Trust struct {
	// IsCA says whether a certificate is that CA; the server's chain must hold it, or it is CA.
	IsCA func(*x509.Certificate) bool
	CA   *x509.Certificate // nil: it must come in the server's chain
	Now  func() time.Time  // by which certificates are held against
	ALPN string
	Own  func() *tls.Certificate // nil: none is shown
	Site protocol.Site           // whose gateways serve as well as the hub; empty: none do
}

// Config returns what to connect with.
func (t Trust) Config() *tls.Config {
	c := &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: protocol.HubServerName,
		NextProtos: []string{t.ALPN},
		Time:       t.Now,
		// The pinned CA decides, in verify. It is asked on resumption too, which the
		// usual verification is not.
		InsecureSkipVerify: true, //nolint:gosec // see above
		VerifyConnection:   t.verify,
	}
	if t.Own != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return t.Own(), nil }
	}
	return c
}

// verify believes a server whose certificate the pinned CA signed for the hub's name.
// A certificate from the device's future is one from before the device's clock was
// set: that alone is no reason to refuse the hub.
func (t Trust) verify(s tls.ConnectionState) error {
	if s.NegotiatedProtocol != t.ALPN {
		return protocol.Errorf(protocol.CodeIncompatible, "hub speaks %q, want %q", s.NegotiatedProtocol, t.ALPN)
	}
	if len(s.PeerCertificates) == 0 {
		return protocol.Errorf(protocol.CodeRefused, "hub shows no certificate")
	}
	ca := t.CA
	between := x509.NewCertPool()
	for _, cert := range s.PeerCertificates[1:] {
		between.AddCert(cert)
		if ca == nil && t.IsCA(cert) {
			ca = cert
		}
	}
	if ca == nil {
		return protocol.Errorf(protocol.CodeRefused, "hub is not the one that the join token is for")
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	leaf := s.PeerCertificates[0]
	at := t.Now()
	for _, cert := range []*x509.Certificate{leaf, ca} {
		if at.Before(cert.NotBefore) {
			at = cert.NotBefore
		}
	}
	name := protocol.HubServerName
	if t.Site != "" && leaf.VerifyHostname(name) != nil {
		name = protocol.GatewayServerName(t.Site)
		// The hub may be away, and a gateway as old as this agent's own certificate.
		if at.After(leaf.NotAfter) && at.Before(leaf.NotAfter.Add(GatewayGrace)) {
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
