package edge_test

import (
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// An agent that wants to be called again at once, and then has nothing to do, spins.

func TestHeartbeatWaitsWithAReportThatSettles(t *testing.T) {
	w := newWorld(t)
	w.cfg.Heartbeat = 20 * time.Second
	w.hub.standard()
	w.plugins.answers["one/when"] = func(edge.Call) wasmhost.Answer {
		return wasmhost.Answer{Next: wasmhost.Next{AfterMS: 15_000}}
	}
	w.boot()
	w.online()
	w.hub.deploy(w.hub.desired(1, w.hub.workflow("one")))
	w.pass(10 * time.Second)
	for len(w.plugins.queue) == 0 {
		w.now = w.agent.Next()
		w.agent.Tick(w.now)
	}
	w.now = w.now.Add(10 * time.Second) // past the heartbeat
	w.plugins.lost = []string{"one/when"}
	w.one() // the workflow is loaded afresh, which is worth a report
	if next := w.agent.Next(); !next.After(w.now) {
		t.Fatalf("at %s wants to be called at %s", w.now, next)
	}
}

func TestLanesWaitBehindOneThatTheLineDoesNotTake(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	w.hub.deaf = true
	w.plugins.answers["one/when"] = fires(3)
	w.boot()
	w.online()
	w.hub.deploy(w.hub.desired(1, w.hub.workflow("one")))
	w.pass(10 * time.Second) // events and results are sent and not acknowledged
	w.link.up = false        // its queue is full
	w.now = w.now.Add(time.Hour)
	if next := w.agent.Tick(w.now); !next.After(w.now) {
		t.Fatalf("at %s wants to be called at %s", w.now, next)
	}
	w.link.up, w.hub.deaf = true, false
	w.pass(time.Minute)
	if got := len(w.hub.newest); got < int(protocol.LaneResult) {
		t.Fatalf("%d lanes reached the hub", got)
	}
}

// A hub says after each report which revision is the newest. One that was refused for
// what may pass is not tried again at once: that would be a storm.
func TestRefusedRevisionIsTriedAgainAfterAWhile(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	w.boot()
	w.online()
	d := w.hub.desired(1, w.hub.workflow("one"))
	art := w.hub.art["work"].Digest
	body := w.hub.files[art]
	delete(w.hub.files, art)
	w.hub.deploy(d)
	w.drain()
	tries := func() (n int) {
		for _, f := range w.hub.fetches {
			if f.Digest == art {
				n++
			}
		}
		return n
	}
	if tries() != 1 {
		t.Fatalf("asked %d times for what is not there, want once", tries())
	}
	for range 20 {
		w.hub.sayHint()
		w.drain()
	}
	if tries() != 1 {
		t.Fatalf("asked %d times at one moment, want once", tries())
	}
	w.hub.files[art] = body
	w.pass(10 * time.Minute)
	w.hub.sayHint()
	w.pass(time.Second)
	if got := w.hub.reported().Revision; got != 1 {
		t.Fatalf("holds revision %d, want 1", got)
	}
}
