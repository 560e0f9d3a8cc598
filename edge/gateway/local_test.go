package gateway

import (
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

func local(topic string, depth uint8) protocol.Local {
	return protocol.Local{Topic: topic, Data: protocol.MustMarshal(1), Depth: depth}
}

// A message for the site goes to all who are there but for who said it, with the hub or without.
func TestLocalMessages(t *testing.T) {
	w := newWorld(t)
	w.says(pump, protocol.UpLocal, local("site/door", 1))
	w.wants("of a neighbour", "valve d/local", "gw-1 d/local")
	w.relay.Uplink(true)
	w.wants("with the hub", "pump d/uplink true", "valve d/uplink true")
	w.says(gw, protocol.UpLocal, local("site/door", 1))
	w.wants("of the gateway", "pump d/local", "valve d/local")
	w.deaf[pump] = true
	w.says(gw, protocol.UpLocal, local("site/door", 8))
	w.wants("one does not take it", "valve d/local")
	w.here = nil
	w.says(pump, protocol.UpLocal, local("site/door", 1))
	w.wants("nobody else is there", "gw-1 d/local")
	if n := w.relay.Counts(); n.Local != 4 || n.Dropped != 1 {
		t.Errorf("counted %+v", n)
	}
}

func TestLocalMessagesRefused(t *testing.T) {
	w := newWorld(t)
	large := local("site/door", 1)
	large.Data = protocol.MustMarshal(make([]byte, protocol.PublishMax))
	for name, l := range map[string]protocol.Local{
		"another topic": local("door", 1), "no topic": local("", 1), "a wildcard": local("site/+", 1),
		"no depth": local("site/door", 0), "too deep": local("site/door", protocol.PublishDepthMax+1), "too large": large,
	} {
		w.says(pump, protocol.UpLocal, l)
		w.wants(name)
	}
	w.says(far, protocol.UpLocal, local("site/door", 1))
	w.wants("of another site")
}

// Each agent has its own rate; one that floods the site takes nothing from the others.
func TestLocalMessagesAreBounded(t *testing.T) {
	w := newWorld(t)
	for range localBurst + 50 {
		w.says(pump, protocol.UpLocal, local("site/door", 1))
	}
	if n := w.relay.Counts(); n.Local != localBurst || n.Dropped != 50 {
		t.Errorf("counted %+v", n)
	}
	w.said = nil
	w.says(valve, protocol.UpLocal, local("site/door", 1))
	w.wants("another one", "pump d/local", "gw-1 d/local")
	w.now = w.now.Add(time.Second)
	for range 2 * localPerSecond {
		w.says(pump, protocol.UpLocal, local("site/door", 1))
	}
	if n := w.relay.Counts(); n.Local != localBurst+1+localPerSecond {
		t.Errorf("after a second: %+v", n)
	}
	w.here = nil
	w.relay.Tick(w.now)
	if len(w.relay.locals) != 0 {
		t.Errorf("%d rates of agents that have gone", len(w.relay.locals))
	}
}
