// Package door is where a gateway lets in the agents of its site: a broker for them, with the
// access rules that the hub's broker has, which it checks without the hub, and behind it the
// relay that carries for them. The agent's program stands in it, and a simulator on real
// connections.
package door

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stavily/stavily/broker"
	"github.com/stavily/stavily/edge/credentials"
	"github.com/stavily/stavily/edge/gateway"
	"github.com/stavily/stavily/protocol"
)

const (
	// roleEvery is how often a gateway asks the hub for the certificate of one, until it has it.
	roleEvery = 10 * time.Second
	// countsEvery is how often the log says what was carried.
	countsEvery = 10 * time.Minute
)

// Agent is the gateway's own, as edge.Inbox. Its methods must not wait.
type Agent interface {
	Message(m protocol.Message)
	Uplink(up bool, session uint64)
}

// Config is what a door needs. Only Log may be nil.
type Config struct {
	Address protocol.Address  // the gateway's own
	CA      *x509.Certificate // the hub's, by which neighbours are known
	// Own returns the agent's own certificate of the moment, with its Leaf.
	Own func() *tls.Certificate
	// Hurry asks for the next one, since this one does not say that the agent is a gateway. It must
	// not wait.
	Hurry func()
	// Dial connects to the hub, without TLS: what a neighbour that joins or renews says passes
	// through as it is.
	Dial func(ctx context.Context) (net.Conn, error)
	// Send takes a message to the hub by the gateway's one link, as protocol.Link's Send.
	Send  func(m protocol.Message) error
	Agent Agent
	Shelf gateway.Shelf
	Now   func() time.Time // by which certificates are held against
	Log   *slog.Logger
}

// Door is the broker of a gateway's neighbours and what passes their messages on. For the
// gateway's own agent it is a protocol.Link.
type Door struct {
	cfg    Config
	relay  *gateway.Relay
	broker *broker.Broker
	gone   atomic.Pointer[map[protocol.Gone]bool]
}

// Open returns a door at which nobody is let in before Run. The agent hears that there is one.
func Open(cfg Config) (_ *Door, err error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	d := &Door{cfg: cfg}
	agents := x509.NewCertPool()
	agents.AddCert(cfg.CA)
	d.broker, err = broker.New(broker.Config{
		Log: cfg.Log, Caps: caps(), Grace: credentials.GatewayGrace, Allowed: d.allowed, Tunnel: d.tunnel,
		TLS: &tls.Config{
			MinVersion: tls.VersionTLS13, ClientCAs: agents, Time: cfg.Now,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return d.certificate() },
		},
	})
	if err != nil {
		return nil, err
	}
	d.relay = gateway.New(gateway.Config{
		Address: cfg.Address, Site: d.broker, Send: cfg.Send, Own: cfg.Agent.Message, Shelf: cfg.Shelf,
		Log: cfg.Log,
	})
	for _, kind := range []protocol.Kind{
		protocol.UpPresence, protocol.UpReported, protocol.UpRecords, protocol.UpFetch, protocol.UpSecrets,
		protocol.UpHop, protocol.UpRecord, protocol.UpLocal,
	} {
		err := d.broker.Listen(protocol.UpFilter(kind), func(m protocol.Message) {
			d.relay.Neighbour(time.Now(), m)
		})
		if err != nil {
			return nil, errors.Join(err, d.broker.Close())
		}
	}
	cfg.Agent.Uplink(false, 0)
	return d, nil
}

// caps are a broker's bounds for the agents of one site, on a small device.
func caps() broker.Caps {
	c := broker.DefaultCaps()
	c.Connections, c.PerIP, c.Joins, c.Handshakes = 1024, 1024, 8, 4
	c.RetainedBytes = 1 // nothing is
	return c
}

// allowed lets in agents of this site, whose certificates the hub's CA signed, but for those of
// whom the hub has said that they are gone.
func (d *Door) allowed(a protocol.Address, cert *x509.Certificate) bool {
	own := d.cfg.Address
	if a.Site != own.Site || a == own {
		return false
	}
	gone := d.gone.Load()
	return gone == nil || !(*gone)[protocol.Gone{
		Agent: a.Agent, Key: protocol.DigestOf(cert.RawSubjectPublicKeyInfo),
	}]
}

