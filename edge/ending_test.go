package edge_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// turns is a world whose action answers only when its gate is open, and that notes which
// release answered for which run.
type turns struct {
	*world
	open   bool
	loaded map[edge.Instance]string // version of each action that is loaded
	did    map[protocol.RunID][]string
	said   map[protocol.RunID][]string
}

func newTurns(t *testing.T) *turns {
	v := &turns{
		world: newWorld(t), loaded: map[edge.Instance]string{},
		did: map[protocol.RunID][]string{}, said: map[protocol.RunID][]string{},
	}
	v.hub.standard()
	v.plugins.answers["w/when"] = fires(4)
	load := func(c edge.Call) wasmhost.Answer {
		v.loaded[c.Instance] = c.Load.Manifest.Plugin.Version
		return wasmhost.Answer{}
	}
	v.plugins.answers["w/do/load"], v.plugins.answers["w/say/load"] = load, load
	v.plugins.answers["w/do"] = func(c edge.Call) wasmhost.Answer {
		if !v.open {
			return refuses(protocol.CodeRetryable, "gate shut")(c)
		}
		run := c.Request.Event.Run
		v.did[run] = append(v.did[run], v.loaded[c.Instance])
		return wasmhost.Answer{}
	}
	v.plugins.answers["w/say"] = func(c edge.Call) wasmhost.Answer {
		run := c.Request.Event.Run
		v.said[run] = append(v.said[run], v.loaded[c.Instance])
		return wasmhost.Answer{}
	}
	return v
}

// document has workflow "w" with both plugins of its runs at a version.
func (v *turns) document(revision uint64, version string) protocol.Desired {
	v.hub.publish("work", protocol.Action, version, []byte("work "+version))
	v.hub.publish("tell", protocol.Output, version, []byte("tell "+version))
	of := v.hub.workflow("w")
	of.Actions[0].Retry = protocol.Retry{Times: 100, WaitMS: 1000}
	return v.hub.desired(revision, of)
}

// begun has two runs of 1.0.0 under way when 2.0.0 is taken.
func (v *turns) begun() {
	v.t.Helper()
	v.hub.deploy(v.document(5, "1.0.0"))
	v.boot()
	v.online()
	v.pass(1500 * time.Millisecond) // two of four
	if s := v.status("w"); s.Fired == 0 {
		v.t.Fatalf("nothing fired: %+v", s)
	}
	v.hub.deploy(v.document(6, "2.0.0"))
	v.pass(2 * time.Second)
	if r := v.agent.Status(); r.Revision != 6 {
		v.t.Fatalf("holds %d", r.Revision)
	}
}

// check wants every run that fired under revision 5 ended by 1.0.0 only, and those of revision
// 6 by 2.0.0.
func (v *turns) check(both bool) {
	v.t.Helper()
	seen := map[string]int{}
	for _, ev := range v.hub.order {
		want := map[uint64]string{5: "1.0.0", 6: "2.0.0"}[ev.Revision]
		did, said := v.did[ev.Run], v.said[ev.Run]
		if len(did) == 0 {
			continue
		}
		if slices.ContainsFunc(slices.Concat(did, said), func(s string) bool { return s != want }) || len(said) == 0 {
			v.t.Errorf("run of revision %d was done by %v, said by %v", ev.Revision, did, said)
		}
		seen[want]++
	}
	if seen["1.0.0"] == 0 || both && seen["2.0.0"] == 0 {
		v.t.Errorf("runs that ended, by release: %v", seen)
	}
}

// O-04: runs finish on the release that they began with, while new ones run on the next; then
// the old one is let go.
func TestRunsEndOnTheirRelease(t *testing.T) {
	v := newTurns(t)
	v.begun()
	v.open = true
	v.pass(2 * time.Minute)
	v.check(true)
	stopped := strings.Join(v.plugins.stopped, " ")
	if strings.Count(stopped, "w/do") == 0 || strings.Count(stopped, "w/say") == 0 {
		t.Errorf("the old release is still loaded: %s", stopped)
	}
	v.hub.deploy(v.document(7, "2.0.0")) // the one before is 6 now: nothing stands on 1.0.0
	v.pass(time.Minute)
	for d, b := range v.hub.files {
		if strings.HasPrefix(string(b), "work 1.0.0") {
			if _, err := v.disk.ReadFile(d); err == nil {
				t.Error("the old artifact is still kept")
			}
		}
	}
}

