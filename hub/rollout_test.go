package hub

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/rollout"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

const wavesText = workflowText + "rollout: { waves: [{ count: 1, soak: 1m }, { percent: 50 }] }\n"

// gateways enrols n agents named gw-0 and on, and lets them report.
func (w *world) gateways(n int) []*device {
	w.Helper()
	out := make([]*device, n)
	for i := range out {
		out[i] = w.enrol(protocol.AgentName(fmt.Sprintf("gw-%d", i)), map[string]string{"role": "gateway"})
	}
	w.follow(out, nil)
	return out
}

// follow lets agents report what they were sent last, as running well for long, and with
// what change says besides.
func (w *world) follow(all []*device, change func(*protocol.Reported)) {
	w.Helper()
	w.now = w.now.Add(1)
	for _, d := range all {
		a := w.agent(d.at.Agent)
		r := protocol.Reported{
			Epoch: a.Epoch, Boot: 1, Sequence: uint64(w.now.UnixNano()), Revision: a.Desired.Revision, Digest: a.Desired.Digest,
			Device: a.Device,
		}
		if a.Desired.Revision > 0 {
			for _, of := range w.desired(d.at.Agent).Assignments {
				r.Assignments = append(r.Assignments, protocol.AssignmentStatus{
					Workflow: of.Workflow, Phase: protocol.PhaseRunning, Trial: protocol.Trial{RunningS: 3600, Ended: 20},
				})
			}
		}
		if change != nil {
			change(&r)
		}
		if !w.says(d.at, protocol.UpReported, protocol.MustMarshal(r)) {
			w.Fatalf("report of %s not taken", d.at)
		}
	}
}

// pass lets the hub look at its rollouts.
func (w *world) pass() {
	w.now = w.now.Add(rolloutEvery)
	w.hub.Tick(w.now)
}

// deployedOn returns which value of n each agent is to run the workflow with; "-" for none.
func (w *world) deployedOn(n int) string {
	w.Helper()
	var b strings.Builder
	for i := range n {
		name := protocol.AgentName(fmt.Sprintf("gw-%d", i))
		at := "-"
		if w.agent(name).Desired.Revision > 0 {
			for _, of := range w.desired(name).Assignments {
				var with map[string]int
				check(w, protocol.Unmarshal(of.Actions[0].Config, &with))
				at = fmt.Sprint(with["n"])
			}
		}
		b.WriteString(at)
	}
	return b.String()
}

func (w *world) rollout() *api.Rollout {
	w.Helper()
	return look(w, func(tx *store.Tx) (*api.Rollout, error) { return w.hub.Rollout(tx, w.now, "watch") })
}

// A change goes from wave to wave, and to those who were away when all have it.
func TestRollout(t *testing.T) {
	w := newLongWorld(t)
	w.three()
	all := w.gateways(6)
	there := all[:5]
	w.deploy(workflowText)
	w.follow(all, nil)
	w.now = w.now.Add(heardWithin) // gw-5 is not heard of again
	w.follow(there, nil)

	d := w.deploy(strings.Replace(wavesText, "n: 3", "n: 4", 1))
	if got := strings.Count(w.deployedOn(6), "4"); got != 1 || d.Rollout == nil || len(d.Rollout.Taken) != 1 {
		t.Fatalf("%d agents have the change at once: %s, %+v", got, w.deployedOn(6), d.Rollout)
	}
	w.pass()
	if got := strings.Count(w.deployedOn(6), "4"); got != 1 {
		t.Fatalf("a wave passed without a word of its agent: %s", w.deployedOn(6))
	}
	w.follow(there, nil)
	w.pass()
	if got := strings.Count(w.deployedOn(6), "4"); got != 3 { // half of those who are there
		t.Fatalf("second wave: %s", w.deployedOn(6))
	}
	if x := look(w, func(tx *store.Tx) (*api.Explained, error) { return w.hub.Explain(tx, "watch", "gw-5") }); x.Placed ||
		x.Rules[len(x.Rules)-1].Name != "rollout" {
		t.Errorf("gw-5: %+v", x)
	}
	reopened := New(w.cfg, Deps{ // O-07: the waves are in the books
		Log: w.hub.log, Books: w.hub.books, Files: w.hub.files, Keys: w.hub.keys, CA: w.hub.ca, Link: w.sent,
	})
	w.hub = reopened
	w.follow(there, nil)
	w.pass()
	if got := w.deployedOn(6); got != "444443" {
		t.Fatalf("the rest: %s", got)
	}
	w.follow(there, nil)
	w.pass()
	if got := w.deployedOn(6); got != "444444" || w.rollout().Phase != rollout.Done {
		t.Fatalf("done: %s, %+v", got, w.rollout())
	}
	w.enrol("gw-6", map[string]string{"role": "gateway"})
	if got := w.deployedOn(7); got != "4444444" {
		t.Fatalf("who joins later: %s", got)
	}
}

