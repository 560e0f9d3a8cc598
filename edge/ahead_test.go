package edge_test

import (
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// What happens now reaches the hub before a backlog is through, and once more in its turn; what
// was made before the line came does not go twice. With a data budget nothing does (D-19).
func TestLiveGoesAhead(t *testing.T) {
	for _, budget := range []uint64{0, 1 << 30} {
		w := newWorld(t)
		w.hub.standard()
		w.plugins.answers["w/when"] = fires(3000)
		d := w.hub.desired(1, w.hub.workflow("w"))
		d.Settings.DataBytesPerDay = budget
		w.hub.deploy(d)
		w.boot()
		w.online()
		w.pass(time.Second)
		w.offline()
		w.pass(30 * time.Minute)
		before := w.agent.Status().Assignments[0].Fired
		w.hub.deaf, w.hub.batches = true, nil // the backlog gets nowhere
		w.online()
		w.pass(30 * time.Second)
		ahead, copies := 0, map[uint64]int{}
		for _, b := range w.hub.batches {
			lane, is := b.Lane.Ahead()
			if !is {
				continue
			}
			for _, r := range b.Records {
				if copies[uint64(lane)<<32|r.Mark.Sequence]++; copies[uint64(lane)<<32|r.Mark.Sequence] > 1 {
					t.Errorf("lane %s: record %d went ahead twice", lane, r.Mark.Sequence)
				}
				if lane == protocol.LaneEvent {
					if ahead++; r.Mark.Sequence <= before {
						t.Errorf("record %d went ahead: it is of before the connection, which had %d", r.Mark.Sequence, before)
					}
				}
			}
		}
		if budget > 0 && ahead > 0 || budget == 0 && ahead < 20 {
			t.Errorf("budget %d: %d events of 30 seconds went ahead", budget, ahead)
		}
		w.hub.deaf = false
		w.pass(40 * time.Minute)
		if n := w.agent.Status().Pending; n != 0 || len(w.hub.events) != 3000 {
			t.Errorf("budget %d: %d records pend in the end, hub has %d events", budget, n, len(w.hub.events))
		}
	}
}

// The hub says the pace: the next batch of a lane does not leave before, and no hub can hold a
// lane for longer than the agent's own longest pause.
func TestPace(t *testing.T) {
	for _, c := range []struct {
		wait uint32
		want time.Duration // until the next batch of the lane
	}{{0, 0}, {1500, 1500 * time.Millisecond}, {1 << 31, edge.DefaultConfig().PauseMax}} {
		w := backlog(t, 600)
		w.plugins.answers["w/when"] = func(edge.Call) wasmhost.Answer { return wasmhost.Answer{} }
		w.link.sent, w.hub.batches = nil, nil
		w.hub.say(protocol.DownAck, protocol.LaneAck{
			Epoch: 1, Lane: protocol.LaneEvent, Mark: protocol.Mark{Boot: 1, Sequence: 256}, WaitMS: c.wait,
		})
		begin := w.now
		for len(w.hub.batches) == 0 || w.hub.batches[len(w.hub.batches)-1].Lane != protocol.LaneEvent {
			if w.one() {
				continue
			}
			w.now = w.agent.Next()
			w.agent.Tick(w.now)
		}
		if got := w.now.Sub(begin); got < c.want || got > c.want+time.Second {
			t.Errorf("wait %d ms: the next batch left after %s, want %s", c.wait, got, c.want)
		}
	}
}
