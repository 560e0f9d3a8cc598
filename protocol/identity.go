package protocol

import (
	"crypto/x509"
	"net/url"
	"strings"
)

const (
	// ALPNLink is the TLS application protocol of the MQTT link. It needs a client
	// certificate.
	ALPNLink = "mqtt"
	// ALPNJoin is the TLS application protocol by which an agent without a
	// certificate joins, on the same port. One JoinRequest, one JoinReply.
	ALPNJoin = "stavily-join/1"
	// HubServerName is the DNS name in every hub's server certificate. Agents pin the
	// hub's CA and ask for this name, so that a hub may move to another address.
	HubServerName = "hub.stavily.internal"

	identityScheme = "stavily"
	identityHost   = "agent"
)

// IdentityURI returns what stands as the one URI name in the certificate of the
// agent at a: stavily://agent/<site>/<agent>.
func IdentityURI(a Address) *url.URL {
	return &url.URL{Scheme: identityScheme, Host: identityHost, Path: "/" + a.String()}
}

// IdentityOf returns the agent that an already verified client certificate names.
// The error has CodeRefused.
func IdentityOf(cert *x509.Certificate) (Address, error) {
	if len(cert.URIs) != 1 {
		return Address{}, Errorf(CodeRefused, "certificate %q: want 1 URI name, got %d",
			cert.Subject.CommonName, len(cert.URIs))
	}
	u := cert.URIs[0]
	part := strings.Split(strings.TrimPrefix(u.Path, "/"), "/")
	if u.Scheme != identityScheme || u.Host != identityHost || len(part) != 2 {
		return Address{}, Errorf(CodeRefused, "certificate %q: URI %q does not name an agent",
			cert.Subject.CommonName, u)
	}
	a := Address{Site: Site(part[0]), Agent: AgentName(part[1])}
	if err := a.Check(); err != nil {
		return Address{}, Errorf(CodeRefused, "certificate %q: %w", cert.Subject.CommonName, err)
	}
	return a, nil
}

// MQTTClientID returns the one MQTT client identifier that the agent at a may use.
func MQTTClientID(a Address) string { return a.String() }
