package broker_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/stavily/stavily/broker"
	"github.com/stavily/stavily/protocol"
)

// Each test here has two halves: mochi as it comes must show the finding, so that the
// test is known to find it, and our broker must not.

var evil = protocol.Address{Site: "lab", Agent: "evil"}

// badSubscribe is a SUBSCRIBE of MQTT 5 whose filter lacks its options byte.
var badSubscribe = packet(firstSubscribe, number(1), []byte{0}, text("a"))

// bareChild is set in the environment of the process that is to die.
const bareChild = "STAVILY_TEST_BARE"

func TestF1PanicEndsOneConnectionOnly(t *testing.T) {
	if os.Getenv(bareChild) != "" {
		r := newBare(t, &bareHook{}).dial(t)
		r.login5()
		r.try(badSubscribe)
		r.wantClosed()
		// The panic closes the connection on its way out, before it ends the process: the
		// test must not return in between.
		<-time.After(30 * time.Second)
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^TestF1PanicEndsOneConnectionOnly$")
	child.Env = append(os.Environ(), bareChild+"=1")
	out, err := child.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("panic: runtime error: index out of range")) {
		t.Fatalf("bare mochi lives: error %v, output %s", err, out)
	}

	w := newWorld(t, nil)
	good := w.in(pump)
	r := w.dial(evil)
	r.try(login{id: protocol.MQTTClientID(evil), level: 5}.packet()) // MQTT 5 is not let in
	r.try(badSubscribe)
	r.wantClosed()
	r = w.in(evil)
	r.try(packet(firstSubscribe, number(1), text("a"))) // the same of MQTT 3.1.1
	r.wantClosed()
	if s := w.broker.Stats(); s.Malformed != 2 || s.Panics != 0 {
		t.Errorf("stats %+v: want 2 malformed, no panic", s)
	}

	// A panic that no check has foreseen, in the goroutine that reads.
	listen(t, w.broker, protocol.UpFilter(protocol.UpFetch), func(protocol.Message) { panic("unforeseen") })
	r = w.in(evil)
	r.try(publishPacket(protocol.Topic(evil, protocol.UpFetch), 1, "x"))
	r.wantClosed()
	good.send(packet(firstPingreq))
	good.want(pingresp)
	w.in(evil)                               // and its identity is free again
	if err := w.broker.Close(); err != nil { // waits for the connections: the panic is counted after its own is closed
		t.Fatal(err)
	}
	if s := w.broker.Stats(); s.Panics != 1 {
		t.Errorf("stats %+v: want 1 panic", s)
	}
}

func (r *raw) login5() {
	r.send(login{id: "a", level: 5, clean: true}.packet())
	r.want(connack)
}

func listen(t testing.TB, l protocol.Link, filter string, deliver func(protocol.Message)) {
	t.Helper()
	if err := l.Listen(filter, deliver); err != nil {
		t.Fatal(err)
	}
}

func TestF2WillIsCheckedAsAnyMessage(t *testing.T) {
	target := protocol.Topic(pump, protocol.DownAck)
	forged := make(chan string, 10)
	b := newBare(t, &bareHook{mayWrite: func(topic string) bool { return topic != target }})
	err := b.Subscribe(target, 1, func(_ *mqtt.Client, _ packets.Subscription, pk packets.Packet) {
		forged <- string(pk.Payload)
	})
	if err != nil {
		t.Fatal(err)
	}
	r := b.dial(t)
	r.login(login{id: "evil", clean: true}, 0)
	r.try(publishPacket(target, 1, "direct")) // refused
	r.wantClosed()
	r = b.dial(t)
	r.login(login{id: "evil", clean: true, will: &protocol.Message{Topic: target, Payload: []byte("will")}}, 0)
	_ = r.Close()
	if got := wait(t, forged); got != "will" {
		t.Fatalf("bare mochi delivered %q, want the forged Will", got)
	}

	w := newWorld(t, nil)
	presence := hears(t, w.broker, protocol.UpFilter(protocol.UpPresence))
	for _, will := range []protocol.Message{
		{Topic: target, Payload: []byte("will")},
		{Topic: protocol.Topic(pump, protocol.UpPresence), Payload: []byte("will"), Retained: true},
		{Topic: protocol.Topic(evil, protocol.DownHint), Payload: []byte("will"), Retained: true},
		{Topic: protocol.Topic(evil, protocol.UpRecords), Payload: []byte("will"), Retained: true},
		{Topic: "$SYS/broker/version", Payload: []byte("will")},
	} {
		r := w.dial(evil)
		r.send(login{id: protocol.MQTTClientID(evil), will: &will}.packet())
		if body := r.want(connack); body[1] == 0 {
			t.Errorf("Will on %q retained %v was accepted", will.Topic, will.Retained)
		}
		r.wantClosed()
	}
	if s := w.broker.Stats(); s.Denials != 5 || s.Sessions != 0 {
		t.Errorf("stats %+v: want 5 denials, no session", s)
	}
	own := protocol.Message{Payload: []byte("gone"), Retained: true}
	own.Topic = protocol.Topic(evil, protocol.UpPresence)
	r = w.dial(evil)
	r.login(login{id: protocol.MQTTClientID(evil), will: &own}, 0)
	_ = r.Close()
	if m := wait(t, presence); string(m.Payload) != "gone" || m.Topic != own.Topic || !m.Retained {
		t.Errorf("the hub heard %q on %q, want the agent's own Will", m.Payload, m.Topic)
	}
	r = w.dial(evil)
	r.login(login{id: protocol.MQTTClientID(evil), will: &own}, 0)
	r.send(packet(0xe0)) // DISCONNECT: no Will
	r.wantClosed()
	w.in(evil) // its session has ended, so its Will would have come
	if len(presence) > 0 {
		t.Errorf("the hub heard %q again, want the Will once", (<-presence).Payload)
	}
}

