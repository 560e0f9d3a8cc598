package edge_test

import (
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

// On a line that is dead one way the link takes everything and delivers nothing. What the agent
// gave it once it does not give it again, not by time and not on a new connection, until the link
// has let go of it.
func TestHalfDeadLine(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	w.plugins.answers["w/when"] = fires(100)
	w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
	w.boot()
	w.online()
	w.pass(w.cfg.Gather + time.Millisecond)
	w.offline()
	w.pass(time.Hour)

	ticks := func(d time.Duration) {
		for end := w.now.Add(d); ; {
			next := w.agent.Next()
			if next.IsZero() || next.After(end) {
				w.now = end
				return
			}
			w.now = next
			w.agent.Tick(w.now)
		}
	}
	events := func() (n int) {
		for _, m := range w.link.sent {
			var b protocol.Batch
			if protocol.Unmarshal(m.Payload, &b) == nil && m.Topic == protocol.Topic(w.hub.at, protocol.UpRecords) &&
				b.Lane == protocol.LaneEvent {
				n++
			}
		}
		return n
	}
	for connections := 1; connections <= 3; connections++ { // the link holds what it has all the while
		w.link.up = true
		w.agent.Online(w.now, true)
		ticks(75 * time.Second)
		if n := events(); n != 1 {
			t.Fatalf("on connection %d the link has %d copies of one batch, want 1", connections, n)
		}
		w.link.up = false
		w.agent.Online(w.now, false)
		ticks(10 * time.Minute)
	}

	w.link.up = true
	w.agent.Online(w.now, true)
	w.drain()
	w.pass(time.Hour)
	if got := w.agent.Status().Pending; got != 0 {
		t.Errorf("%d records pend once the line is back", got)
	}

	// A link that never tells what it has let go of still gets a copy, late.
	w = backlog(t, 10)
	w.link.sent = nil
	w.agent.Online(w.now, true)
	ticks(time.Second)
	w.link.sent = nil
	ticks(time.Hour)
	if events() == 0 {
		t.Error("a link that does not tell gets nothing ever again")
	}
}
