package sim

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"time"

	"github.com/stavily/stavily/edge/credentials"
	"github.com/stavily/stavily/sim/swarm"
)

// shown is who the device says that it is: what it joined as, or while a fault spoils its
// certificate, somebody whom no hub has signed.
func (b *body) shown() (*swarm.Identity, error) {
	var who swarm.Identity
	var spoilt bool
	b.r.w.alone(func() { who, spoilt = *b.who, b.expired > 0 })
	if !spoilt {
		return &who, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	of := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: string(b.d.addr.Agent)},
		NotAfter: time.Now().Add(-time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	who.Cert = tls.Certificate{Certificate: [][]byte{cert}, PrivateKey: key}
	return &who, err
}

// keeper returns who renews the device's certificate.
func (b *body) keeper() *credentials.Keeper {
	rng := newStream(b.r.w.seed, "renewal", b.d.id)
	return credentials.NewKeeper(credentials.Keeper{
		Life: func() (given, ends time.Time) {
			b.r.w.alone(func() { given, ends = b.who.Given, b.who.Ends })
			return given, ends
		},
		Now: time.Now, Renew: b.renew, UpTo: rng.upTo,
	})
}

// renew asks for the next certificate.
func (b *body) renew(ctx context.Context) {
	who, err := b.shown()
	if err == nil {
		who, err = who.Renew(ctx, b.d.describe(), func(ctx context.Context, c *tls.Config) (net.Conn, error) {
			return b.reach(func(int) (*tls.Config, error) { return c, nil })(ctx)
		})
	}
	if ctx.Err() != nil {
		return
	}
	b.r.enter()
	defer b.r.leave()
	if err != nil {
		b.unrenewed = err.Error()
		b.r.w.trace.note(b.r.w.now, b.d, "not renewed", []byte(b.unrenewed))
		return
	}
	if who.Ring.Version > b.who.Ring.Version && b.life != nil {
		b.life.inbox.Keyring(who.Ring)
	}
	b.who, b.unrenewed = who, ""
	b.d.stats.Renewals++
	b.r.w.trace.note(b.r.w.now, b.d, "renewed", nil)
}
