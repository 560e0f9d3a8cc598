//go:build gateway

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stavily/stavily/broker"
	"github.com/stavily/stavily/edge/gateway"
	"github.com/stavily/stavily/edge/mqtt"
	"github.com/stavily/stavily/protocol"
)

const (
	// shelfMax bounds what a gateway keeps of files for its site, in bytes.
	shelfMax = 256 << 20
	// roleEvery is how often a gateway asks the hub for the certificate of one, until it has it.
	roleEvery = 10 * time.Second
	// countsEvery is how often the log says what was carried.
	countsEvery = 10 * time.Minute
)

// siteGateway is the broker of this device's neighbours, and what passes their messages on.
type siteGateway struct {
	h      *house
	shown  *credentials
	relay  *gateway.Relay
	broker *broker.Broker
	listen net.Listener
	gone   atomic.Pointer[map[protocol.Gone]bool]
}

// openGateway listens at addr for neighbours.
func openGateway(h *house, c *credentials, addr string) (_ carrier, err error) {
	g := &siteGateway{h: h, shown: c}
	agents := x509.NewCertPool()
	agents.AddCert(c.ca)
	g.broker, err = broker.New(broker.Config{
		Log: h.log, Caps: siteCaps(), Grace: gatewayGrace, Allowed: g.allowed, Tunnel: g.tunnel,
		TLS: &tls.Config{
			MinVersion: tls.VersionTLS13, ClientCAs: agents, Time: h.clock.now,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return g.certificate() },
		},
	})
	if err != nil {
		return nil, err
	}
	shelf, err := gateway.OpenFolder(filepath.Join(h.state, "site"), shelfMax)
	if err != nil {
		return nil, errors.Join(err, g.broker.Close())
	}
	g.relay = gateway.New(gateway.Config{
		Address: h.enrolment.Address, Site: g.broker,
		Send: func(m protocol.Message) error { return h.link.Send(m) }, // there is none yet
		Own:  h.inbox.Message, Shelf: shelf, Log: h.log,
	})
	for _, kind := range []protocol.Kind{
		protocol.UpPresence, protocol.UpReported, protocol.UpRecords, protocol.UpFetch, protocol.UpSecrets,
		protocol.UpHop, protocol.UpRecord, protocol.UpLocal,
	} {
		err := g.broker.Listen(protocol.UpFilter(kind), func(m protocol.Message) {
			g.relay.Neighbour(time.Now(), m)
		})
		if err != nil {
			return nil, errors.Join(err, g.broker.Close())
		}
	}
	if g.listen, err = net.Listen("tcp", addr); err != nil {
		return nil, errors.Join(&failure{err, "give --gateway an address of this device, such as :8883", exitUsage},
			g.broker.Close())
	}
	h.inbox.Uplink(false, 0)
	h.log.Info("gateway listens", slog.String("site", string(h.enrolment.Address.Site)),
		slog.String("address", g.listen.Addr().String()))
	return g, nil
}

// siteCaps are a broker's bounds for the agents of one site, on a small device.
func siteCaps() broker.Caps {
	c := broker.DefaultCaps()
	c.Connections, c.PerIP, c.Joins, c.Handshakes = 1024, 1024, 8, 4
	c.RetainedBytes = 1 // nothing is
	return c
}

// allowed lets in agents of this site, whose certificates the hub's CA signed, but for those of
// whom the hub has said that they are gone.
func (g *siteGateway) allowed(a protocol.Address, cert *x509.Certificate) bool {
	own := g.h.enrolment.Address
	if a.Site != own.Site || a == own {
		return false
	}
	gone := g.gone.Load()
	return gone == nil || !(*gone)[protocol.Gone{
		Agent: a.Agent, Key: protocol.DigestOf(cert.RawSubjectPublicKeyInfo),
	}]
}

// Gone takes who is no part of the site any more. Those of them who are connected are cut; one who
// is there with a new enrolment comes back.
func (g *siteGateway) Gone(all []protocol.Gone) {
	now := make(map[protocol.Gone]bool, len(all))
	for _, one := range all {
		now[one] = true
	}
	before := g.gone.Swap(&now)
	for _, one := range all {
		if before == nil || !(*before)[one] {
			g.broker.Disconnect(protocol.Address{Site: g.h.enrolment.Address.Site, Agent: one.Agent}, "gone")
		}
	}
}

// certificate is this agent's own, once it says that it is a gateway.
func (g *siteGateway) certificate() (*tls.Certificate, error) {
	if !g.isGateway() {
		return nil, protocol.Errorf(protocol.CodeUnavailable, "agent %s: not a gateway by its certificate",
			g.h.enrolment.Address)
	}
	return g.shown.shown.Load(), nil
}

func (g *siteGateway) isGateway() bool {
	name := protocol.GatewayServerName(g.h.enrolment.Address.Site)
	return g.shown.shown.Load().Leaf.VerifyHostname(name) == nil
}

// tunnel passes a neighbour that joins or renews on to the hub, which alone can answer it.
func (g *siteGateway) tunnel(ctx context.Context, conn net.Conn) {
	up, err := mqtt.DialPlain(ctx, g.h.enrolment.Hub)
	if err != nil {
		g.h.log.Warn("join not passed on", slog.String("error", err.Error()))
		return
	}
	defer up.Close()
	defer context.AfterFunc(ctx, func() { _ = up.Close() })()
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(up, conn)
		_ = up.Close()
	})
	_, _ = io.Copy(conn, up) // either end may just hang up
	_ = conn.Close()
	both.Wait()
}

// Send takes what this device's own agent says.
func (g *siteGateway) Send(m protocol.Message) error { return g.relay.Say(time.Now(), m) }

// Listen has nothing to do: what is for the agent comes by Hear.
func (g *siteGateway) Listen(string, func(protocol.Message)) error { return nil }

// Hear takes what comes from the hub.
func (g *siteGateway) Hear(m protocol.Message) { g.relay.Hub(time.Now(), m) }

// OnState takes whether the hub is reached.
func (g *siteGateway) OnState(up bool, session uint64) {
	g.h.inbox.Uplink(up, session)
	g.relay.Uplink(up)
}

// Run serves until ctx ends.
func (g *siteGateway) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() {
		if err := g.broker.Serve(ctx, g.listen); err != nil {
			g.h.log.Error("gateway does not listen any more", slog.String("error", err.Error()))
		}
	})
	all.Go(func() { g.tick(ctx) })
	all.Go(func() { g.beFound(ctx) })
	all.Wait()
	_ = g.broker.Close()
}

// tick has the relay try again, asks for the role, and says in the log how it goes.
func (g *siteGateway) tick(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	var asked, told time.Time
	for {
		now := time.Now()
		g.relay.Tick(now)
		if !g.isGateway() && now.Sub(asked) >= roleEvery {
			if !asked.IsZero() {
				g.h.log.Warn("no gateway yet: neighbours are turned away until the hub says that it is one",
					slog.String("do", "stavily agent gateway "+string(g.h.enrolment.Address.Agent)))
			}
			asked = now
			g.shown.hurry()
		}
		if now.Sub(told) >= countsEvery {
			told = now
			c := g.relay.Counts()
			g.h.log.Info("gateway", slog.Int("neighbours", len(g.broker.Connected())), slog.Uint64("up", c.Up),
				slog.Uint64("down", c.Down), slog.Uint64("inside", c.Inside), slog.Uint64("dropped", c.Dropped),
				slog.Uint64("fetched", c.Fetched), slog.Uint64("served", c.Served))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

var _ carrier = (*siteGateway)(nil)
