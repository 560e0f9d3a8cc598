package edge_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/storetest"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// long returns a workflow of two actions and three outputs, one for each condition.
func long(h *hubSide) protocol.Assignment {
	of := h.workflow("w")
	of.Actions = append(of.Actions, protocol.Step{Name: "do2", Release: h.release["work"].Digest})
	of.Outputs = nil
	for i, name := range []string{"always", "ok", "error"} {
		of.Outputs = append(of.Outputs, protocol.Step{
			Name: protocol.StepName(name), Release: h.release["tell"].Digest, When: protocol.When(i),
		})
	}
	return of
}

func TestSteps(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer map[string]func(edge.Call) wasmhost.Answer
		retry  protocol.Retry
		want   string
	}{
		{"all well", nil, protocol.Retry{}, "do ok, do2 ok, always ok, ok ok, error skipped."},
		{"first action fails", map[string]func(edge.Call) wasmhost.Answer{
			"w/do": refuses(protocol.CodePlugin, "no"),
		}, protocol.Retry{}, "do error, do2 skipped, always ok, ok skipped, error ok."},
		{"second action fails", map[string]func(edge.Call) wasmhost.Answer{
			"w/do2": refuses(protocol.CodeDeadline, "slow"),
		}, protocol.Retry{}, "do ok, do2 error, always ok, ok skipped, error ok."},
		{"an output fails", map[string]func(edge.Call) wasmhost.Answer{
			"w/always": refuses(protocol.CodePlugin, "no"),
		}, protocol.Retry{}, "do ok, do2 ok, always error, ok ok, error skipped."},
		{"retryable until it is well", map[string]func(edge.Call) wasmhost.Answer{
			"w/do": failsFirst(3, protocol.CodeRetryable),
		}, protocol.Retry{Times: 3, WaitMS: 1000}, "do ok, do2 ok, always ok, ok ok, error skipped."},
		{"retryable too often", map[string]func(edge.Call) wasmhost.Answer{
			"w/do": failsFirst(3, protocol.CodeRetryable),
		}, protocol.Retry{Times: 2, WaitMS: 1000}, "do error, do2 skipped, always ok, ok skipped, error ok."},
		{"unavailable is no try", map[string]func(edge.Call) wasmhost.Answer{
			"w/do": failsFirst(5, protocol.CodeUnavailable),
		}, protocol.Retry{}, "do ok, do2 ok, always ok, ok ok, error skipped."},
		{"a result that no hub could read", map[string]func(edge.Call) wasmhost.Answer{
			"w/do": func(edge.Call) wasmhost.Answer { return wasmhost.Answer{Data: deep(15)} },
		}, protocol.Retry{}, "do error, do2 ok, always ok, ok ok, error skipped."},
		{"a result too large", map[string]func(edge.Call) wasmhost.Answer{
			"w/do": func(edge.Call) wasmhost.Answer {
				return wasmhost.Answer{Data: protocol.MustMarshal(make([]byte, protocol.DataMax))}
			},
		}, protocol.Retry{}, "do error, do2 skipped, always ok, ok skipped, error ok."},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.hub.standard()
			of := long(w.hub)
			of.Actions[0].Retry = c.retry
			for name, f := range c.answer {
				w.plugins.answers[name] = f
			}
			w.plugins.answers["w/when"] = fires(1)
			w.hub.deploy(w.hub.desired(1, of))
			w.boot()
			w.online()
			w.pass(time.Hour)
			if got := w.hub.said(); got != c.want {
				t.Fatalf("results %q, want %q", got, c.want)
			}
			for _, key := range w.disk.Keys() {
				if strings.HasPrefix(key, "run/") || strings.HasPrefix(key, "out/") {
					t.Errorf("%s is still on the disk", key)
				}
			}
		})
	}
}

func failsFirst(n int, code protocol.Code) func(edge.Call) wasmhost.Answer {
	return func(c edge.Call) wasmhost.Answer {
		if n--; n >= 0 {
			return refuses(code, "not yet")(c)
		}
		return wasmhost.Answer{}
	}
}

// deep returns an item so nested that it fits alone and not inside a batch.
func deep(n int) protocol.Raw { return append(bytes.Repeat([]byte{0x81}, n), 0x01) }

