package credentials

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

// authority is a hub's CA.
type authority struct {
	testing.TB
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{TB: t, key: key}
	a.cert = a.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().AddDate(30, 0, 0)}, 0)
	return a
}

// sign signs c, which ended so long ago if that is above 0.
func (a *authority) sign(c *x509.Certificate, over time.Duration) *x509.Certificate {
	a.Helper()
	c.SerialNumber, c.NotBefore = big.NewInt(1), time.Now().AddDate(-5, 0, 0)
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(time.Hour)
	}
	if over > 0 {
		c.NotAfter = time.Now().Add(-over)
	}
	by := a.cert
	if by == nil {
		by = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, &a.key.PublicKey, a.key)
	if err != nil {
		a.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.Fatal(err)
	}
	return cert
}

// C-3, S-12: on its line an agent believes the hub, and the gateways of its own site, also a
// year after their certificates have ended; an agent that only pretends it does not believe, and
// to join or renew it believes the hub alone.
func TestWhoIsBelieved(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	server, client := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	both := append(client, server...)
	const day = 24 * time.Hour
	for _, c := range []struct {
		name       string
		by         *authority
		dns        string
		usage      []x509.ExtKeyUsage
		over       time.Duration
		line, join bool
	}{
		{"hub", a, protocol.HubServerName, server, 0, true, true},
		{"hub that is over", a, protocol.HubServerName, server, day, false, false},
		{"another hub", other, protocol.HubServerName, server, 0, false, false},
		{"gateway", a, protocol.GatewayServerName("plant"), both, 0, true, false},
		{"gateway a year over", a, protocol.GatewayServerName("plant"), both, 365 * day, true, false},
		{"gateway longer over", a, protocol.GatewayServerName("plant"), both, 401 * day, false, false},
		{"another site's gateway", a, protocol.GatewayServerName("oslo"), both, 0, false, false},
		{"another hub's gateway", other, protocol.GatewayServerName("plant"), both, 0, false, false},
		{"agent", a, "", client, 0, false, false},
		{"agent with a gateway's name", a, protocol.GatewayServerName("plant"), client, 0, false, false},
		{"agent that may serve", a, "", both, 0, false, false},
	} {
		leaf := &x509.Certificate{ExtKeyUsage: c.usage}
		if c.dns != "" {
			leaf.DNSNames = []string{c.dns}
		}
		for alpn, want := range map[string]bool{protocol.ALPNLink: c.line, protocol.ALPNJoin: c.join} {
			believes := Trust{CA: a.cert, Now: time.Now, ALPN: alpn}
			if alpn == protocol.ALPNLink {
				believes.Site = "plant"
			}
			err := believes.verify(tls.ConnectionState{
				NegotiatedProtocol: alpn, PeerCertificates: []*x509.Certificate{c.by.sign(leaf, c.over)},
			})
			if (err == nil) != want {
				t.Errorf("%s on %s: %v, want it believed: %v", c.name, alpn, err, want)
			}
		}
	}
}
