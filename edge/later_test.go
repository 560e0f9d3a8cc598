package edge_test

import (
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/storetest"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// As TestPowerCut, on a disk that is waited for only where something depends on it: what
// waited is lost with the power. Still the hub has every run and each result once, and no
// step of a run that the disk knows to have ended is asked again (D-4, D-16).
func TestPowerCutLater(t *testing.T) {
	prepare := func(w *world) {
		w.hub.deploy(w.hub.desired(1, long(w.hub)))
		w.store = storetest.Lanes{Memory: w.disk}
	}
	if n := cutEverywhere(t, 4, prepare); n < 10 || n >= 30 { // at once it is some more
		t.Errorf("%d changes were cut", n)
	}
}

// A plugin that can change nothing outside its memory is asked before the disk knows why, and its
// events cost no sync of their own; one that may change something is asked when the disk has the
// run, wherever the power is cut.
func TestNothingLeavesBeforeTheDisk(t *testing.T) {
	early := 0
	cutEverywhere(t, 3, func(w *world) {
		of := long(w.hub)
		of.Outputs[0].Grants = []protocol.Grant{{Capability: protocol.CapKV}}
		w.hub.deploy(w.hub.desired(1, of))
		w.store = storetest.Lanes{Memory: w.disk}
		w.plugins.begin = func(c edge.Call) {
			if c.Request == nil || c.Request.Event == nil {
				return
			}
			known, err := w.disk.Get("run/" + c.Request.Event.Run.String())
			switch {
			case err != nil:
				t.Fatal(err)
			case known == nil && c.Instance.Step == "always":
				t.Error("the output is asked for a run that the disk does not know")
			case known == nil:
				early++
			}
		}
	})
	if early == 0 {
		t.Error("no action was asked before the disk knew its run")
	}
}

// A trigger and an action without grants: nothing of theirs is waited for, and an event goes to the
// disk with those of 10 ms.
func TestInwardEventsShareASync(t *testing.T) {
	writes := func(grants ...protocol.Grant) (n int) {
		w := newWorld(t)
		w.hub.standard()
		w.store = storetest.Lanes{Memory: w.disk}
		w.plugins.answers["w/when"] = everyMillisecond(100)
		of := w.hub.workflow("w")
		of.Outputs, of.Actions[0].Grants = nil, grants
		w.hub.deploy(w.hub.desired(1, of))
		w.hub.deaf = true
		w.boot()
		w.online()
		w.drain()
		w.disk.Faults = func(storetest.Op) storetest.Fault { n++; return storetest.Fault{} }
		w.pass(time.Second)
		return n
	}
	if with, without := writes(protocol.Grant{Capability: protocol.CapKV}), writes(); without > 25 || with < 4*without {
		t.Errorf("100 events over 100 ms: %d changes of the disk, %d for an action with a grant", without, with)
	}
}

// everyMillisecond has a trigger give so many events, one each millisecond.
func everyMillisecond(events int) func(edge.Call) wasmhost.Answer {
	return func(edge.Call) wasmhost.Answer {
		if events == 0 {
			return wasmhost.Answer{}
		}
		events--
		return wasmhost.Answer{Events: []protocol.Raw{protocol.MustMarshal(events)}, Next: wasmhost.Next{AfterMS: 1}}
	}
}
