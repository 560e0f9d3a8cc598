package broker_test

import (
	"context"
	"net"
	"testing"

	"github.com/stavily/stavily/broker"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/linktest"
)

// slowAcks lets a test hold messages longer than a hub may.
func slowAcks(c *broker.Config) { c.Caps.AckDeadline = 2 * bound }

func TestLinkOverTLS(t *testing.T) {
	linktest.Run(t, func(t *testing.T) linktest.Pair {
		w := newWorld(t, slowAcks)
		return w.pair(t, w.dialTLS(pump))
	})
}

func TestLinkInProcess(t *testing.T) {
	linktest.Run(t, func(t *testing.T) linktest.Pair {
		w := newWorld(t, slowAcks)
		return w.pair(t, func(context.Context) (net.Conn, error) { return w.broker.Dial(pump) })
	})
}

func (w *world) pair(t *testing.T, dial func(context.Context) (net.Conn, error)) linktest.Pair {
	t.Helper()
	agent := run(t, fast(t, pump, dial))
	return linktest.Pair{
		Hub: w.broker, Agent: agent, Address: pump,
		Cut:   func() { w.broker.Disconnect(pump, "test") },
		Close: func() {},
	}
}

var _ protocol.Link = (*broker.Broker)(nil)
