package mqtt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/stavily/stavily/protocol"
)

// filtersAtOnce bounds the filters of one SUBSCRIBE.
const filtersAtOnce = 8

// Run connects, and connects again for ever, until ctx ends; then it returns nil. It
// never says DISCONNECT, so that the hub always hears the Will. The wait before each
// connection is drawn evenly from nothing to a bound, which doubles up to BackoffMax
// and falls back only after a connection that lived for Config.Stable.
func (l *Link) Run(ctx context.Context) error {
	bound := l.cfg.BackoffMin
	for ctx.Err() == nil {
		lived, err := l.live(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // asked to end, it ended
		}
		if lived >= l.cfg.Stable {
			bound = l.cfg.BackoffMin
		}
		wait := time.Duration(l.cfg.Rand.Int64N(int64(bound) + 1))
		l.cfg.Log.Info("link down", slog.Any("cause", err), slog.Duration("wait", wait))
		bound = min(2*bound, l.cfg.BackoffMax)
		sleep(ctx, wait)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// connection is one connection, from CONNACK to its end.
type connection struct {
	link   *Link
	client paho.Client
	line   *line
	ctx    context.Context
	cancel context.CancelCauseFunc
	flight chan sent // sent without PUBACK; bound: InflightMax
	echo   chan []byte
	asked  int // listeners whose filters were asked for

	mu   sync.Mutex // guards the fields below
	acks []paho.Message
	more chan struct{} // holds one: acks were added
}

type sent struct {
	e     *entry
	token paho.Token
}

// live lives through one connection and returns for how long it was up, and why it
// ended.
func (l *Link) live(ctx context.Context) (time.Duration, error) {
	session := l.session.Add(1)
	login, cancelLogin := context.WithTimeout(ctx, l.cfg.LoginTimeout)
	defer cancelLogin()
	conn, err := l.cfg.Dial(login)
	if err != nil {
		return 0, fmt.Errorf("dial: %w", err)
	}
	c := &connection{
		link: l, line: newLine(conn, l.cfg.WriteTimeout),
		flight: make(chan sent, l.cfg.InflightMax), echo: make(chan []byte, 4),
		more: make(chan struct{}, 1),
	}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	c.line.onFail = func(err error) { c.cancel(fmt.Errorf("line: %w", err)) }
	defer c.line.fail(errors.New("closed by the agent"))
	defer c.cancel(nil)
	if err := c.open(login, session); err != nil {
		return 0, err
	}
	cancelLogin()
	up := time.Now()
	l.setCurrent(c)
	l.cfg.OnState(true)
	// These end with c.ctx. They are not waited for: a call of paho that is under way
	// when the line goes down returns only after the write timeout.
	go c.sendAll(l.queue.rewind())
	go c.collect()
	go c.acknowledge()
	err = c.watch()
	l.setCurrent(nil)
	l.cfg.OnState(false)
	c.cancel(err)
	_ = c.line.fail(err)
	return time.Since(up), err
}

func (l *Link) setCurrent(c *connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current = c
}

// open says CONNECT and asks for all filters.
func (c *connection) open(ctx context.Context, session uint64) error {
	defer context.AfterFunc(ctx, func() { _ = c.line.fail(ctx.Err()) })()
	c.client = paho.NewClient(c.options(session))
	if err := c.wait(ctx, c.client.Connect()); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if err := c.subscribe(ctx, []string{protocol.Topic(c.link.cfg.Address, protocol.DownProbe)}); err != nil {
		return err
	}
	return c.askNew(ctx)
}

func (c *connection) options(session uint64) *paho.ClientOptions {
	cfg := &c.link.cfg
	o := paho.NewClientOptions().AddBroker("tcp://hub") // never dialed, see below
	o.SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) { return c.line, nil })
	o.SetProtocolVersion(4)
	o.SetClientID(protocol.MQTTClientID(cfg.Address))
	o.SetCleanSession(false)
	o.SetOrderMatters(true)
	o.SetAutoAckDisabled(true)
	o.SetAutoReconnect(false)
	o.SetConnectRetry(false)
	o.SetConnectTimeout(cfg.LoginTimeout)
	o.SetWriteTimeout(cfg.WriteTimeout)
	o.SetKeepAlive(cfg.Keepalive)
	o.SetPingTimeout(cfg.ProbeTimeout)
	o.SetStore(noStore{})
	// Messages of the session may come before any SUBACK, so there is but one handler.
	o.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { c.receive(m) })
	o.SetConnectionLostHandler(func(_ paho.Client, err error) { _ = c.line.fail(err) })
	if cfg.Will != nil {
		if payload := cfg.Will(session); len(payload) > 0 {
			o.SetBinaryWill(protocol.Topic(cfg.Address, protocol.UpPresence), payload, 1, true)
		}
	}
	return o
}

