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
	"time"

	"github.com/stavily/stavily/sim/swarm"
)

// renewEvery and endedEvery are how often an agent looks whether its certificate is to be
// renewed, while it lasts and after its end, as stavily-edge does.
const (
	renewEvery = time.Hour
	endedEvery = time.Minute
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

// keep renews the certificate when half of its life is over, until ctx ends. What runs on
// the device goes on without.
func (b *body) keep(ctx context.Context) {
	var wait time.Duration
	var rng stream
	b.r.w.alone(func() {
		rng = newStream(b.r.w.seed, "renewal", b.d.id)
		if !time.Now().After(b.who.Ends) {
			wait = rng.upTo(time.Minute)
		}
	})
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		var due bool
		b.r.w.alone(func() {
			due = time.Now().After(b.who.Given.Add(b.who.Ends.Sub(b.who.Given) / 2))
		})
		if due {
			b.renew(ctx)
		}
		timer.Reset(b.again(&rng))
	}
}

// again returns when to look next: soon once the certificate has ended.
func (b *body) again(rng *stream) (wait time.Duration) {
	every := renewEvery
	b.r.w.alone(func() {
		if time.Now().After(b.who.Ends) {
			every = endedEvery
		}
	})
	return every/2 + rng.upTo(every)
}

// renew asks for the next certificate.
func (b *body) renew(ctx context.Context) {
	who, err := b.shown()
	if err == nil {
		who, err = who.Renew(ctx, b.d.describe(), b.bare)
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
	b.who, b.unrenewed = who, ""
	b.d.stats.Renewals++
	b.r.w.trace.note(b.r.w.now, b.d, "renewed", nil)
}
