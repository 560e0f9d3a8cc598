package edge_test

import (
	"crypto/ed25519"
	"slices"
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

// What was taken away while the agent was away ends when it is back, over a restart too: it fires no
// more and leaves nothing. Until then no absence of a word ends anything (complaint 5).
func TestRemovedWhileAway(t *testing.T) {
	for _, restart := range []bool{false, true} {
		w := newWorld(t)
		w.hub.standard()
		fired := map[string]int{}
		for _, name := range []string{"goes", "stays"} {
			w.plugins.answers[name+"/when"] = func(edge.Call) wasmhost.Answer {
				fired[name]++
				return wasmhost.Answer{State: protocol.MustMarshal(1), Next: wasmhost.Next{AfterMS: (10 * time.Minute).Milliseconds()}}
			}
		}
		w.hub.deploy(w.hub.desired(1, w.hub.workflow("goes"), w.hub.workflow("stays")))
		w.boot()
		w.online()
		w.pass(time.Hour)
		w.offline()
		w.hub.deploy(w.hub.desired(2, w.hub.workflow("stays")))
		w.hub.out = nil // nobody hears of it
		if restart {
			w.boot()
		}
		before := fired["goes"]
		if w.pass(24 * time.Hour); fired["goes"] < before+24*6 {
			t.Errorf("restart %v: away it fired %d times in a day, want %d", restart, fired["goes"]-before, 24*6)
		}
		w.online()
		w.pass(time.Minute)
		if s := w.agent.Status(); s.Revision != 2 || len(s.Assignments) != 1 || s.Assignments[0].Workflow != "stays" {
			t.Errorf("restart %v: back it has %+v", restart, s.Assignments)
		}
		goes, stays := fired["goes"], fired["stays"]
		if w.pass(time.Hour); fired["goes"] != goes || fired["stays"] < stays+6 {
			t.Errorf("restart %v: fired %d times after its end, the other %d times", restart, fired["goes"]-goes, fired["stays"]-stays)
		}
		for _, key := range w.disk.Keys() {
			if strings.Contains(key, "goes") {
				t.Errorf("restart %v: %s is still on the disk", restart, key)
			}
		}
	}
}

// After a start only what no hub has acknowledged is sent, and all of that (complaint 18).
func TestRestartSendsNothingTwice(t *testing.T) {
	w := backlog(t, 600)
	acked := protocol.Mark{Boot: 1, Sequence: 200}
	w.hub.say(protocol.DownAck, protocol.LaneAck{Epoch: 1, Lane: protocol.LaneEvent, Mark: acked})
	w.drain()
	w.offline()
	w.hub.batches, w.hub.deaf = nil, false
	w.boot()
	w.online()
	w.pass(time.Hour)
	sent := map[protocol.Mark]int{}
	for _, b := range w.hub.batches {
		for i := range b.Records {
			if b.Lane == protocol.LaneEvent {
				sent[b.Records[i].Mark]++
			}
		}
	}
	for n := uint64(1); n <= 600; n++ {
		want := 1
		if n <= acked.Sequence {
			want = 0
		}
		if got := sent[protocol.Mark{Boot: 1, Sequence: n}]; got != want {
			t.Fatalf("event %d was sent %d times after the start, want %d", n, got, want)
		}
	}
	if got := w.agent.Status().Pending; got != 0 {
		t.Errorf("%d records pend", got)
	}
}

// Whatever is wrong with the first deployment, the agent stays what it was: it speaks to the hub,
// starts again, and takes the next one (complaint 9).
func TestFirstDeploymentGoesWrong(t *testing.T) {
	for name, wrong := range map[string]func(*world){
		"sealed by nobody": func(w *world) {
			stranger := protocol.SealKey{Role: protocol.RoleDesired, Private: ed25519.NewKeyFromSeed(make([]byte, 32))}
			d := w.hub.desired(1, w.hub.workflow("w"))
			w.hub.deploySealed(d, protocol.MustMarshal(d), stranger)
		},
		"its files never come": func(w *world) {
			w.hub.spoil = func(c *protocol.Chunk) { c.Digest = protocol.Digest{} }
			w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
		},
		"its plugins do not start": func(w *world) {
			w.plugins.answers["w/do/load"] = refuses(protocol.CodePlugin, "no")
			w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
		},
	} {
		w := newWorld(t)
		w.hub.standard()
		w.boot()
		w.online()
		wrong(w)
		w.pass(time.Hour)
		w.offline()
		w.boot()
		w.online()
		reports := len(w.hub.reports)
		if w.pass(time.Hour); len(w.hub.reports) == reports {
			t.Errorf("%s: the hub hears nothing after a start", name)
		}
		w.hub.spoil = nil
		clear(w.plugins.answers)
		w.hub.deploy(w.hub.desired(2, w.hub.workflow("v")))
		w.pass(time.Hour)
		s := w.agent.Status()
		if s.Revision != 2 || len(s.Assignments) != 1 || s.Assignments[0].Phase != protocol.PhaseRunning || s.Refused != nil {
			t.Errorf("%s: after the next one: %+v", name, s)
		}
	}
}

// A plugin that never says whether it starts holds up its own revision until its time is over, and a
// newer revision not at all (complaint 7).
func TestHungLoadIsSuperseded(t *testing.T) {
	for _, patient := range []bool{false, true} { // whether the newer one comes when the time is over
		w := running(t)
		w.hub.publish("work", protocol.Action, "1.1.0", []byte("work 1.1.0"))
		hung := func(c edge.Call) bool { return c.Load != nil && c.Load.Manifest.Plugin.Version == "1.1.0" }
		pass := func(d time.Duration) {
			for end := w.now.Add(d); ; {
				w.plugins.queue = slices.DeleteFunc(w.plugins.queue, hung)
				if w.one() {
					continue
				}
				next := w.agent.Next()
				if next.IsZero() || next.After(end) {
					w.now = end
					return
				}
				w.now = next
				w.agent.Tick(w.now)
			}
		}
		w.hub.deploy(w.hub.desired(6, w.hub.workflow("w")))
		pass(5 * time.Second)
		if s := w.agent.Status(); s.Assignments[0].Phase == protocol.PhaseRunning && s.Revision == 6 {
			t.Fatalf("a plugin that says nothing runs: %+v", s)
		}
		if patient {
			pass(2*w.cfg.LoadWait + time.Minute) // its trial, and its load
			late := func(r protocol.Reported) bool {
				return len(r.Assignments) > 0 && r.Assignments[0].Error != nil && r.Assignments[0].Error.Code == protocol.CodeDeadline
			}
			if !slices.ContainsFunc(w.hub.reports, late) {
				t.Errorf("the hub does not hear of the plugin that says nothing: %+v", w.hub.reported())
			}
		}
		w.hub.standard() // version 1.0.0
		w.hub.deploy(w.hub.desired(7, w.hub.workflow("v")))
		pass(5 * time.Second)
		if s := w.agent.Status(); s.Revision != 7 || len(s.Assignments) != 1 || s.Assignments[0].Phase != protocol.PhaseRunning {
			t.Errorf("patient %v: the newer revision waits: %+v", patient, s)
		}
	}
}
