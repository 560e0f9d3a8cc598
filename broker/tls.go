package broker

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"time"

	"github.com/stavily/stavily/protocol"
)

// serverTLS makes, of the hub's certificate and client CAs, the configuration that
// demands a client certificate on ALPNLink, only asks for one on ALPNJoin, and refuses
// all else. TLS 1.3 is the only version.
func serverTLS(
	base *tls.Config, allowed func(protocol.Address, *x509.Certificate) bool, grace time.Duration,
) (*tls.Config, error) {
	switch {
	case base == nil:
		return nil, protocol.Errorf(protocol.CodeBadInput, "broker: TLS: no configuration")
	case len(base.Certificates) == 0 && base.GetCertificate == nil:
		return nil, protocol.Errorf(protocol.CodeBadInput, "broker: TLS: no server certificate")
	case base.ClientCAs == nil:
		return nil, protocol.Errorf(protocol.CodeBadInput, "broker: TLS: no client CAs")
	}
	link := strict(base, protocol.ALPNLink)
	link.ClientAuth = tls.RequireAndVerifyClientCert
	if grace > 0 {
		link.ClientAuth = tls.RequireAnyClientCert // verified below
	}
	// VerifyConnection and not VerifyPeerCertificate: a resumed session calls only the
	// former, and a revoked agent must not come back by a ticket.
	link.VerifyConnection = func(state tls.ConnectionState) error {
		if grace > 0 {
			if err := verifyLate(state, link, grace); err != nil {
				return err
			}
		}
		a, err := identityOf(state)
		if err != nil {
			return err
		}
		if !allowed(a, state.PeerCertificates[0]) {
			return protocol.Errorf(protocol.CodeRefused, "agent %s: not allowed", a)
		}
		return nil
	}
	join := strict(base, protocol.ALPNJoin)
	// A renewal shows its old certificate, which may be over: it is verified by who
	// answers the request, and not here.
	join.ClientAuth = tls.RequestClientCert
	outer := strict(base, protocol.ALPNLink, protocol.ALPNJoin)
	outer.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		switch {
		case slices.Contains(hello.SupportedProtos, protocol.ALPNLink):
			return link, nil
		case slices.Contains(hello.SupportedProtos, protocol.ALPNJoin):
			return join, nil
		}
		return nil, protocol.Errorf(protocol.CodeRefused, "application protocols %q: want %s or %s",
			hello.SupportedProtos, protocol.ALPNLink, protocol.ALPNJoin)
	}
	return outer, nil
}

// verifyLate verifies a client's certificate as it was at its end, when that is not longer ago
// than grace. One from the future is one from before this device's clock was set.
func verifyLate(state tls.ConnectionState, c *tls.Config, grace time.Duration) error {
	if len(state.PeerCertificates) == 0 {
		return protocol.Errorf(protocol.CodeRefused, "no client certificate")
	}
	leaf, at := state.PeerCertificates[0], time.Now()
	if c.Time != nil {
		at = c.Time()
	}
	switch {
	case at.Before(leaf.NotBefore):
		at = leaf.NotBefore
	case at.After(leaf.NotAfter) && at.Before(leaf.NotAfter.Add(grace)):
		at = leaf.NotAfter
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: c.ClientCAs, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return protocol.Errorf(protocol.CodeRefused, "client certificate: %w", err)
	}
	return nil
}

func strict(base *tls.Config, protos ...string) *tls.Config {
	c := base.Clone()
	c.MinVersion = tls.VersionTLS13
	c.NextProtos = protos
	c.GetConfigForClient = nil
	return c
}

// identityOf returns the agent that a verified connection belongs to.
func identityOf(state tls.ConnectionState) (protocol.Address, error) {
	if len(state.PeerCertificates) == 0 {
		return protocol.Address{}, protocol.Errorf(protocol.CodeRefused, "no client certificate")
	}
	return protocol.IdentityOf(state.PeerCertificates[0])
}
