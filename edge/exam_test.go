package edge_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// reads counts the records that are read from a disk.
type reads struct {
	edge.Store
	records int
}

func (r *reads) Scan(prefix, from string, yield func(string, []byte) bool) error {
	return r.Store.Scan(prefix, from, func(key string, value []byte) bool {
		if strings.HasPrefix(key, "out/") {
			r.records++
		}
		return yield(key, value)
	})
}

// A backlog does not hold up the start: no record of it is read before the triggers run, and a
// start costs the same with it as without (complaint 11).
func TestBacklogHoldsNoTriggerUp(t *testing.T) {
	w := backlog(t, 600)
	w.plugins.answers["w/when"] = func(edge.Call) wasmhost.Answer { return wasmhost.Answer{} }
	disk := &reads{Store: w.disk}
	w.store = disk
	w.plugins.started = nil
	w.boot()
	w.link.up = true
	w.agent.Online(w.now, true)
	for range 8 { // loads, and then the trigger's start
		if len(w.plugins.queue) == 0 {
			break
		}
		c := w.plugins.queue[0]
		w.plugins.queue = w.plugins.queue[1:]
		if c.Request != nil && c.Request.Kind == wasmhost.Wake {
			break
		}
		if len(w.plugins.started) < 3 && disk.records > 0 {
			t.Fatalf("%d records were read before the plugins were begun", disk.records)
		}
		w.agent.Answered(w.now, w.plugins.end(c))
	}
	woken := false
	for _, what := range w.plugins.started {
		woken = woken || what == "w/when wake"
	}
	if !woken || disk.records > 3*protocol.BatchMax {
		t.Fatalf("woken %v, %d records read: want a wake and at most one batch of each lane", woken, disk.records)
	}
}

// An agent that has nothing to say says little: a day without a firing, with the default
// heartbeat and metrics, is less than 1 MiB on the line, both ways (complaint 12).
func TestIdleDayIsSmall(t *testing.T) {
	w := newWorld(t)
	w.cfg.Metrics = edge.DefaultConfig().Metrics
	w.machine = map[string]float64{"cpu.percent": 3.5, "memory.percent": 41, "disk.percent": 20, "load.1": 0.1}
	w.hub.standard()
	w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
	w.boot()
	w.online()
	w.pass(time.Minute)
	bytes, messages := 0, 0
	for end := w.now.Add(24 * time.Hour); w.now.Before(end); {
		for _, m := range append(w.link.sent, w.hub.out...) { // one that waits is counted again
			bytes += len(m.Payload) + len(m.Topic) + 150 // framing, TLS, TCP and IP
			messages++
		}
		if w.one() {
			continue
		}
		w.now = w.agent.Next()
		w.agent.Tick(w.now)
	}
	if messages < 24*12 {
		t.Fatalf("%d messages in a day: this test sees nothing", messages)
	}
	if bytes > 1<<20 {
		t.Errorf("%d bytes in %d messages, want less than 1 MiB", bytes, messages)
	}
	t.Logf("an idle day: at most %d bytes, %d messages", bytes, messages)
}

// A change of one workflow touches no timer of another, and a change of a workflow's steps not
// its own (complaint 20, C-4).
func TestReloadKeepsTimers(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	at := map[string][]int{}
	for _, name := range []string{"one", "two"} {
		w.plugins.answers[name+"/when"] = func(c edge.Call) wasmhost.Answer {
			if c.Request.Why == wasmhost.WhyTimer {
				at[name] = append(at[name], int(w.now.Sub(start).Minutes()))
			}
			return wasmhost.Answer{Next: wasmhost.Next{AfterMS: (10 * time.Minute).Milliseconds()}}
		}
	}
	w.hub.deploy(w.hub.desired(1, w.hub.workflow("one"), w.hub.workflow("two")))
	w.boot()
	w.online()
	w.pass(7 * time.Minute)
	changed := w.hub.workflow("one")
	changed.Actions[0].Timeout = 5000
	w.hub.deploy(w.hub.desired(2, changed, w.hub.workflow("two")))
	w.pass(14 * time.Minute)
	for _, name := range []string{"one", "two"} {
		if got := at[name]; len(got) != 2 || got[0] != 10 || got[1] != 20 {
			t.Errorf("workflow %s fired at minutes %v, want 10 and 20", name, got)
		}
	}
}
