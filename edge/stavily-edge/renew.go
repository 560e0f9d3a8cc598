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
	"github.com/stavily/stavily/edge/credentials"
	"github.com/stavily/stavily/edge/disk"
	"github.com/stavily/stavily/edge/mqtt"
	"github.com/stavily/stavily/edge/sysinfo"
	"github.com/stavily/stavily/protocol"
)

// identity is what the agent shows to the hub. Renewing them never stops anything
// that runs here.
type identity struct {
	id    *disk.Identity
	key   *ecdsa.PrivateKey
	ca    *x509.Certificate
	clock *clock
	log   *slog.Logger
	look  mqtt.Browse // as of trust

	enrolment disk.Enrolment // of the goroutine that renews
	leaf      *x509.Certificate
	shown     atomic.Pointer[tls.Certificate]
	inbox     *edge.Inbox
	keeper    *credentials.Keeper
	rings     chan func() // holds one: takes a sealed keyring that was brought by hand
}

func newIdentity(id *disk.Identity, e disk.Enrolment, c *clock, log *slog.Logger) (*identity, error) {
	key, err := id.Key()
	if err != nil {
		return nil, err
	}
	ca, err := x509.ParseCertificate(e.CA)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeStorage, "identity: CA: %w", err)
	}
	own := &identity{
		id: id, key: key, ca: ca, clock: c, log: log, inbox: edge.NewInbox(), rings: make(chan func(), 1),
	}
	own.keeper = credentials.NewKeeper(credentials.Keeper{
		Life: func() (given, ends time.Time) { return time.UnixMilli(own.enrolment.Time), own.leaf.NotAfter },
		Now:  c.now, Renew: own.keep,
		UpTo: func(d time.Duration) time.Duration { return time.Duration(rand.Int64N(int64(d))) },
	})
	return own, own.show(e)
}

// show makes e what is shown from now on.
func (c *identity) show(e disk.Enrolment) error {
	leaf, err := x509.ParseCertificate(e.Certificate)
	if err != nil {
		return protocol.Errorf(protocol.CodeStorage, "identity: certificate: %w", err)
	}
	c.enrolment, c.leaf = e, leaf
	c.shown.Store(&tls.Certificate{Certificate: [][]byte{e.Certificate}, PrivateKey: c.key, Leaf: leaf})
	return nil
}

func (c *identity) trust(alpn string) trust {
	return trust{credentials.Trust{CA: c.ca, Now: c.clock.now, ALPN: alpn, Own: c.shown.Load}, c.look}
}

// keep renews the certificate. A failure is a warning.
func (c *identity) keep(ctx context.Context) {
	if err := c.renew(ctx); err != nil {
		c.log.Warn("certificate not renewed; what runs here goes on", slog.Time("ends", c.leaf.NotAfter),
			slog.String("error", err.Error()))
	}
}

func (c *identity) renew(ctx context.Context) error {
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
			c.inbox.Keyring(ring)
		}
	}
	if err := c.id.Enrol(e); err != nil {
		return err
	}
	c.clock.raise(time.UnixMilli(reply.Time))
	c.log.Info("certificate renewed", slog.String("agent", e.Address.String()))
	return c.show(e)
}

// bring has a keyring that came by hand taken, unless another one is about to be.
func (c *identity) bring(sealed []byte) {
	select {
	case c.rings <- func() { c.brought(sealed) }:
	default:
	}
}

// brought keeps a keyring that came by hand, and believes it from then on.
func (c *identity) brought(sealed []byte) {
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
	c.inbox.Keyring(ring)
}

// older reports whether ring is below the one that is held: versions only rise.
func (c *identity) older(ring protocol.Keyring) bool {
	held, err := openKeyring(c.enrolment)
	return err == nil && ring.Version < held.Version
}