// A change that fares badly goes back to what held before, on every agent, by itself.
func TestRolloutReturns(t *testing.T) {
	w := newLongWorld(t)
	w.three()
	all := w.gateways(4)
	w.deploy(workflowText)
	w.follow(all, nil)
	w.deploy(strings.Replace(wavesText, "n: 3", "n: 4", 1))
	w.follow(all, func(r *protocol.Reported) {
		if r.Revision == 2 {
			r.Assignments[0].Trial.Failed = 15
		}
	})
	w.pass()
	r := w.rollout()
	if got := w.deployedOn(4); got != "3333" || r.Phase != rollout.Returned || !strings.Contains(r.Reason, "15 of 20 runs") {
		t.Fatalf("%s, %+v", got, r)
	}
	w.follow(all, nil)
	w.pass()
	if got := w.deployedOn(4); got != "3333" {
		t.Fatalf("it came again: %s", got)
	}
	if _, err := w.hub.Steer(w.now, "watch", api.Resume); err == nil {
		t.Error("what was taken back was resumed")
	}
	// The next one begins over what held, and is no more held back than any.
	w.deploy(strings.Replace(wavesText, "n: 3", "n: 5", 1))
	if got := w.deployedOn(4); strings.Count(got, "3") != 3 || strings.Count(got, "5") != 1 {
		t.Fatalf("the next: %s", got)
	}
	w.deploy(strings.Replace(workflowText, "n: 3", "n: 6", 1)) // without waves: at once
	if got := w.deployedOn(4); got != "6666" {
		t.Fatalf("at once: %s", got)
	}
}

// D-7: a newer deployment supersedes one that is stuck, over what held before both.
func TestRolloutSuperseded(t *testing.T) {
	w := newLongWorld(t)
	w.three()
	all := w.gateways(4)
	w.deploy(workflowText)
	w.follow(all, nil)
	w.deploy(strings.Replace(wavesText, "n: 3", "n: 4", 1))
	w.deploy(strings.Replace(wavesText, "n: 3", "n: 5", 1))
	if got := w.deployedOn(4); strings.Count(got, "3") != 3 || strings.Count(got, "5") != 1 {
		t.Fatal(got)
	}
}

// The first deployment of a workflow goes in waves too: the others have nothing yet.
func TestRolloutOfTheFirst(t *testing.T) {
	w := newLongWorld(t)
	w.three()
	w.gateways(4)
	w.deploy(wavesText)
	if got := w.deployedOn(4); strings.Count(got, "3") != 1 || strings.Count(got, "-") != 3 {
		t.Fatal(got)
	}
	if _, err := w.hub.Undeploy(w.now, "watch"); err != nil || w.deployedOn(4) != "----" {
		t.Fatal(w.deployedOn(4), err)
	}
}

func TestSteer(t *testing.T) {
	w := newLongWorld(t)
	w.three()
	all := w.gateways(4)
	w.deploy(workflowText)
	_, err := w.hub.Steer(w.now, "watch", api.Pause)
	refused(t, err, protocol.CodeNotFound, `workflow "watch": was deployed without waves`)
	_, err = w.hub.Steer(w.now, "other", api.Pause)
	refused(t, err, protocol.CodeNotFound, `workflow "other": not deployed`)
	w.follow(all, nil)
	w.deploy(strings.Replace(wavesText, "n: 3", "n: 4", 1))
	_, err = w.hub.Steer(w.now, "watch", "stop")
	refused(t, err, protocol.CodeBadInput, `"stop": want pause`)

	steer := func(do api.Steering, want rollout.Phase) {
		t.Helper()
		r, err := w.hub.Steer(w.now, "watch", do)
		if err != nil || r.Phase != want {
			t.Fatalf("%s: %+v, %v", do, r, err)
		}
		_, err = w.hub.Steer(w.now, "watch", do)
		refused(t, err, protocol.CodeRefused, string(do)+": it is "+string(want))
	}
	steer(api.Pause, rollout.Paused)
	w.follow(all, nil)
	w.pass()
	if got := w.deployedOn(4); strings.Count(got, "4") != 1 {
		t.Fatalf("paused: %s", got)
	}
	steer(api.Resume, rollout.Running)
	w.pass()
	if got := w.deployedOn(4); strings.Count(got, "4") != 2 {
		t.Fatalf("resumed: %s", got)
	}
	steer(api.Abort, rollout.Returned)
	if got := w.deployedOn(4); got != "3333" {
		t.Fatalf("aborted: %s", got)
	}
	steer(api.Promote, rollout.Done)
	if got := w.deployedOn(4); got != "4444" {
		t.Fatalf("promoted: %s", got)
	}
	if all := look(w, func(tx *store.Tx) ([]api.Rollout, error) { return w.hub.Rollouts(tx, w.now) }); len(all) != 1 ||
		all[0].Waves[0] != "1 agent" || all[0].Progress.Where != "wave 2 of 2 (50 %)" {
		t.Errorf("%+v", all)
	}
}
