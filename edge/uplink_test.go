package edge_test

import (
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// kinds counts what the agent has sent since, by kind, and forgets it.
func (w *world) kinds() map[protocol.Kind]int {
	out := map[protocol.Kind]int{}
	for _, m := range w.link.sent {
		if _, kind, err := protocol.ParseTopic(m.Topic); err == nil {
			out[kind]++
		}
	}
	w.link.sent = nil
	return out
}

func (w *world) uplink(up bool) { w.uplinked(protocol.Uplink{Up: up}) }

func (w *world) uplinked(u protocol.Uplink) {
	w.agent.Handle(w.now, protocol.Message{
		Topic: protocol.Topic(w.cfg.Address, protocol.DownUplink), Payload: protocol.MustMarshal(u),
	})
}

// While its gateway does not reach the hub, an agent keeps what is for the hub and loses none of
// it; when it does, the agent says anew what it is, as a later session, and what waits.
func TestUplinkOfAGateway(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	w.boot()
	w.online()
	w.drain()
	before := w.agent.Presence(true).Session
	w.uplink(false)
	w.kinds()
	if w.agent.Status().Online {
		t.Error("says that it is online")
	}
	w.agent.Told(w.now, edge.Told{Lines: []protocol.LogLine{{Level: 4, Text: "while alone"}}})
	for range 10 {
		w.now = w.now.Add(time.Hour)
		w.agent.Tick(w.now)
	}
	if sent := w.kinds(); len(sent) != 0 {
		t.Errorf("sent to a hub that is not reached: %v", sent)
	}
	w.uplink(true)
	sent := w.kinds()
	if sent[protocol.UpPresence] != 1 || sent[protocol.UpReported] != 1 || sent[protocol.UpRecords] == 0 {
		t.Errorf("when it is reached again: %v", sent)
	}
	if after := w.agent.Presence(true).Session; after <= before {
		t.Errorf("session %d after %d: the hub would take it for the old one", after, before)
	}
	if !w.agent.Status().Online {
		t.Error("says that it is not online")
	}
}
