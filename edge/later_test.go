package edge_test

import (
	"errors"
	"fmt"
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
	const runs = 4
	cut := errors.New("power cut")
	waited := false
	for k := 1; ; k++ {
		cuts := 0
		for _, applied := range []bool{false, true} {
			w := newWorld(t)
			w.hub.standard()
			w.plugins.answers["w/when"] = fires(runs)
			w.hub.deploy(w.hub.desired(1, long(w.hub)))
			n, dead := 0, false
			w.disk.Faults = func(storetest.Op) storetest.Fault {
				if n++; dead || n == k {
					before := dead
					dead = true
					return storetest.Fault{Err: cut, Applied: applied && !before}
				}
				return storetest.Fault{}
			}
			w.store = storetest.Lanes{Memory: w.disk}
			live(w, func() bool { return dead })
			if dead {
				cuts++
				w.disk.Faults = nil
				w.now, w.hub.out = w.now.Add(time.Minute), nil
				w.store = storetest.Lanes{Memory: w.disk}
				live(w, func() bool { return false })
			} else {
				waited = n < 30 // at once it is some more
			}
			w.pass(10 * time.Minute)
			checkRuns(t, w, runs, fmt.Sprintf("cut at change %d, applied %v", k, applied))
			if t.Failed() {
				return
			}
		}
		if cuts == 0 {
			t.Logf("cut at each of %d changes, before and after", k-1)
			if k < 10 || !waited {
				t.Fatalf("%d changes were cut, waited %v", k-1, waited)
			}
			return
		}
	}
}

// A plugin that can change nothing outside its memory is asked before the disk knows why, and its
// events cost no sync of their own; one that may change something is asked when the disk has the
// run, wherever the power is cut.
func TestNothingLeavesBeforeTheDisk(t *testing.T) {
	const runs = 3
	cut := errors.New("power cut")
	early := 0
	for k, cuts := 1, 1; cuts > 0; k++ {
		cuts = 0
		for _, applied := range []bool{false, true} {
			w := newWorld(t)
			w.hub.standard()
			w.plugins.answers["w/when"] = fires(runs)
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
					t.Errorf("cut at %d: the output is asked for a run that the disk does not know", k)
				case known == nil:
					early++
				}
			}
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
				return
			}
		}
	}
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
