package mqtt

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stavily/stavily/protocol"
)

var pump = protocol.Address{Site: "lab", Agent: "pump"}

func refuse(context.Context) (net.Conn, error) { return nil, errors.New("refused") }

func TestHostPort(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"hub.example:1234", "hub.example:1234"},
		{"hub.example", "hub.example:8883"},
		{"mqtts://hub.example:1234", "hub.example:1234"},
		{"mqtts://hub.example/", "hub.example:8883"},
		{"192.0.2.1", "192.0.2.1:8883"},
		{"[2001:db8::1]:99", "[2001:db8::1]:99"},
		{"mqtts://[2001:db8::1]", "[2001:db8::1]:8883"},
		{"", ""},
		{":8883", ""},
		{"mqtt://hub.example", ""},
		{"https://hub.example", ""},
		{"mqtts://hub.example/path", ""},
		{"mqtts://user@hub.example", ""},
		{"a b", ""},
	} {
		got, err := hostPort(c.in)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("hostPort(%q) = %q, %v; want %q", c.in, got, err, c.want)
		}
	}
}

func TestConfigRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
	}{
		{"no address", func(c *Config) { c.Address = protocol.Address{} }},
		{"no dial", func(c *Config) { c.Dial = nil }},
		{"keepalive over the hub's", func(c *Config) { c.Keepalive = 61 * time.Second }},
		{"backoff upside down", func(c *Config) { c.BackoffMin, c.BackoffMax = time.Hour, time.Second }},
		{"queue too small for one message", func(c *Config) { c.QueueBytes = 1 }},
	} {
		cfg := Config{Address: pump, Dial: refuse}
		c.change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: want an error", c.name)
		}
	}
}

func TestSendAndListenRefused(t *testing.T) {
	l, err := New(Config{Address: pump, Dial: refuse})
	if err != nil {
		t.Fatal(err)
	}
	records, large := protocol.Topic(pump, protocol.UpRecords), make([]byte, protocol.MessageMax+1)
	other := protocol.Address{Site: "lab", Agent: "other"}
	others := protocol.Topic(other, protocol.UpRecords)
	for _, c := range []struct {
		name string
		m    protocol.Message
		want protocol.Code
	}{
		{"down", protocol.Message{Topic: records}, protocol.CodeUnavailable},
		{"too large", protocol.Message{Topic: records, Payload: large}, protocol.CodeLimit},
		{"another's topic", protocol.Message{Topic: others}, protocol.CodeRefused},
		{"a hub's topic", protocol.Message{Topic: protocol.Topic(pump, protocol.DownAck)}, protocol.CodeRefused},
		{"not to retain", protocol.Message{Topic: records, Retained: true}, protocol.CodeRefused},
	} {
		if err := l.Send(c.m); protocol.CodeOf(err) != c.want {
			t.Errorf("%s: got %v, want code %s", c.name, err, c.want)
		}
	}
	for _, filter := range []string{"#", protocol.DownFilter(other), records, ""} {
		if err := l.Listen(filter, func(protocol.Message) {}); protocol.CodeOf(err) != protocol.CodeRefused {
			t.Errorf("listen %q: got %v, want code refused", filter, err)
		}
	}
}