// What a later step is asked with.
func TestRequest(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	w.plugins.answers["w/when"] = fires(1)
	w.plugins.answers["w/do"] = func(edge.Call) wasmhost.Answer {
		return wasmhost.Answer{Data: protocol.MustMarshal("done"), Usage: wasmhost.Usage{TookUS: 7}}
	}
	var got *wasmhost.Request
	w.plugins.answers["w/say"] = func(c edge.Call) wasmhost.Answer { got = c.Request; return wasmhost.Answer{} }
	of := w.hub.workflow("w")
	of.Outputs[0].Timeout = 1234
	w.hub.deploy(w.hub.desired(1, of))
	w.boot()
	w.online()
	w.pass(time.Minute)
	if got == nil || got.Kind != wasmhost.Deliver || got.TimeoutMS != 1234 || len(got.Results) != 1 ||
		!bytes.Equal(got.Results[0].Data, protocol.MustMarshal("done")) || got.Event.Workflow != "w" ||
		got.Key != got.Event.Run.String()+"/say" {
		t.Fatalf("asked with %+v", got)
	}
	if r := w.hub.results[0]; r.TookUS != 7 || r.Tries != 1 || r.Type != protocol.Action || r.Time.Quality != protocol.QualityClock {
		t.Fatalf("result %+v", r)
	}
}

// A plugin that rested and does not come back is loaded afresh; what it was to be asked
// is asked then, as the first try.
func TestLost(t *testing.T) {
	for _, name := range []string{"w/when", "w/do", "w/say"} {
		w := newWorld(t)
		w.hub.standard()
		w.plugins.answers["w/when"] = fires(2)
		w.plugins.lost = []string{name}
		w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
		w.boot()
		w.online()
		w.pass(time.Minute)
		if got, want := w.hub.said(), "do ok, say ok., do ok, say ok."; got != want || len(w.plugins.lost) > 0 {
			t.Errorf("%s lost: results %q, want %q", name, got, want)
		}
		for _, r := range w.hub.results {
			if r.Tries != 1 {
				t.Errorf("%s lost: step %s took %d tries, want 1", name, r.Step, r.Tries)
			}
		}
		loads := slices.DeleteFunc(slices.Clone(w.plugins.started), func(s string) bool { return s != name+" load" })
		if len(loads) != 2 {
			t.Errorf("%s lost: loaded %d times, want 2", name, len(loads))
		}
	}
}

// A retry and a power cut keep the idempotency key (complaint 21).
func TestKeysStay(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	w.plugins.answers["w/when"] = fires(1)
	w.plugins.answers["w/do"] = failsFirst(4, protocol.CodeRetryable)
	of := w.hub.workflow("w")
	of.Actions[0].Retry = protocol.Retry{Times: 5, WaitMS: 10000}
	w.hub.deploy(w.hub.desired(1, of))
	w.boot()
	w.online()
	w.pass(15 * time.Second)
	w.boot() // a power cut while it waits
	w.online()
	w.pass(10 * time.Minute)
	if got := w.hub.said(); got != "do ok, say ok." {
		t.Fatalf("results %q", got)
	}
	if r := w.hub.results[0]; r.Tries != 5 {
		t.Fatalf("%d tries, want 5: those before the cut count", r.Tries)
	}
	do := slices.DeleteFunc(slices.Clone(w.plugins.keys), func(k string) bool { return !strings.HasSuffix(k, "/do") })
	if len(do) != 5 || len(slices.Compact(do)) != 1 {
		t.Fatalf("keys %q: want one key 5 times", do)
	}
}

// A trigger whose runs do not drain is not woken, and nothing is lost.
func TestBlocksTrigger(t *testing.T) {
	w := newWorld(t)
	w.cfg.RunsMax = 10
	w.hub.standard()
	w.plugins.answers["w/when"] = fires(50)
	w.plugins.answers["w/do"] = refuses(protocol.CodeUnavailable, "starting")
	w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
	w.boot()
	w.online()
	w.pass(time.Hour)
	if n := w.agent.Status().Assignments[0].Fired; n != 10 {
		t.Fatalf("fired %d times, want RunsMax 10", n)
	}
	w.plugins.answers["w/do"] = nil
	w.pass(time.Hour)
	if n := w.agent.Status().Assignments[0].Fired; n != 50 || len(w.hub.results) != 100 {
		t.Fatalf("fired %d times with %d results, want 50 with 100", n, len(w.hub.results))
	}
}

