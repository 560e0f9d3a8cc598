package broker_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stavily/stavily/broker"
	"github.com/stavily/stavily/edge/mqtt"
	"github.com/stavily/stavily/protocol"
)

// Identity: the certificate's name is the only one that counts.
func TestLoginRefused(t *testing.T) {
	w := newWorld(t, nil)
	for _, c := range []struct {
		name string
		login
	}{
		{"another's client identifier", login{id: protocol.MQTTClientID(evil)}},
		{"no client identifier", login{id: ""}},
		{"a clean session", login{id: protocol.MQTTClientID(pump), clean: true}},
		{"MQTT 3.1", login{id: protocol.MQTTClientID(pump), level: 3}},
		{"MQTT 5", login{id: protocol.MQTTClientID(pump), level: 5}},
		{"a keepalive over the cap", login{id: protocol.MQTTClientID(pump), keepalive: 61}},
	} {
		r := w.dial(pump)
		r.try(c.packet())
		if kind, body, err := r.read(); err == nil && (kind != connack || body[1] == 0) {
			t.Errorf("%s: got packet type %d %x, want no login", c.name, kind, body)
		}
		r.wantClosed()
	}
	if got := w.broker.Connected(); len(got) != 0 {
		t.Errorf("connected: %v", got)
	}
}

func TestAccess(t *testing.T) {
	w := newWorld(t, nil)
	up := hears(t, w.broker, "#")
	for _, topic := range []string{
		protocol.Topic(evil, protocol.UpRecords), protocol.Topic(pump, protocol.DownHint),
		"$SYS/broker/version", "$share/x/" + protocol.Topic(pump, protocol.UpRecords), "m/lab/pump/u/other", "x",
	} {
		r := w.in(pump)
		r.try(publishPacket(topic, 1, "x"))
		r.wantClosed()
	}
	// Retained: only the kinds that may be.
	r := w.in(pump)
	r.try(packet(firstPublish1|1, text(protocol.Topic(pump, protocol.UpRecords)), number(1), []byte("x")))
	r.wantClosed()
	if len(up) > 0 {
		t.Errorf("the hub heard %q", (<-up).Topic)
	}

	r = w.in(pump)
	filters := []string{
		"#", "+/#", "m/#", "m/lab/+/d/hint", "m/lab/pump/#", "m/lab/pump/+/hint", "$SYS/#",
		"$share/x/" + protocol.DownFilter(pump), protocol.DownFilter(evil),
		protocol.Topic(pump, protocol.UpRecords), protocol.DownFilter(pump),
	}
	r.send(subscribePacket(9, filters...))
	want := append(number(9), bytes.Repeat([]byte{0x80}, len(filters)-1)...)
	if got := r.want(suback); !bytes.Equal(got, append(want, 1)) {
		t.Errorf("SUBACK %x: want all refused but the last of %q", got, filters)
	}
	if s := w.broker.Stats(); s.Denials < uint64(7+len(filters)-1) {
		t.Errorf("stats %+v: want every refusal counted", s)
	}
}

func TestSendRefused(t *testing.T) {
	w := newWorld(t, func(c *broker.Config) { c.Caps.RetainedBytes = 100 })
	hint := protocol.Topic(pump, protocol.DownHint)
	for _, c := range []struct {
		name string
		m    protocol.Message
		want protocol.Code
	}{
		{"to nobody", protocol.Message{Topic: protocol.Topic(pump, protocol.DownAck)}, protocol.CodeUnavailable},
		{"an agent's topic", protocol.Message{Topic: protocol.Topic(pump, protocol.UpFetch)}, protocol.CodeRefused},
		{"no topic of ours", protocol.Message{Topic: "a/b"}, protocol.CodeBadMessage},
		{
			"over the retained cap",
			protocol.Message{Topic: hint, Payload: make([]byte, 101), Retained: true},
			protocol.CodeLimit,
		},
		{"within it", protocol.Message{Topic: hint, Payload: make([]byte, 100), Retained: true}, protocol.CodeOK},
		{
			"the same again",
			protocol.Message{Topic: hint, Payload: make([]byte, 99), Retained: true},
			protocol.CodeOK,
		},
		{"one more agent's", protocol.Message{
			Topic:   protocol.Topic(evil, protocol.DownHint),
			Payload: make([]byte, 2), Retained: true,
		}, protocol.CodeLimit},
		{"forgotten", protocol.Message{Topic: hint, Retained: true}, protocol.CodeOK},
	} {
		if err := w.broker.Send(c.m); protocol.CodeOf(err) != c.want {
			t.Errorf("%s: got %v, want code %s", c.name, err, c.want)
		}
	}
	if s := w.broker.Stats(); s.Retained != 0 || s.KeptBytes != 0 {
		t.Errorf("stats %+v: want nothing retained", s)
	}
}

