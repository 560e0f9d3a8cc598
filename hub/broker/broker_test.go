package broker_test

import (
	"testing"

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
