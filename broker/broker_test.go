package broker_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/stavily/stavily/edge/mqtt"
	"github.com/stavily/stavily/protocol"
)

func TestExchangeOverTLS(t *testing.T) {
	w := newWorld(t, nil)
	up := hears(t, w.broker, protocol.UpFilter(protocol.UpRecords))
	agent := run(t, fast(t, pump, w.dialTLS(pump)))
	down := hears(t, agent, protocol.DownFilter(pump))

	send(t, agent, protocol.Message{Topic: protocol.Topic(pump, protocol.UpRecords), Payload: []byte("up")})
	m := wait(t, up)
	if string(m.Payload) != "up" || m.Topic != protocol.Topic(pump, protocol.UpRecords) {
		t.Fatalf("hub heard %q on %q", m.Payload, m.Topic)
	}
	m.Done()

	send(t, w.broker, protocol.Message{Topic: protocol.Topic(pump, protocol.DownAck), Payload: []byte("down")})
	m = wait(t, down)
	if string(m.Payload) != "down" || m.Topic != protocol.Topic(pump, protocol.DownAck) {
		t.Fatalf("agent heard %q on %q", m.Payload, m.Topic)
	}
	m.Done()
}

// Every goroutine of a connection ends with it, at both ends.
func TestNoGoroutineStays(t *testing.T) {
	w := newWorld(t, nil)
	cycle := func(i int) {
		r := w.in(name(i))
		r.send(subscribePacket(1, protocol.DownFilter(name(i))))
		r.want(suback)
		_ = r.Close()
		cfg := fast(t, pump, w.dialTLS(pump))
		up, ended := make(chan struct{}, 10), make(chan error, 1)
		cfg.OnState = func(bool) { up <- struct{}{} }
		link, err := mqtt.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		go func() { ended <- link.Run(ctx) }()
		wait(t, up)
		cancel()
		wait(t, ended)
	}
	cycle(0)
	before := runtime.NumGoroutine()
	for i := range 20 {
		cycle(i)
	}
	for end := time.Now().Add(bound); runtime.NumGoroutine() > before+5; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			stack := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, before %d:\n%s", runtime.NumGoroutine(), before,
				stack[:runtime.Stack(stack, true)])
		}
	}
}