// A power cut in the middle changes nothing, wherever it comes, with or without a line.
func TestRunsEndOnTheirReleaseAfterCut(t *testing.T) {
	for _, opened := range []bool{false, true} {
		t.Run(fmt.Sprint("opened before the cut: ", opened), func(t *testing.T) {
			v := newTurns(t)
			v.begun()
			v.open = opened
			if opened {
				v.one()
			}
			v.offline()
			v.boot()
			v.pass(5 * time.Second)
			v.open = true
			v.pass(2 * time.Minute)
			v.boot() // and once more, when all is over
			v.online()
			v.pass(time.Minute)
			v.check(false)
		})
	}
}

// Without the memory for both, the next release waits until the runs have ended (G-14).
func TestNextReleaseWaitsForMemory(t *testing.T) {
	v := newTurns(t)
	v.cfg.Device.MemoryMB = 3*64 + 10
	v.begun()
	if s := v.status("w"); s.Phase != protocol.PhaseLoading {
		t.Errorf("beside the old one: %+v", s)
	}
	for at, version := range v.loaded {
		if version == "2.0.0" && at.Turn > 0 {
			t.Errorf("loaded beside the old one: %v", at)
		}
	}
	v.open = true
	v.pass(2 * time.Minute)
	if s := v.status("w"); s.Phase != protocol.PhaseRunning {
		t.Errorf("when the runs have ended: %+v", s)
	}
	v.check(true)
}

// What does not end in time goes on with the next release, and nothing is lost.
func TestRunsLeaveTheirReleaseInTheEnd(t *testing.T) {
	v := newTurns(t)
	v.begun()
	v.pass(2 * time.Hour)
	v.open = true
	v.pass(3 * time.Hour)
	for _, ev := range v.hub.order {
		if ev.Revision == 5 && !slices.Equal(v.did[ev.Run], []string{"2.0.0"}) {
			t.Errorf("run of revision 5 was done by %v", v.did[ev.Run])
		}
	}
}

// A revoked release ends no run, not even its own.
func TestRevokedReleaseEndsNoRun(t *testing.T) {
	v := newTurns(t)
	v.hub.deploy(v.document(5, "1.0.0"))
	bad := v.hub.release["work"].Digest
	v.boot()
	v.online()
	v.pass(5 * time.Second)
	d := v.document(6, "2.0.0")
	d.Revoked = []protocol.Digest{bad}
	v.hub.deploy(d)
	v.pass(2 * time.Second)
	v.open = true
	v.pass(2 * time.Minute)
	for run, by := range v.did {
		if slices.Contains(by, "1.0.0") {
			t.Errorf("run %s was ended by the revoked release", run)
		}
	}
	if len(v.did) == 0 {
		t.Error("no run ended")
	}
}

// Two workflows with different releases of one plugin run side by side, each on its own.
func TestTwoReleasesOfOnePlugin(t *testing.T) {
	v := newTurns(t)
	v.open = true
	v.plugins.answers["x/when"] = fires(4)
	for _, step := range []string{"do", "say"} {
		v.plugins.answers["x/"+step+"/load"] = v.plugins.answers["w/"+step+"/load"]
		v.plugins.answers["x/"+step] = v.plugins.answers["w/"+step]
	}
	older := v.document(5, "1.0.0")
	both := v.document(5, "2.0.0")
	both.Assignments[0].Workflow = "x"
	both.Assignments = append(both.Assignments, older.Assignments[0])
	for _, ref := range older.Releases {
		if ref.Version == "1.0.0" && !slices.Contains(both.Releases, ref) {
			both.Releases = append(both.Releases, ref)
		}
	}
	v.hub.deploy(both)
	v.boot()
	v.online()
	v.pass(time.Minute)
	ran := map[protocol.WorkflowName]int{}
	for _, ev := range v.hub.order {
		want := map[protocol.WorkflowName]string{"w": "1.0.0", "x": "2.0.0"}[ev.Workflow]
		for _, got := range slices.Concat(v.did[ev.Run], v.said[ev.Run]) {
			if ran[ev.Workflow]++; got != want {
				t.Errorf("a run of %s was done by %s", ev.Workflow, got)
			}
		}
	}
	if ran["w"] < 8 || ran["x"] < 8 {
		t.Errorf("steps done: %v, want 8 of each workflow at least", ran)
	}
}