func TestF3StalledReaderStallsNobody(t *testing.T) {
	b := newBare(t, &bareHook{})
	stalled := b.dial(t)
	stalled.login(login{id: "stalled", clean: true}, 0)
	stalled.send(subscribePacket(1, "t"))
	stalled.want(suback)
	publisher := b.dial(t)
	publisher.login(login{id: "publisher", clean: true}, 0)
	stalls := make(chan bool, 1)
	go func() { // until one is not acknowledged: when mochi comes to the stalled reader is its scheduler's matter
		for n, end := 0, time.Now().Add(bound/2); time.Now().Before(end); n++ {
			_ = publisher.SetDeadline(time.Now().Add(time.Second))
			_, err := publisher.Write(publishPacket("t", uint16(n%1000+1), "x"))
			if err == nil {
				_, err = io.ReadFull(publisher.in, make([]byte, 4))
			}
			if err != nil {
				stalls <- true
				return
			}
		}
		stalls <- false
	}()
	if !wait(t, stalls) {
		t.Fatal("bare mochi acknowledged all messages beside a stalled reader")
	}

	w := newWorld(t, func(c *broker.Config) { c.Caps.WriteDeadline = 300 * time.Millisecond })
	stalled = w.in(evil)
	stalled.send(subscribePacket(1, protocol.DownFilter(evil)))
	stalled.want(suback)
	good := run(t, fast(t, pump, w.dialTLS(pump)))
	down := hears(t, good, protocol.DownFilter(pump))
	up := protocol.UpFilter(protocol.UpRecords)
	var kept atomic.Int64
	listen(t, w.broker, up, func(m protocol.Message) { kept.Add(1); m.Done() })
	big := make([]byte, protocol.MessageMax)
	for i := range 1000 {
		began := time.Now()
		_ = w.broker.Send(protocol.Message{Topic: protocol.Topic(evil, protocol.DownChunk), Payload: big})
		if took := time.Since(began); took > time.Second {
			t.Fatalf("Send to the stalled agent took %v", took)
		}
		n := number(uint16(i))
		send(t, w.broker, protocol.Message{Topic: protocol.Topic(pump, protocol.DownAck), Payload: n})
		send(t, good, protocol.Message{Topic: protocol.Topic(pump, protocol.UpRecords), Payload: n})
		m := wait(t, down)
		m.Done()
	}
	for end := time.Now().Add(bound); len(w.broker.Connected()) != 1 || kept.Load() < 1000; {
		if time.Now().After(end) {
			t.Fatalf("connected %v, kept %d: want the stalled agent gone, 1000 kept",
				w.broker.Connected(), kept.Load())
		}
		time.Sleep(time.Millisecond)
	}
}

// allocated returns how many bytes f has allocated.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestF4CapsBeforeLogin(t *testing.T) {
	huge := []byte{firstConnect, 0xff, 0xff, 0xff, 0x7f} // a CONNECT of 256 MiB
	b := newBare(t, &bareHook{})
	size := allocated(func() {
		r := b.dial(t)
		r.send(huge)
		r.send([]byte{0}) // taken only after the body was made room for
	})
	if size < 200<<20 {
		t.Fatalf("bare mochi allocated %d bytes for an anonymous header, want over 200 MiB", size)
	}

	w := newWorld(t, func(c *broker.Config) {
		c.Caps.LoginDeadline = 500 * time.Millisecond
		c.Caps.PerIP = 3
	})
	size = allocated(func() {
		r := w.dial(evil)
		r.try(huge)
		r.wantClosed()
	})
	if size > 1<<20 {
		t.Errorf("the broker allocated %d bytes for the header, want under 1 MiB", size)
	}
	r := w.dial(evil) // says nothing
	began := time.Now()
	r.wantClosed()
	if took := time.Since(began); took > bound/2 {
		t.Errorf("a silent connection was closed after %v", took)
	}
	var socks []net.Conn
	for range 4 {
		conn, err := net.Dial("tcp", w.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		socks = append(socks, conn)
	}
	for i, conn := range socks { // three by the deadline, the fourth at once; all are closed
		_ = conn.SetReadDeadline(time.Now().Add(bound))
		if _, err := conn.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
			t.Errorf("socket %d: %v, want closed", i, err)
		}
	}
	if s := w.broker.Stats(); s.Denials < 4 {
		t.Errorf("stats %+v: want 4 denials and more", s)
	}
}