// The disk is full for a while: nothing leaves, nothing is lost, nothing is twice.
func TestDiskFull(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	w.plugins.answers["w/when"] = fires(5)
	w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
	w.boot()
	w.online()
	full := true
	most := 0 // batches at the hub and on the line when the disk was full
	n := 0
	w.disk.Faults = func(op storetest.Op) storetest.Fault {
		if op != storetest.OpApply {
			return storetest.Fault{}
		}
		if n++; n > 6 && full {
			if most == 0 {
				most = len(w.hub.batches) + len(w.link.sent)
			}
			return storetest.Fault{Err: protocol.Errorf(protocol.CodeStorage, "no space left on device")}
		}
		return storetest.Fault{}
	}
	w.pass(time.Hour)
	if s := w.agent.Status(); !s.DiskRefuses || len(w.hub.batches) > most || most == 0 {
		t.Fatalf("disk refuses %v; hub has %d batches, want at most %d", s.DiskRefuses, len(w.hub.batches), most)
	}
	w.hub.deploy(w.hub.desired(2, w.hub.workflow("w"))) // must not be forgotten
	w.pass(time.Minute)
	full = false
	w.pass(time.Hour)
	s := w.agent.Status()
	if s.DiskRefuses || s.Revision != 2 || s.Pending != 0 || len(w.hub.events) != 5 || len(w.hub.results) != 10 {
		t.Fatalf("with room again: %+v; hub has %d events, %d results", s, len(w.hub.events), len(w.hub.results))
	}
}

// A lane over its bytes lets the oldest go, and counts them; also of a disk that knows lanes, where
// a record has no key.
func TestDropOldest(t *testing.T) {
	t.Run("by key", func(t *testing.T) { dropsOldest(t, newWorld(t)) })
	t.Run("by mark", func(t *testing.T) {
		w := newWorld(t)
		w.store = storetest.Lanes{Memory: w.disk}
		dropsOldest(t, w)
	})
}

func dropsOldest(t *testing.T, w *world) {
	t.Helper()
	w.cfg.LaneBytes[protocol.LaneEvent] = 2 * protocol.RecordMax
	w.hub.standard()
	w.plugins.answers["w/when"] = func(c edge.Call) wasmhost.Answer {
		a := fires(200)(c)
		if len(a.Events) > 0 {
			a.Events[0] = protocol.MustMarshal(make([]byte, 1000))
		}
		return a
	}
	w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
	w.boot()
	w.online()
	w.pass(time.Millisecond)
	w.offline()
	w.pass(time.Hour)
	s := w.agent.Status()
	if s.Dropped == 0 {
		t.Fatal("nothing was dropped")
	}
	on := 0
	for _, key := range w.disk.Keys() {
		if strings.HasPrefix(key, "out/1/") {
			on++
		}
	}
	if most := 2*protocol.RecordMax/1000 + 1; on == 0 || on > most {
		t.Fatalf("%d events on the disk, want %d at most", on, most)
	}
	w.boot() // the account is on the disk
	if again := w.agent.Status(); again.Dropped != s.Dropped || again.Pending != s.Pending {
		t.Fatalf("after a boot %d dropped, %d pend; before %d, %d", again.Dropped, again.Pending, s.Dropped, s.Pending)
	}
	w.online()
	w.pass(time.Hour)
	if n := len(w.hub.events); n+int(s.Dropped) != 200 || n < 40 {
		t.Fatalf("%d events came, %d dropped, of 200", n, s.Dropped)
	}
	if len(w.hub.results) != 400 {
		t.Fatalf("%d results came, want all 400", len(w.hub.results))
	}
	if last := w.hub.order[len(w.hub.order)-1]; last.Time.UnixMS < w.hub.order[0].Time.UnixMS {
		t.Fatal("events came out of order")
	}
}

// A hub that acknowledges nothing gets the same batch again and again, each time later.
func TestStopAndWait(t *testing.T) {
	w := running(t)
	w.hub.deaf, w.hub.batches = true, nil
	w.plugins.answers["w/when"] = fires(100)
	w.boot()
	w.online()
	w.pass(10 * time.Minute)
	var events []protocol.Batch
	for _, b := range w.hub.batches {
		if b.Lane == protocol.LaneEvent {
			events = append(events, b)
		}
	}
	if len(events) < 3 || len(events) > 12 {
		t.Fatalf("%d batches in 10 minutes", len(events))
	}
	for _, b := range events {
		b.Steady = events[0].Steady // each says when it was made
		if !bytes.Equal(protocol.MustMarshal(b), protocol.MustMarshal(events[0])) {
			t.Fatal("another batch went before the first was acknowledged")
		}
	}
	w.hub.deaf = false
	w.pass(time.Hour)
	if n := len(w.hub.events); n != 100 || w.agent.Status().Pending != 0 {
		t.Fatalf("%d events, %d pend", n, w.agent.Status().Pending)
	}
}