func TestQueue(t *testing.T) {
	var q queue
	q.init(3, 10)
	put := func(payload string) error { return q.put(protocol.Message{Payload: []byte(payload)}) }
	for _, p := range []string{"a", "b", "c"} {
		if err := put(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := put("d"); protocol.CodeOf(err) != protocol.CodeUnavailable {
		t.Errorf("fourth of three: got %v", err)
	}
	first := q.rewind()
	a, _ := q.next(first)
	b, _ := q.next(first)
	q.done(b)
	second := q.rewind() // a was sent and not acknowledged
	if _, mine := q.next(first); mine {
		t.Error("an old connection got a message")
	}
	again, _ := q.next(second)
	c, _ := q.next(second)
	if again != a || string(c.Payload) != "c" {
		t.Errorf("after a cut got %q and %q, want a and c", again.Payload, c.Payload)
	}
	if e, mine := q.next(second); e != nil || !mine {
		t.Errorf("got %v, %v from a queue that is all sent", e, mine)
	}
	q.done(a)
	q.done(a) // twice changes nothing
	if q.len() != 1 || q.bytes != 1 {
		t.Errorf("%d messages of %d bytes are left, want c", q.len(), q.bytes)
	}
	if err := put("1234567890"); protocol.CodeOf(err) != protocol.CodeUnavailable {
		t.Errorf("over the bytes: got %v", err)
	}
}

// Waits are drawn below a bound that doubles, and a connection that fails at once does
// not bring it back (the peers' reconnect storms).
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		ctx, cancel := context.WithCancel(context.Background())
		l, err := New(Config{
			Address: pump, BackoffMin: time.Second, BackoffMax: 2 * time.Minute,
			Rand: rand.New(rand.NewPCG(1, 2)),
			Dial: func(context.Context) (net.Conn, error) {
				if at = append(at, time.Now()); len(at) == 12 {
					cancel()
				}
				return nil, errors.New("refused")
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Run(ctx); err != nil {
			t.Fatal(err)
		}
		// Each wait is a draw up to a bound that doubles: the same seed says which.
		draw, limit := rand.New(rand.NewPCG(1, 2)), time.Second
		for i := range 11 {
			want := time.Duration(draw.Int64N(int64(limit) + 1))
			if got := at[i+1].Sub(at[i]); got != want {
				t.Errorf("wait %d: %v, want %v, drawn up to %v", i+1, got, want, limit)
			}
			limit = min(2*limit, 2*time.Minute)
		}
	})
}

func TestFrame(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []byte
		ok   bool
	}{
		{"connack, suback, pingresp", []byte{0x20, 2, 0, 0, 0x90, 3, 0, 1, 1, 0xd0, 0}, true},
		{"publish of 256 MiB", []byte{0x30, 0xff, 0xff, 0xff, 0x7f}, false},
		{"length of five bytes", []byte{0x30, 0x80, 0x80, 0x80, 0x80, 1}, false},
	} {
		for _, step := range []int{1, 2, len(c.in)} {
			f := frame{}
			var err error
			for in := c.in; len(in) > 0 && err == nil; in = in[min(step, len(in)):] {
				err = f.feed(in[:min(step, len(in))])
			}
			if (err == nil) != c.ok {
				t.Errorf("%s, %d bytes a time: got %v", c.name, step, err)
			}
		}
	}
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte{0x20, 2, 0, 0, 0x90, 3, 0, 1, 1, 0xd0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		whole := frame{}
		parts := whole
		want := whole.feed(in)
		var got error
		for i := range in {
			if got = parts.feed(in[i : i+1]); got != nil {
				break
			}
		}
		if (want == nil) != (got == nil) || want == nil && (whole.left != parts.left || whole.left > frameMax) {
			t.Fatalf("at once %v left %d, by bytes %v left %d", want, whole.left, got, parts.left)
		}
	})
}

func TestLineKeepsTheFirstCause(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	l := newLine(a, time.Second)
	first := errors.New("first")
	var told []error
	l.onFail = func(err error) { told = append(told, err) }
	_ = l.fail(first)
	_ = l.fail(errors.New("second"))
	if _, err := l.Read(make([]byte, 1)); err != errLine || strings.Contains(err.Error(), "closed network") {
		t.Errorf("read: got %v, want %v", err, errLine)
	}
	if len(told) != 1 || l.why() != first {
		t.Errorf("told %v, why %v; want the first cause once", told, l.why())
	}
}

// What a hub may not answer ends the connection with a cause, and no panic.
func TestHostileAnswers(t *testing.T) {
	const connack = "\x20\x02\x00\x00"
	for _, c := range []struct {
		name string
		said []string // to the first packet, and to each that follows
		want string
	}{
		{"refused", []string{"\x20\x02\x00\x05"}, "Not Authorised"},
		{"two codes for one filter", []string{connack, "\x90\x04\x00\x01\x01\x01"}, "2 codes for 1 filters"},
		{"no code", []string{connack, "\x90\x02\x00\x01"}, "0 codes for 1 filters"},
		{"filter refused", []string{connack, "\x90\x03\x00\x01\x80"}, "refused by the hub"},
		{"two answers", []string{connack + connack + connack}, "two answers"},
		{"QoS 2", []string{connack, "\x34\x05\x00\x01a\x00\x01"}, "QoS 2"},
		{"a client's packet", []string{connack, "\xe0\x00"}, "not for a hub"},
		{"topic longer than its packet", []string{connack, "\x32\x02\xff\xff"}, "EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ours, hubs := net.Pipe()
			defer hubs.Close()
			go func() { // a hub that answers whatever it hears
				b := make([]byte, 4096)
				for i := 0; ; i++ {
					if _, err := hubs.Read(b); err != nil {
						return
					}
					if _, err := hubs.Write([]byte(c.said[min(i, len(c.said)-1)])); err != nil {
						return
					}
				}
			}()
			l, err := New(Config{Address: pump, Dial: func(context.Context) (net.Conn, error) { return ours, nil }})
			if err != nil {
				t.Fatal(err)
			}
			if _, err = l.live(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
}