func TestF5PubackAfterTheHubHasKept(t *testing.T) {
	release := make(chan struct{})
	b := newBare(t, &bareHook{})
	err := b.Subscribe("#", 1, func(*mqtt.Client, packets.Subscription, packets.Packet) { <-release })
	if err != nil {
		t.Fatal(err)
	}
	r := b.dial(t)
	r.login(login{id: "a", clean: true}, 0)
	r.send(publishPacket("t", 1, "x"))
	r.want(puback) // and nobody has kept it
	close(release)

	w := newWorld(t, func(c *broker.Config) { c.Caps.AckDeadline = time.Second })
	up := hears(t, w.broker, protocol.UpFilter(protocol.UpRecords))
	topic := protocol.Topic(pump, protocol.UpRecords)
	r = w.in(pump)
	r.send(publishPacket(topic, 7, "one"))
	r.send(publishPacket(topic, 8, "two"))
	one, two := wait(t, up), wait(t, up)
	two.Done()
	r.send(packet(firstPingreq))
	r.want(pingresp) // what comes first is no PUBACK: "one" is not kept
	one.Done()
	for _, id := range []uint16{7, 8} { // in the order of sending
		if body := r.want(puback); !bytes.Equal(body, number(id)) {
			t.Fatalf("PUBACK %x, want %d", body, id)
		}
	}
	one.Done() // again: nothing
	r.send(publishPacket(topic, 9, "late"))
	wait(t, up)
	if kind, _, err := r.read(); err == nil {
		t.Fatalf("got packet type %d, want the line cut without PUBACK", kind)
	}
	if s := w.broker.Stats(); s.Unkept != 1 {
		t.Errorf("stats %+v: want 1 unkept", s)
	}
	w.in(pump).send(publishPacket(topic, 9, "late"))
	if m := wait(t, up); string(m.Payload) != "late" {
		t.Errorf("the hub heard %q, want the message again", m.Payload)
	}
}

func TestF6NoDeafSessions(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	var second atomic.Bool
	b := newBare(t, &bareHook{onUnsubscribed: func() {
		if second.CompareAndSwap(false, true) { // the first session's end
			close(entered)
			<-release
		}
	}})
	clean := login{id: "a", clean: true}
	r := b.dial(t)
	r.login(clean, 0)
	r.send(subscribePacket(1, "t"))
	r.want(suback)
	_ = r.Close() // mochi begins to clear the session up
	wait(t, entered)
	r = b.dial(t)
	r.login(clean, 0)
	r.send(subscribePacket(1, "t"))
	r.want(suback) // connected, subscribed
	close(release)
	for end := time.Now().Add(bound); b.Clients.Len() > 1; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("bare mochi kept the new client")
		}
	}
	if err := b.Publish("t", []byte("x"), false, 1); err != nil {
		t.Fatal(err)
	}
	r.send(packet(firstPingreq))
	r.want(pingresp) // connected, and deaf: the message did not come

	w := newWorld(t, nil)
	r = w.dial(pump)
	r.try(login{id: protocol.MQTTClientID(pump), clean: true}.packet())
	r.wantClosed()
	for i := range 300 {
		r := w.in(pump)
		r.send(subscribePacket(1, protocol.DownFilter(pump)))
		r.want(suback)
		probe := protocol.MustMarshal(protocol.Probe{Nonce: uint64(i + 1)})
		r.send(publishPacket(protocol.Topic(pump, protocol.UpProbe), 1, string(probe)))
		heard, acked := false, false
		for !heard || !acked {
			kind, body, err := r.read()
			if err != nil {
				t.Fatalf("connection %d is deaf: %v", i, err)
			}
			acked = acked || kind == puback
			heard = heard || kind == publish && bytes.HasSuffix(body, probe)
		}
		_ = r.Close()
	}
}

// TestF6AgentLeavesDeafLine: a hub that answers all but the probe is left.
func TestF6AgentLeavesDeafLine(t *testing.T) {
	w := newWorld(t, nil)
	var tries atomic.Int32
	cfg := fast(t, pump, func(context.Context) (net.Conn, error) {
		if tries.Add(1) > 1 {
			return w.broker.Dial(pump)
		}
		ours, theirs := net.Pipe()
		go deafHub(newRaw(t, ours))
		return theirs, nil
	})
	cfg.ProbeTimeout = 100 * time.Millisecond
	ups, downs := make(chan struct{}, 10), make(chan struct{}, 10)
	cfg.OnState = func(up bool) {
		if up {
			ups <- struct{}{}
		} else {
			downs <- struct{}{}
		}
	}
	link := run(t, cfg)
	wait(t, ups)
	wait(t, downs)
	wait(t, ups)
	if link.Session() != 2 {
		t.Errorf("session %d, want 2", link.Session())
	}
}

func deafHub(r *raw) {
	for {
		kind, body, err := r.read()
		switch {
		case err != nil:
			return
		case kind == 1:
			r.try([]byte{connack << 4, 2, 0, 0})
		case kind == 8:
			r.try(packet(suback<<4, body[:2], []byte{1}))
		case kind == 12:
			r.try(packet(pingresp << 4))
		}
	}
}
