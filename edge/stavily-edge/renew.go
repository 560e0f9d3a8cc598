package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/disk"
	"github.com/stavily/stavily/edge/mqtt"
	"github.com/stavily/stavily/edge/sysinfo"
	"github.com/stavily/stavily/protocol"
)

// renewEvery is how often it is looked whether the certificate is to be renewed. State
// decides, looked at again and again: a jump of the clock skips nothing.
const renewEvery = time.Hour

// endedEvery is the same once the certificate has ended: there is no line without the next.
const endedEvery = time.Minute

// credentials are what the agent shows to the hub. Renewing them never stops anything
// that runs here.
type credentials struct {
	id    *disk.Identity
	key   *ecdsa.PrivateKey
	ca    *x509.Certificate
	clock *clock
	log   *slog.Logger
	look  mqtt.Browse // as of trust

	enrolment disk.Enrolment // of the goroutine that renews
	leaf      *x509.Certificate
	shown     atomic.Pointer[tls.Certificate]
	now       chan struct{} // holds one: renew at once
	rings     chan []byte   // holds one: a sealed keyring that was brought by hand
}

func newCredentials(id *disk.Identity, e disk.Enrolment, c *clock, log *slog.Logger) (*credentials, error) {
	key, err := id.Key()
	if err != nil {
		return nil, err
	}
	ca, err := x509.ParseCertificate(e.CA)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeStorage, "identity: CA: %w", err)
	}
	cr := &credentials{
		id: id, key: key, ca: ca, clock: c, log: log, now: make(chan struct{}, 1),
		rings: make(chan []byte, 1),
	}
	return cr, cr.show(e)
}

// show makes e what is shown from now on.
func (c *credentials) show(e disk.Enrolment) error {
	leaf, err := x509.ParseCertificate(e.Certificate)
	if err != nil {
		return protocol.Errorf(protocol.CodeStorage, "identity: certificate: %w", err)
	}
	c.enrolment, c.leaf = e, leaf
	c.shown.Store(&tls.Certificate{Certificate: [][]byte{e.Certificate}, PrivateKey: c.key, Leaf: leaf})
	return nil
}

func (c *credentials) trust(alpn string) trust {
	return trust{ca: c.ca, clock: c.clock, alpn: alpn, own: c.shown.Load, look: c.look}
}

// due reports whether half of the certificate's life is over. It begins when the hub
// gave it: hubs date certificates back for devices whose clock is behind.
func (c *credentials) due() bool {
	given := time.UnixMilli(c.enrolment.Time)
	return c.clock.now().After(given.Add(c.leaf.NotAfter.Sub(given) / 2))
}

// keep renews the certificate when it is due, until ctx ends. A failure is a warning;
// while the certificate still serves, many agents must not ask at once.
func (c *credentials) keep(ctx context.Context, inbox *edge.Inbox) {
	wait := time.Duration(rand.Int64N(int64(time.Minute)))
	if c.clock.now().After(c.leaf.NotAfter) {
		wait = 0
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-c.now:
			asked = true
		case sealed := <-c.rings:
			c.brought(sealed, inbox)
			continue
		}
		if asked || c.due() {
			if err := c.renew(ctx, inbox); err != nil {
				c.log.Warn("certificate not renewed; what runs here goes on", slog.Time("ends", c.leaf.NotAfter),
					slog.String("error", err.Error()))
			}
		}
		every := renewEvery
		if c.clock.now().After(c.leaf.NotAfter) {
			every = endedEvery
		}
		timer.Reset(every/2 + time.Duration(rand.Int64N(int64(every))))
	}
}

// hurry has the certificate, and the keyring with it, renewed at once.
func (c *credentials) hurry() {
	select {
	case c.now <- struct{}{}:
	default:
	}
}

func (c *credentials) renew(ctx context.Context, inbox *edge.Inbox) error {
	e := c.enrolment
	req := protocol.JoinRequest{Address: e.Address, Renew: true, Device: sysinfo.Device(version, e.Labels)}
	reply, err := exchange(ctx, e.Hub, c.trust(protocol.ALPNJoin), c.key, req)
	if err != nil {
		return err
	}
	if reply.Address != e.Address || reply.Epoch != e.Epoch {
		return protocol.Errorf(protocol.CodeRefused, "renew: hub answers for %s epoch %d, this is %s epoch %d",
			reply.Address, reply.Epoch, e.Address, e.Epoch)
	}
	e.Certificate, e.Time = reply.Certificate, reply.Time
	if len(reply.Keyring) > 0 {
		newer := e
		newer.Keyring = reply.Keyring
		if ring, err := openKeyring(newer); err == nil && !c.older(ring) {
			e = newer
			inbox.Keyring(ring)
		}
	}
	if err := c.id.Enrol(e); err != nil {
		return err
	}
	c.clock.raise(time.UnixMilli(reply.Time))
	c.log.Info("certificate renewed", slog.String("agent", e.Address.String()))
	return c.show(e)
}

// brought keeps a keyring that came by hand, and believes it from then on.
func (c *credentials) brought(sealed []byte, inbox *edge.Inbox) {
	e := c.enrolment
	e.Keyring = sealed
	ring, err := openKeyring(e)
	if err != nil || c.older(ring) {
		return
	}
	if err := c.id.Enrol(e); err != nil {
		c.log.Error("keyring not kept", slog.String("error", err.Error()))
		return
	}
	c.enrolment = e
	inbox.Keyring(ring)
}

// older reports whether ring is below the one that is held: versions only rise.
func (c *credentials) older(ring protocol.Keyring) bool {
	held, err := openKeyring(c.enrolment)
	return err == nil && ring.Version < held.Version
}