// A second machine with the same identity is refused as long as the first answers.
func TestSecondConnectionRefusedWhileTheFirstLives(t *testing.T) {
	w := newWorld(t, nil)
	up := hears(t, w.broker, protocol.UpFilter(protocol.UpRecords))
	var downs atomic.Int32
	cfg := fast(t, pump, w.dialTLS(pump))
	cfg.OnState = func(up bool) {
		if !up {
			downs.Add(1)
		}
	}
	link := run(t, cfg)
	for range 3 {
		second := w.dial(pump)
		second.send(login{id: protocol.MQTTClientID(pump)}.packet())
		if body := second.want(connack); body[1] == 0 {
			t.Fatal("the second connection was let in")
		}
		second.wantClosed()
	}
	records := protocol.Topic(pump, protocol.UpRecords)
	send(t, link, protocol.Message{Topic: records, Payload: []byte("still here")})
	wait(t, up).Done()
	if downs.Load() != 0 || w.broker.Stats().Takeovers != 0 {
		t.Errorf("the first went down %d times", downs.Load())
	}
}

// A line that died without a word must not lock its agent out.
func TestSecondConnectionReplacesASilentOne(t *testing.T) {
	w := newWorld(t, func(c *broker.Config) { c.Caps.Challenge = 200 * time.Millisecond })
	presence := hears(t, w.broker, protocol.UpFilter(protocol.UpPresence))
	first := w.dial(pump)
	topic := protocol.Topic(pump, protocol.UpPresence)
	will := protocol.Message{Topic: topic, Payload: []byte("gone"), Retained: true}
	first.login(login{id: protocol.MQTTClientID(pump), will: &will}, 0)
	second := w.in(pump) // the first neither reads nor writes
	if len(presence) != 1 {
		t.Errorf("%d presences before the second was let in, want the Will of the first", len(presence))
	}
	second.send(packet(firstPingreq))
	second.want(pingresp)
	if s := w.broker.Stats(); s.Takeovers != 1 || s.Sessions != 1 {
		t.Errorf("stats %+v: want 1 takeover, 1 session", s)
	}
}

