package broker

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"

	"github.com/stavily/stavily/protocol"
)

// Config is what a Broker needs.
type Config struct {
	Log *slog.Logger
	// TLS holds the hub's certificate and the CAs of the agents' certificates. It may
	// be nil when only Dial is used.
	TLS *tls.Config
	// Join serves one connection of an agent that has no certificate yet, or an old
	// one: a certificate that conn shows has NOT been verified. ctx ends at
	// Caps.JoinDeadline, when the connection is closed. Nil refuses all joins.
	Join func(ctx context.Context, conn *tls.Conn)
	// Tunnel, when set, is given the connections that ask for joining in place of Join, unopened:
	// conn reads from the first byte that came. ctx ends at Caps.JoinDeadline.
	Tunnel func(ctx context.Context, conn net.Conn)
	// Grace is how long after its end an agent's certificate still lets it in. 0, as for a hub,
	// is not a moment: whoever is over renews.
	Grace time.Duration
	// Allowed says whether an agent may connect. It is asked at every handshake,
	// resumed ones included, and at every login. cert is the one that it came with, nil
	// on a connection inside the process. Nil allows every certified agent.
	Allowed func(a protocol.Address, cert *x509.Certificate) bool
	// Denied is told of every refusal, for the audit. It must return at once. who is
	// empty when nobody had been identified. May be nil.
	Denied func(who protocol.Address, what string)
	// Caps are DefaultCaps() when zero.
	Caps Caps
}

// Broker carries messages between the hub and its agents. For the hub it is a
// protocol.Link.
type Broker struct {
	log    *slog.Logger
	cfg    Config
	caps   Caps
	tls    atomic.Pointer[tls.Config]
	server *mqtt.Server
	gate   *gate
	denial denialLog
	stats  counters
	links  listeners
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // connections

	mu       sync.Mutex // guards the fields below
	closed   bool
	sessions map[protocol.Address]*session
	judging  map[protocol.Address]bool // a second connection is being judged
	retained map[string]int            // payload bytes by topic
	kept     int                       // sum of retained
}

