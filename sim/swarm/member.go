package swarm

import (
	"context"
	"crypto/rand"
	"log/slog"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/mqtt"
	"github.com/stavily/stavily/protocol"
)

// member is one agent of a swarm.
type member struct {
	of    *swarm
	name  protocol.AgentName
	who   *Identity
	inbox *edge.Inbox
	link  *mqtt.Link
	agent *edge.Agent
	boot  uint64

	pending atomic.Uint64 // records that the hub has not acknowledged
	clear   atomic.Bool   // none at the newest look
	looked  time.Time     // the newest look

	before uint64 // connections when the storm began

	mu      sync.Mutex // guards the fields below
	conn    net.Conn   // the newest
	ups     uint64     // times that the link came up
	at      time.Time  // of the newest
	waiting []waiter
	said    map[protocol.Lane]time.Time // the batches under way
}

// waiter waits for the link to have come up so many times.
type waiter struct {
	ups  uint64
	done chan struct{}
}

func newMember(s *swarm, name protocol.AgentName) (*member, error) {
	if err := name.Check(); err != nil {
		return nil, err
	}
	return &member{of: s, name: name, inbox: edge.NewInbox(), said: map[protocol.Lane]time.Time{}}, nil
}

// live runs the member until ctx ends.
func (m *member) live(ctx context.Context) {
	if err := m.furnish(); err != nil {
		m.of.cfg.Log.Error("member did not start", slog.String("agent", string(m.name)),
			slog.String("error", err.Error()))
		return
	}
	var all sync.WaitGroup
	all.Go(func() { _ = m.link.Run(ctx) })
	runner := &edge.Runner{Agent: m.agent, Inbox: m.inbox, Every: time.Second, After: m.after}
	runner.Run(ctx)
	all.Wait()
}

// furnish makes the member's link and agent and boots it.
func (m *member) furnish() (err error) {
	cfg := mqtt.Config{
		Address: m.who.Address, Dial: m.dial, Log: m.of.cfg.Log, OnState: m.state,
		Will: func(session uint64) []byte {
			return protocol.MustMarshal(protocol.Presence{Boot: m.boot, Session: session})
		},
	}
	if m.link, err = mqtt.New(cfg); err != nil {
		return err
	}
	c := edge.DefaultConfig()
	c.Address, c.Epoch, c.Keyring = m.who.Address, m.who.Epoch, m.who.Ring
	c.Device = device()
	c.Metrics = m.of.cfg.Every
	if m.agent, err = edge.New(c, edge.Deps{
		Link: (*line)(m), Store: newStore(), Plugins: &answers{to: m.inbox}, Random: rand.Reader, Log: m.of.cfg.Log,
		Measure: m.measure,
	}); err != nil {
		return err
	}
	if err := m.agent.Boot(time.Now()); err != nil {
		return err
	}
	m.boot = m.agent.Presence(true).Boot
	return m.link.Listen(protocol.DownFilter(m.who.Address), m.hear)
}

// device is what every member says it is.
func device() protocol.Device {
	return protocol.Device{
		Platform: "linux-amd64", Engine: "compiler", Version: "swarm", Labels: map[string]string{"swarm": "true"},
	}
}

// figures is how many numbers a member says each time.
const figures = 12

// measure answers with figures that look like a machine's.
func (m *member) measure() {
	values := map[string]float64{}
	for i, name := range protocol.MetricNames()[:figures] {
		values[name] = math.Round(1000*math.Sin(float64(time.Now().UnixMilli()+int64(i)))) / 10
	}
	m.inbox.Measured(values)
}

// after looks at the agent, now and then: it costs more than it is worth each time.
func (m *member) after(now time.Time, a *edge.Agent) {
	if now.Sub(m.looked) < pollEvery {
		return
	}
	m.looked = now
	n := a.Status().Pending
	m.pending.Store(n)
	if n == 0 {
		m.clear.Store(true)
	}
}

// join spends one use of the token.
func (m *member) join(ctx context.Context) (err error) {
	j := Joining{Name: m.name, Device: device(), Token: m.of.cfg.Token, Dial: m.of.bare}
	m.who, err = j.Join(ctx)
	return err
}

// dial connects to the hub.
func (m *member) dial(ctx context.Context) (net.Conn, error) {
	conn, err := Secure(ctx, m.of.bare, m.who.TLS(""))
	if err == nil {
		m.mu.Lock()
		m.conn = conn
		m.mu.Unlock()
	}
	return conn, err
}

// bare opens a connection to the hub.
func (s *swarm) bare(ctx context.Context) (net.Conn, error) {
	if s.cfg.Dial != nil {
		return s.cfg.Dial(ctx)
	}
	return Dial(ctx, s.cfg.Hub)
}

// Dial opens a TCP connection to a hub: host, host:port or mqtts://host:port.
func Dial(ctx context.Context, hub string) (net.Conn, error) {
	address := strings.TrimPrefix(hub, "mqtts://")
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(strings.Trim(address, "[]"), "8883")
	}
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

// cut breaks the connection as a line that goes dead does: nobody says good-bye.
func (m *member) cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before = m.ups
	if conn, ok := m.conn.(interface{ NetConn() net.Conn }); ok {
		_ = conn.NetConn().Close()
	}
}

// state is told when the link comes and goes.
func (m *member) state(up bool) {
	m.inbox.Online(up, m.link.Session())
	if !up {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ups++
	m.at = time.Now()
	for _, w := range m.waiting {
		if w.ups == m.ups {
			close(w.done)
		}
	}
}

// connected is closed when the link has come up so many times.
func (m *member) connected(ups uint64) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	done := make(chan struct{})
	if m.ups >= ups {
		close(done)
		return done
	}
	m.waiting = append(m.waiting, waiter{ups, done})
	return done
}

// since returns when the link came up last, counted from began.
func (m *member) since(began time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at.Sub(began)
}

// hear counts the hub's word that records are kept, and hands all on to the agent.
func (m *member) hear(in protocol.Message) {
	if _, kind, err := protocol.ParseTopic(in.Topic); err == nil && kind == protocol.DownAck {
		all, err := protocol.DecodeLaneAcks(in.Payload)
		if err != nil {
			all = nil
		}
		for _, ack := range all {
			m.mu.Lock()
			at, ok := m.said[ack.Lane]
			delete(m.said, ack.Lane)
			m.mu.Unlock()
			if ok {
				m.of.tally.ack(time.Since(at))
			}
		}
	}
	m.inbox.Message(in)
}

// line is the member as the agent's link: what goes over it is counted.
type line member

// Send hands a message to the link.
func (l *line) Send(out protocol.Message) error {
	m := (*member)(l)
	if err := m.link.Send(out); err != nil {
		return err
	}
	m.of.tally.send(len(out.Payload))
	if _, kind, err := protocol.ParseTopic(out.Topic); err == nil && kind == protocol.UpRecords {
		var b protocol.Batch
		if protocol.Unmarshal(out.Payload, &b) == nil {
			m.mu.Lock()
			m.said[b.Lane] = time.Now()
			m.mu.Unlock()
		}
	}
	return nil
}

// Listen is the link's.
func (l *line) Listen(filter string, deliver func(protocol.Message)) error {
	return l.link.Listen(filter, deliver)
}

var _ protocol.Link = (*line)(nil)