// Security 2.5: a revoked agent is cut, and a ticket does not bring it back.
func TestRevoked(t *testing.T) {
	var revoked atomic.Bool
	w := newWorld(t, func(c *broker.Config) {
		c.Allowed = func(protocol.Address, *x509.Certificate) bool { return !revoked.Load() }
	})
	config := w.agentTLS(protocol.IdentityURI(pump))
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	dial := mqtt.DialTLS(w.addr, config)
	for range 2 { // the second resumes
		conn, err := dial(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		r := newRaw(t, conn)
		r.login(login{id: protocol.MQTTClientID(pump)}, 0)
		if conn.(*tls.Conn).ConnectionState().DidResume {
			revoked.Store(true)
			w.broker.Disconnect(pump, "revoked")
			r.wantClosed()
			continue
		}
		_ = r.Close()
	}
	if !revoked.Load() {
		t.Fatal("the session was not resumed")
	}
	if conn, err := dial(context.Background()); err == nil {
		r := newRaw(t, conn)
		r.try(login{id: protocol.MQTTClientID(pump)}.packet())
		if kind, _, err := r.read(); err == nil {
			t.Errorf("a revoked agent got packet type %d", kind)
		}
	}
	r := w.dial(pump) // and not in process either
	r.send(login{id: protocol.MQTTClientID(pump)}.packet())
	if body := r.want(connack); body[1] == 0 {
		t.Error("a revoked agent was let in by Dial")
	}
}

// Security 6, row 12: TLS 1.3 and a certificate of ours, or nothing.
func TestTLSRefused(t *testing.T) {
	w := newWorld(t, nil)
	other := &world{TB: t}
	other.ca, other.key = newCA(t)
	good := func() *tls.Config { return w.agentTLS(protocol.IdentityURI(pump)) }
	foreign := other.agentTLS(protocol.IdentityURI(pump))
	foreign.RootCAs = w.pool()
	for _, c := range []struct {
		name   string
		config *tls.Config
		change func(*tls.Config)
	}{
		{"TLS 1.2", good(), func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }},
		{"no certificate", good(), func(c *tls.Config) { c.Certificates = nil }},
		{"a certificate of another CA", foreign, func(*tls.Config) {}},
		{"a certificate without an agent", w.agentTLS(&url.URL{Scheme: "https", Host: "x"}), func(*tls.Config) {}},
		{"no application protocol", good(), func(c *tls.Config) { c.NextProtos = nil }},
		{"another application protocol", good(), func(c *tls.Config) { c.NextProtos = []string{"h2"} }},
		{"the join protocol, joins not served", good(), func(c *tls.Config) {
			c.NextProtos = []string{protocol.ALPNJoin}
		}},
	} {
		c.change(c.config)
		conn, err := tls.Dial("tcp", w.addr, c.config)
		if err != nil {
			continue
		}
		r := newRaw(t, conn)
		r.try(login{id: protocol.MQTTClientID(pump)}.packet())
		if kind, _, err := r.read(); err == nil {
			t.Errorf("%s: got packet type %d, want no connection", c.name, kind)
		}
	}
	if got := w.broker.Connected(); len(got) != 0 {
		t.Errorf("connected: %v", got)
	}
}

func TestJoin(t *testing.T) {
	w := newWorld(t, func(c *broker.Config) {
		c.Caps.JoinDeadline = 500 * time.Millisecond
		c.Join = func(_ context.Context, conn *tls.Conn) {
			b := make([]byte, 4)
			if _, err := conn.Read(b); err == nil {
				_, _ = conn.Write(append(b, '!'))
			}
		}
	})
	config := &tls.Config{RootCAs: w.pool(), NextProtos: []string{protocol.ALPNJoin}}
	conn, err := mqtt.DialTLS("mqtts://"+w.addr, config)(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	r := newRaw(t, conn)
	r.send([]byte("join"))
	got := make([]byte, 5)
	if _, err := r.in.Read(got); err != nil || string(got) != "join!" {
		t.Errorf("got %q, %v", got, err)
	}
	r.wantClosed()
	conn, err = mqtt.DialTLS(w.addr, config)(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	newRaw(t, conn).wantClosed() // it says nothing: the deadline
}

func TestRateHoldsTheSenderBack(t *testing.T) {
	w := newWorld(t, func(c *broker.Config) { c.Caps.Rate, c.Caps.Burst = 50, 5 })
	got := make(chan struct{}, 100)
	listen(t, w.broker, protocol.UpFilter(protocol.UpRecords), func(m protocol.Message) {
		m.Done()
		got <- struct{}{}
	})
	link := run(t, fast(t, pump, w.dialTLS(pump)))
	began := time.Now()
	for range 25 {
		send(t, link, protocol.Message{Topic: protocol.Topic(pump, protocol.UpRecords)})
	}
	for range 25 {
		wait(t, got)
	}
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("25 messages took %v, want 20 of them at 50 a second", took)
	}
}