// A changed workflow keeps the runs whose steps are still there, and ends the others
// with a result that says so.
func TestChangeWithRuns(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(of *protocol.Assignment)
		want   string
	}{
		{"same steps", func(of *protocol.Assignment) { of.Actions[0].Config = protocol.MustMarshal(1) }, "do ok, say ok."},
		{"other steps", func(of *protocol.Assignment) { of.Outputs[0].Name = "tell" }, "do dropped, say dropped."},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.hub.standard()
			w.plugins.answers["w/when"] = fires(1)
			w.plugins.answers["w/do"] = refuses(protocol.CodeUnavailable, "starting")
			of := w.hub.workflow("w")
			w.hub.deploy(w.hub.desired(1, of))
			w.boot()
			w.online()
			w.pass(time.Minute)
			c.change(&of)
			w.plugins.answers["w/do"] = nil
			w.hub.deploy(w.hub.desired(2, of))
			w.pass(10 * time.Minute)
			if got := w.hub.said(); got != c.want {
				t.Fatalf("results %q, want %q", got, c.want)
			}
			if len(w.hub.events) != 1 {
				t.Fatalf("%d events: the trigger lost its state", len(w.hub.events))
			}
		})
	}
}

// A plugin that never answers costs its run, not the workflow.
func TestNeverAnswers(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	w.plugins.answers["w/when"] = fires(2)
	w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
	w.boot()
	w.online()
	for len(w.plugins.keys) == 0 { // up to the moment in which the action is asked
		if i := slices.IndexFunc(w.plugins.queue, isRun); i >= 0 {
			w.plugins.queue = slices.Delete(w.plugins.queue, i, i+1)
			break
		}
		if !w.one() {
			t.Fatal("the action was never asked")
		}
	}
	w.pass(time.Hour)
	if got := w.hub.said(); got != "do error, say ok., do ok, say ok." {
		t.Fatalf("results %q", got)
	}
	if e := w.hub.results[0].Error; e == nil || e.Code != protocol.CodeDeadline {
		t.Fatalf("error %+v", e)
	}
}

func isRun(c edge.Call) bool { return c.Request != nil && c.Request.Kind == wasmhost.Run }

// What a missed firing means: nothing, one, or each with its time.
func TestCatchUp(t *testing.T) {
	for _, c := range []struct {
		catchUp protocol.CatchUp
		want    int
	}{{protocol.CatchUpNone, 0}, {protocol.CatchUpLatest, 1}, {protocol.CatchUpAll, 9}} {
		t.Run(fmt.Sprint(c.catchUp), func(t *testing.T) {
			w := newWorld(t)
			w.hub.standard()
			var told []time.Duration
			var off time.Time
			w.plugins.answers["w/when"] = func(c edge.Call) wasmhost.Answer { // every minute
				a := wasmhost.Answer{State: protocol.MustMarshal(1), Next: wasmhost.Next{AfterMS: 60000}}
				if c.Request.Why == wasmhost.WhyTimer {
					a.Events = []protocol.Raw{protocol.MustMarshal("tick")}
					told = append(told, time.UnixMilli(c.Request.Now.UnixMS).Sub(off))
				}
				return a
			}
			of := w.hub.workflow("w")
			of.CatchUp = c.catchUp
			w.hub.deploy(w.hub.desired(1, of))
			w.boot()
			w.online()
			w.pass(5*time.Minute + time.Second)
			w.offline()
			off = w.now
			told = nil
			w.now = w.now.Add(10*time.Minute - 30*time.Second)
			w.boot()
			w.pass(time.Second)
			if len(told) != c.want {
				t.Fatalf("fired %d times for what was missed, want %d: %v", len(told), c.want, told)
			}
			told = nil
			w.pass(10 * time.Minute)
			if len(told) != 10 {
				t.Fatalf("fired %d times in the 10 minutes after: %v", len(told), told)
			}
		})
	}
}

// The power is cut at every change that goes to the disk, before and after it is on
// it; the agent boots from what is there. In the end the hub has every run, each
// event once, each run with its last result (D-4, D-16).
func TestPowerCut(t *testing.T) {
	const runs = 4
	if n := cutEverywhere(t, runs, func(w *world) { w.hub.deploy(w.hub.desired(1, long(w.hub))) }); n < 30 {
		t.Fatalf("only %d changes were cut", n)
	}
}