// wait waits for a token, the line or ctx.
func (c *connection) wait(ctx context.Context, token paho.Token) error {
	select {
	case <-token.Done():
		if why := c.line.why(); why != nil && token.Error() != nil {
			return why
		}
		return token.Error()
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// askNew asks for the filters not yet asked for on this connection.
func (c *connection) askNew(ctx context.Context) error {
	for {
		filters := c.link.filters(c.asked)
		if len(filters) == 0 {
			return nil
		}
		filters = filters[:min(len(filters), filtersAtOnce)]
		if err := c.subscribe(ctx, filters); err != nil {
			return err
		}
		c.asked += len(filters)
	}
}

func (c *connection) subscribe(ctx context.Context, filters []string) error {
	ask := make(map[string]byte, len(filters))
	for _, f := range filters {
		ask[f] = 1
	}
	c.line.asked.Store(int32(len(ask)))
	// paho's call waits for the write timeout when the line goes down meanwhile.
	called := make(chan paho.Token, 1)
	go func() { called <- c.client.SubscribeMultiple(ask, nil) }()
	var token paho.Token
	select {
	case token = <-called:
	case <-c.ctx.Done():
		return fmt.Errorf("subscribe: %w", context.Cause(c.ctx))
	case <-ctx.Done():
		return fmt.Errorf("subscribe: %w", ctx.Err())
	}
	if err := c.wait(ctx, token); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	if granted, ok := token.(*paho.SubscribeToken); ok {
		for filter, qos := range granted.Result() {
			if qos > 1 {
				return protocol.Errorf(protocol.CodeRefused, "subscribe %q: refused by the hub", filter)
			}
		}
	}
	return nil
}

// receive takes one message from paho. It is called in order and must not wait.
func (c *connection) receive(m paho.Message) {
	done := func() { c.ack(m) }
	if m.Topic() == protocol.Topic(c.link.cfg.Address, protocol.DownProbe) {
		select {
		case c.echo <- m.Payload():
		default:
		}
		done()
		return
	}
	if c.ctx.Err() != nil {
		return // it comes again on the next connection
	}
	c.link.deliver(protocol.Message{Topic: m.Topic(), Payload: m.Payload(), Retained: m.Retained(), Ack: done})
}

// ack asks acknowledge for a PUBACK: paho's own Ack waits for the line, and its
// callers must not.
func (c *connection) ack(m paho.Message) {
	if m.Qos() == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acks = append(c.acks, m)
	signal(c.more)
}

func (c *connection) acknowledge() {
	for {
		select {
		case <-c.more:
		case <-c.ctx.Done():
			return
		}
		c.mu.Lock()
		acks := c.acks
		c.acks = nil
		c.mu.Unlock()
		for _, m := range acks {
			m.Ack()
		}
	}
}

// sendAll gives the queue to paho, message by message, while there is room in flight.
func (c *connection) sendAll(turn int) {
	for {
		e, mine := c.link.queue.next(turn)
		if !mine {
			return
		}
		if e == nil {
			select {
			case <-c.link.queue.more:
				continue
			case <-c.ctx.Done():
				return
			}
		}
		token := c.client.Publish(e.Topic, 1, e.Retained, e.Payload)
		select {
		case c.flight <- sent{e, token}:
		case <-c.ctx.Done():
			return
		}
	}
}

// collect takes what the hub has acknowledged out of the queue. The hub acknowledges
// in order.
func (c *connection) collect() {
	for {
		select {
		case s := <-c.flight:
			if err := c.wait(c.ctx, s.token); err != nil {
				c.cancel(fmt.Errorf("publish: %w", err))
				return
			}
			c.link.queue.done(s.e)
		case <-c.ctx.Done():
			return
		}
	}
}

// watch probes the line until it ends, and returns why. A line that does not echo two
// probes in a row is deaf. The first probe goes out at once: lines go deaf when they
// are made.
func (c *connection) watch() error {
	nonce, misses := []byte(nil), 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return context.Cause(c.ctx)
		case <-c.link.asked:
			ctx, cancel := context.WithTimeout(c.ctx, c.link.cfg.LoginTimeout)
			err := c.askNew(ctx)
			cancel()
			if err != nil {
				return err
			}
		case got := <-c.echo:
			if nonce != nil && bytes.Equal(got, nonce) {
				nonce, misses = nil, 0
				timer.Reset(c.link.cfg.ProbeEvery)
			}
		case <-timer.C:
			if nonce != nil {
				misses++
			}
			if misses >= 2 {
				return protocol.Errorf(protocol.CodeUnavailable, "deaf: %d probes without an echo", misses)
			}
			nonce = protocol.MustMarshal(protocol.Probe{Nonce: c.link.cfg.Rand.Uint64()})
			c.probe(nonce)
			timer.Reset(c.link.cfg.ProbeTimeout)
		}
	}
}

// probe sends without waiting for the line; watch measures the answer.
func (c *connection) probe(payload []byte) {
	topic := protocol.Topic(c.link.cfg.Address, protocol.UpProbe)
	go c.client.Publish(topic, 0, false, payload)
}

// noStore is paho's store, empty: the queue is ours, and the hub keeps its own.
type noStore struct{}

// Open does nothing.
func (noStore) Open() {}

// Put does nothing.
func (noStore) Put(string, packets.ControlPacket) {}

// Get returns nil.
func (noStore) Get(string) packets.ControlPacket { return nil }

// All returns nil.
func (noStore) All() []string { return nil }

// Del does nothing.
func (noStore) Del(string) {}

// Close does nothing.
func (noStore) Close() {}

// Reset does nothing.
func (noStore) Reset() {}

var _ paho.Store = noStore{}