// Gone takes who is no part of the site any more, in place of whom it took before. Those of them
// who are connected are cut; one who is there with a new enrolment comes back.
func (d *Door) Gone(all []protocol.Gone) {
	now := make(map[protocol.Gone]bool, len(all))
	for _, one := range all {
		now[one] = true
	}
	before := d.gone.Swap(&now)
	for _, one := range all {
		if before == nil || !(*before)[one] {
			d.broker.Disconnect(protocol.Address{Site: d.cfg.Address.Site, Agent: one.Agent}, "gone")
		}
	}
}

// certificate is this agent's own, once it says that it is a gateway.
func (d *Door) certificate() (*tls.Certificate, error) {
	if !d.IsGateway() {
		return nil, protocol.Errorf(protocol.CodeUnavailable, "agent %s: not a gateway by its certificate",
			d.cfg.Address)
	}
	return d.cfg.Own(), nil
}

// IsGateway reports whether the agent is a gateway by its certificate: no neighbour would
// believe it otherwise.
func (d *Door) IsGateway() bool {
	return d.cfg.Own().Leaf.VerifyHostname(protocol.GatewayServerName(d.cfg.Address.Site)) == nil
}

// tunnel passes a neighbour that joins or renews on to the hub, which alone can answer it.
func (d *Door) tunnel(ctx context.Context, conn net.Conn) {
	up, err := d.cfg.Dial(ctx)
	if err != nil {
		d.cfg.Log.Warn("join not passed on", slog.String("error", err.Error()))
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
func (d *Door) Send(m protocol.Message) error { return d.relay.Say(time.Now(), m) }

// Listen has nothing to do: what is for the agent comes by Hear.
func (d *Door) Listen(string, func(protocol.Message)) error { return nil }

// Hear takes what comes from the hub.
func (d *Door) Hear(m protocol.Message) { d.relay.Hub(time.Now(), m) }

// OnState takes whether the hub is reached, and the agent's number of the connection.
func (d *Door) OnState(up bool, session uint64) {
	d.cfg.Agent.Uplink(up, session)
	d.relay.Uplink(up)
}

// Run lets neighbours in that come by ln, until ctx ends. It closes ln.
func (d *Door) Run(ctx context.Context, ln net.Listener) {
	var all sync.WaitGroup
	all.Go(func() {
		if err := d.broker.Serve(ctx, ln); err != nil {
			d.cfg.Log.Error("gateway does not listen any more", slog.String("error", err.Error()))
		}
	})
	all.Go(func() { d.tick(ctx) })
	all.Wait()
	_ = d.broker.Close()
}

// Close frees a door that was never run.
func (d *Door) Close() error { return d.broker.Close() }

// tick has the relay try again, asks for the role, and says in the log how it goes.
func (d *Door) tick(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	var asked, told time.Time
	for {
		now := time.Now()
		d.relay.Tick(now)
		if !d.IsGateway() && now.Sub(asked) >= roleEvery {
			if !asked.IsZero() {
				d.cfg.Log.Warn("no gateway yet: neighbours are turned away until the hub says that it is one",
					slog.String("do", "stavily agent gateway "+string(d.cfg.Address.Agent)))
			}
			asked = now
			d.cfg.Hurry()
		}
		if now.Sub(told) >= countsEvery {
			told = now
			d.tell()
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (d *Door) tell() {
	c := d.relay.Counts()
	d.cfg.Log.Info("gateway", slog.Int("neighbours", len(d.broker.Connected())), slog.Uint64("up", c.Up),
		slog.Uint64("down", c.Down), slog.Uint64("inside", c.Inside), slog.Uint64("dropped", c.Dropped),
		slog.Uint64("fetched", c.Fetched), slog.Uint64("served", c.Served))
}

var _ protocol.Link = (*Door)(nil)