// cutEverywhere runs a workflow of so many runs and cuts the power at each change of the disk,
// before it and after; then the agent is started again, and the hub must have all of it once. It
// returns how many changes there are without a cut.
func cutEverywhere(t *testing.T, runs int, prepare func(*world)) int {
	t.Helper()
	cut := errors.New("power cut")
	for k := 1; ; k++ {
		cuts := 0
		for _, applied := range []bool{false, true} {
			w := newWorld(t)
			w.hub.standard()
			w.plugins.answers["w/when"] = fires(runs)
			prepare(w)
			n, dead := 0, false
			w.disk.Faults = func(storetest.Op) storetest.Fault {
				if n++; dead || n == k {
					before := dead
					dead = true
					return storetest.Fault{Err: cut, Applied: applied && !before}
				}
				return storetest.Fault{}
			}
			live(w, func() bool { return dead })
			if dead {
				cuts++
				w.disk.Faults = nil
				w.now, w.hub.out = w.now.Add(time.Minute), nil
				live(w, func() bool { return false })
			}
			w.pass(10 * time.Minute)
			if checkRuns(t, w, runs, fmt.Sprintf("cut at change %d, applied %v", k, applied)); t.Failed() {
				t.FailNow()
			}
		}
		if cuts == 0 {
			t.Logf("cut at each of %d changes, before and after", k-1)
			return k - 1
		}
	}
}

// live boots an agent and lets it live until it is at rest or dead.
func live(w *world, dead func() bool) {
	w.t.Helper()
	if err := w.tryBoot(); err != nil {
		if !dead() {
			w.t.Fatal(err)
		}
		return
	}
	w.online()
	end := w.now.Add(10 * time.Minute)
	for !dead() {
		if w.one() {
			continue
		}
		next := w.agent.Next()
		if next.IsZero() || next.After(end) {
			return
		}
		if next.After(w.now) {
			w.now = next
		}
		w.agent.Tick(w.now)
	}
}

func checkRuns(t *testing.T, w *world, runs int, when string) {
	t.Helper()
	if len(w.hub.events) != runs {
		t.Errorf("%s: hub has %d runs, want %d", when, len(w.hub.events), runs)
	}
	last := map[protocol.RunID]int{}
	steps := map[string]int{}
	for _, r := range w.hub.results {
		steps[r.Run.String()+string(r.Step)]++
		if r.Last {
			last[r.Run]++
		}
	}
	for id, n := range w.hub.events {
		if n != 1 || last[id] != 1 {
			t.Errorf("%s: run %s has %d events and %d last results", when, id, n, last[id])
		}
	}
	for step, n := range steps {
		if n != 1 {
			t.Errorf("%s: step %s has %d results", when, step, n)
		}
	}
	if len(steps) != runs*5 {
		t.Errorf("%s: %d results, want %d", when, len(steps), runs*5)
	}
	if s := w.agent.Status(); s.Pending != 0 || s.Dropped != 0 {
		t.Errorf("%s: %d pend, %d dropped", when, s.Pending, s.Dropped)
	}
}

// Any bytes on any topic: no panic, no growth, nothing refused that is good.
func FuzzHandle(f *testing.F) {
	for _, kind := range []protocol.Kind{protocol.DownHint, protocol.DownAck, protocol.DownChunk, protocol.DownProbe} {
		f.Add(protocol.Topic(here, kind), []byte{0xa0})
	}
	f.Add(protocol.Topic(here, protocol.DownHint), protocol.MustMarshal(protocol.Hint{Epoch: 1, Revision: 9, Size: 100}))
	f.Add(protocol.Topic(here, protocol.DownAck), protocol.MustMarshal(protocol.LaneAck{Epoch: 1, Lane: 1, Mark: protocol.Mark{Boot: 1, Sequence: 1}}))
	f.Add(protocol.Topic(here, protocol.DownChunk), protocol.MustMarshal(protocol.Chunk{Size: 1, Data: []byte{1}}))
	f.Fuzz(func(t *testing.T, topic string, payload []byte) {
		w := running(t)
		w.hub.deaf = true
		keys := len(w.disk.Keys())
		acked := 0
		for range 3 {
			w.agent.Handle(w.now, protocol.Message{Topic: topic, Payload: payload, Ack: func() { acked++ }})
		}
		if acked != 3 {
			t.Fatalf("%d of 3 messages were acknowledged", acked)
		}
		if n := len(w.disk.Keys()); n > keys+1 {
			t.Fatalf("%d keys on the disk, %d before", n, keys)
		}
		if s := w.agent.Status(); s.Revision != 5 || s.Assignments[0].Phase != protocol.PhaseRunning {
			t.Fatalf("revision 5 was touched: %+v", s)
		}
	})
}
