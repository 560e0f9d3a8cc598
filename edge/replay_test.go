package edge_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// orderFor asks for the first run of a world again, as its hub would.
func (w *world) orderFor(id uint64) protocol.ReplayOrder {
	o := protocol.ReplayOrder{Epoch: 1, ID: id, Expires: w.now.Add(time.Hour).UnixMilli(), Event: w.hub.order[0]}
	last := map[protocol.StepName]protocol.Result{}
	for _, r := range w.hub.results {
		if r.Run == o.Event.Run {
			last[r.Step] = r
		}
	}
	for _, name := range []protocol.StepName{"do", "do2", "always", "ok", "error"} {
		r := last[name]
		o.Steps = append(o.Steps, name)
		if r.Status == protocol.StatusOK {
			o.Done = append(o.Done, name)
			if r.Type == protocol.Action {
				o.Results = append(o.Results, r)
			}
		}
	}
	return o
}

// broken is a world whose one run failed at its second action, and now would not.
func broken(t *testing.T) *world {
	w := newWorld(t)
	w.hub.standard()
	w.plugins.answers["w/when"] = fires(1)
	w.plugins.answers["w/do"] = func(edge.Call) wasmhost.Answer { return wasmhost.Answer{Data: protocol.MustMarshal("seen")} }
	w.plugins.answers["w/do2"] = refuses(protocol.CodePlugin, "no")
	w.hub.deploy(w.hub.desired(1, long(w.hub)))
	w.boot()
	w.online()
	w.pass(10 * time.Second)
	if got := w.hub.said(); got != "do ok, do2 error, always ok, ok skipped, error ok." {
		t.Fatalf("said %s", got)
	}
	w.plugins.answers["w/do2"] = func(c edge.Call) wasmhost.Answer {
		if len(c.Request.Results) != 1 || c.Request.Results[0].Step != "do" || len(c.Request.Results[0].Data) == 0 {
			t.Errorf("do2 sees %+v", c.Request.Results)
		}
		return wasmhost.Answer{}
	}
	w.hub.results, w.plugins.keys = nil, w.plugins.keys[:2]
	return w
}

func TestReplayRunsWhatDidNotEndWell(t *testing.T) {
	for _, cut := range []bool{false, true} {
		w := broken(t)
		w.hub.results = nil
		first := w.plugins.keys[1]
		w.plugins.keys = nil
		o := w.orderFor(5)
		o.Done = []protocol.StepName{"do", "always", "error"}
		o.Results = []protocol.Result{{
			Run: o.Event.Run, Workflow: "w", Step: "do", Type: protocol.Action, Status: protocol.StatusOK, Data: protocol.MustMarshal("seen"),
		}}
		if cut { // power fails when the order is on the disk and nothing is begun
			w.agent.Handle(w.now, protocol.Message{Topic: protocol.Topic(here, protocol.DownReplay), Payload: protocol.MustMarshal(o)})
			w.boot()
			w.online()
		}
		w.hub.say(protocol.DownReplay, o)
		w.hub.say(protocol.DownReplay, o) // comes twice
		w.pass(10 * time.Second)
		if got := w.hub.said(); got != "do2 ok, ok ok." {
			t.Errorf("cut %t: said %s", cut, got)
		}
		if len(w.plugins.keys) != 2 || w.plugins.keys[0] != first || !strings.HasSuffix(w.plugins.keys[1], "/ok") {
			t.Errorf("cut %t: keys %q, want %s first", cut, w.plugins.keys, first)
		}
		if len(w.hub.replays) < 2 || slices.ContainsFunc(w.hub.replays, func(a protocol.ReplayAnswer) bool { return a.Error != nil || a.ID != 5 }) {
			t.Errorf("cut %t: answers %+v", cut, w.hub.replays)
		}
	}
}

func TestReplayRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(w *world, o *protocol.ReplayOrder)
		want   protocol.Code
	}{
		{"expired", func(w *world, o *protocol.ReplayOrder) { o.Expires = w.now.Add(-time.Minute).UnixMilli() }, protocol.CodeDeadline},
		{"no such workflow", func(_ *world, o *protocol.ReplayOrder) { o.Event.Workflow = "v" }, protocol.CodeNotFound},
		{"another step", func(_ *world, o *protocol.ReplayOrder) { o.Steps[1] = "did" }, protocol.CodeStale},
		{"one step more", func(_ *world, o *protocol.ReplayOrder) { o.Steps = append(o.Steps, "do3") }, protocol.CodeStale},
		{"nothing left", func(_ *world, o *protocol.ReplayOrder) { o.Done = o.Steps }, protocol.CodeStale},
		{"under way", func(w *world, o *protocol.ReplayOrder) {
			w.plugins.answers["w/do2"] = refuses(protocol.CodeUnavailable, "busy")
			before := *o
			before.ID = 4
			w.hub.say(protocol.DownReplay, before)
			w.pass(time.Second)
			w.hub.replays = nil
		}, protocol.CodeExists},
	} {
		w := broken(t)
		o := w.orderFor(5)
		o.Done = []protocol.StepName{"do"}
		o.Results = []protocol.Result{{
			Run: o.Event.Run, Workflow: "w", Step: "do", Type: protocol.Action, Status: protocol.StatusOK, Data: protocol.MustMarshal("seen"),
		}}
		c.change(w, &o)
		asked := len(w.plugins.keys)
		w.hub.say(protocol.DownReplay, o)
		w.drain()
		if len(w.hub.replays) != 1 || w.hub.replays[0].Error == nil || w.hub.replays[0].Error.Code != c.want {
			t.Errorf("%s: answered %+v, want %s", c.name, w.hub.replays, c.want)
		}
		if len(w.plugins.keys) != asked && c.name != "under way" {
			t.Errorf("%s: %d asked", c.name, len(w.plugins.keys)-asked)
		}
	}
}