// New starts a broker without any listener.
func New(cfg Config) (*Broker, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Caps == (Caps{}) {
		cfg.Caps = DefaultCaps()
	}
	if err := cfg.Caps.Validate(); err != nil {
		return nil, err
	}
	if cfg.Allowed == nil {
		cfg.Allowed = func(protocol.Address, *x509.Certificate) bool { return true }
	}
	b := &Broker{
		log: cfg.Log, cfg: cfg, caps: cfg.Caps, gate: newGate(cfg.Caps),
		sessions: map[protocol.Address]*session{},
		judging:  map[protocol.Address]bool{},
		retained: map[string]int{},
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	if cfg.TLS != nil {
		if err := b.SetTLS(cfg.TLS); err != nil {
			return nil, err
		}
	}
	b.server = mqtt.New(options(cfg.Caps))
	if err := b.server.AddHook(&hook{b: b}, nil); err != nil {
		return nil, fmt.Errorf("broker: hook: %w", err)
	}
	if err := b.server.Serve(); err != nil {
		return nil, fmt.Errorf("broker: start: %w", err)
	}
	return b, nil
}

// options are mochi's own settings. Its listeners and its log are not used: the log
// prints payloads.
func options(caps Caps) *mqtt.Options {
	return &mqtt.Options{
		Capabilities: &mqtt.Capabilities{
			MaximumClients:               math.MaxInt64, // the gate counts
			MaximumMessageExpiryInterval: 0,             // never by the wall clock
			MaximumSessionExpiryInterval: math.MaxUint32,
			MaximumClientWritesPending:   int32(2*caps.Inflight + 16),
			MaximumPacketSize:            publishMax + 8,
			ReceiveMaximum:               uint16(caps.Inflight) + 1,
			MaximumInflight:              uint16(caps.Inflight) + 8,
			TopicAliasMaximum:            0,
			SharedSubAvailable:           0,
			MinimumProtocolVersion:       mqtt311,
			MaximumQos:                   1,
			RetainAvailable:              1,
			WildcardSubAvailable:         1,
		},
		Logger:                   slog.New(slog.DiscardHandler),
		ClientNetReadBufferSize:  64, // the guard has a buffer
		ClientNetWriteBufferSize: 64,
		SysTopicResendInterval:   365 * 24 * 3600, // nobody may hear $SYS
		InlineClient:             true,
	}
}

// SetTLS replaces certificate and CAs for all handshakes from now on.
func (b *Broker) SetTLS(base *tls.Config) error {
	c, err := serverTLS(base, b.cfg.Allowed, b.cfg.Grace)
	if err != nil {
		return err
	}
	b.tls.Store(c)
	return nil
}

// Serve accepts on ln until ctx ends, then closes ln and its connections and returns
// nil. It may run for several listeners at once.
func (b *Broker) Serve(ctx context.Context, ln net.Listener) error {
	if b.tls.Load() == nil {
		return protocol.Errorf(protocol.CodeBadInput, "broker: serve %s: no TLS configuration", ln.Addr())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.ctx, cancel)()
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for wait := 5 * time.Millisecond; ; {
		conn, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("broker: serve %s: %w", ln.Addr(), err)
		case err != nil: // out of descriptors: those who are in may leave
			b.log.Warn("accept", slog.Any("error", err))
			if !sleep(ctx, wait) {
				return nil
			}
			wait = min(2*wait, time.Second)
		default:
			wait = 5 * time.Millisecond
			wg.Go(func() { b.serveConn(ctx, conn) })
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// serveConn takes one accepted socket through its handshake to the end.
func (b *Broker) serveConn(ctx context.Context, raw net.Conn) {
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { _ = raw.Close() })()
	leave, err := b.gate.enter(raw.RemoteAddr())
	if err != nil {
		b.deny(protocol.Address{}, raw.RemoteAddr(), err)
		return
	}
	defer leave()
	if err := raw.SetDeadline(time.Now().Add(b.caps.LoginDeadline)); err != nil {
		return
	}
	limited := &budget{Conn: raw}
	limited.left.Store(int64(b.caps.LoginBytes))
	var plain net.Conn = limited
	if b.cfg.Tunnel != nil {
		joins, again, err := peek(limited)
		if joins {
			b.tunnel(ctx, again, limited)
			return
		}
		if err != nil {
			b.deny(protocol.Address{}, raw.RemoteAddr(), fmt.Errorf("handshake: %w", err))
			return
		}
		plain = again
	}
	conn := tls.Server(plain, b.tls.Load())
	if err := b.handshake(ctx, conn); err != nil {
		b.deny(protocol.Address{}, raw.RemoteAddr(), fmt.Errorf("handshake: %w", err))
		return
	}
	state := conn.ConnectionState()
	if state.NegotiatedProtocol == protocol.ALPNJoin {
		b.serveJoin(ctx, conn, limited)
		return
	}
	a, err := identityOf(state)
	if err != nil { // VerifyConnection has refused these
		b.deny(protocol.Address{}, raw.RemoteAddr(), err)
		return
	}
	b.attach(conn, a, limited)
}

func (b *Broker) handshake(ctx context.Context, conn *tls.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, b.caps.LoginDeadline)
	defer cancel()
	select {
	case b.gate.handshakes <- struct{}{}:
		defer func() { <-b.gate.handshakes }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return conn.HandshakeContext(ctx)
}

func (b *Broker) serveJoin(ctx context.Context, conn *tls.Conn, limited *budget) {
	if b.cfg.Join == nil {
		b.deny(protocol.Address{}, conn.RemoteAddr(), errors.New("join: not served here"))
		return
	}
	leave := b.joins(conn)
	if leave == nil {
		return
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, b.caps.JoinDeadline)
	defer cancel()
	defer b.recovered("join", protocol.Address{}, nil)
	limited.left.Store(2 * protocol.MessageMax) // one request
	_ = conn.SetDeadline(time.Now().Add(b.caps.JoinDeadline))
	b.cfg.Join(ctx, conn)
}

// joins counts a joining connection in and returns what counts it out; nil: there are too many.
func (b *Broker) joins(conn net.Conn) (leave func()) {
	select {
	case b.gate.joins <- struct{}{}:
		return func() { <-b.gate.joins }
	default:
		b.deny(protocol.Address{}, conn.RemoteAddr(), protocol.Errorf(protocol.CodeLimit,
			"join: %d at once, limit %d", b.caps.Joins, b.caps.Joins))
		return nil
	}
}

// Dial returns the agent's end of a connection inside this process. It is already
// authenticated as a; all else is as for a socket: the same packets, hooks and caps.
func (b *Broker) Dial(a protocol.Address) (net.Conn, error) {
	if err := a.Check(); err != nil {
		return nil, fmt.Errorf("broker: dial: %w", err)
	}
	ours, theirs := net.Pipe()
	if err := ours.SetReadDeadline(time.Now().Add(b.caps.LoginDeadline)); err != nil {
		return nil, fmt.Errorf("broker: dial %s: %w", a, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, protocol.Errorf(protocol.CodeUnavailable, "broker: dial %s: closed", a)
	}
	b.wg.Go(func() { b.attach(ours, a, nil) })
	return theirs, nil
}

// attach hands an identified connection to mochi and returns when it has ended.
func (b *Broker) attach(conn net.Conn, a protocol.Address, limited *budget) {
	s := newSession(b, a, conn, limited)
	defer context.AfterFunc(b.ctx, s.guard.abort)()
	defer s.end()
	defer b.recovered("connection", a, s.guard.guard)
	err := b.server.EstablishConnection("broker", s.guard)
	b.log.Debug("connection ended", slog.String("agent", a.String()), slog.Any("cause", err))
}

// recovered ends a panic (F1): one connection is lost and not the process.
func (b *Broker) recovered(what string, a protocol.Address, g *guard) {
	r := recover()
	if r == nil {
		return
	}
	b.stats.panics.Add(1)
	seen := packetType(0)
	if g != nil {
		seen = g.seen
		g.abort()
	}
	b.log.Error("panic recovered", slog.String("in", what), slog.String("agent", a.String()),
		slog.Int("packet", int(seen)), slog.Any("panic", r), slog.String("stack", string(debug.Stack())))
}

// Disconnect cuts the connection of the agent at a, if it has one. It says nothing
// about whether the agent may come back: that is Config.Allowed.
func (b *Broker) Disconnect(a protocol.Address, reason string) {
	b.mu.Lock()
	s := b.sessions[a]
	b.mu.Unlock()
	if s == nil {
		return
	}
	b.log.Info("agent disconnected", slog.String("agent", a.String()), slog.String("reason", reason))
	s.guard.abort()
}

// Connected returns the agents that are connected, in order.
func (b *Broker) Connected() []protocol.Address {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]protocol.Address, 0, len(b.sessions))
	for a, s := range b.sessions {
		if s.up.Load() {
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(x, y protocol.Address) int { return cmp.Compare(x.String(), y.String()) })
	return all
}

// Close cuts every connection and stops. It may be called again.
func (b *Broker) Close() error {
	b.mu.Lock()
	was := b.closed
	b.closed = true
	b.mu.Unlock()
	b.cancel()
	b.wg.Wait()
	if was {
		return nil
	}
	return b.server.Close()
}
