package hub

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/hub/rollout"
	"github.com/stavily/stavily/protocol"
)

const pooledText = `workflow: watch
trigger: { plugin: tick@1, at: { group: { role: gateway } } }
actions: [{ plugin: work@1, with: { n: 3 }, on: { pool: office } }]
outputs: [{ plugin: note }]
`

// asked returns the n of the host that each gateway's step goes to, "-" for none, and after a
// slash those that the pool's agent runs, in the order of its document.
func (w *world) asked(gateways int) string {
	w.Helper()
	of := map[protocol.Edition]string{}
	var hosts []string
	for _, h := range w.desired("pc").Hosts {
		var with map[string]int
		check(w, protocol.Unmarshal(h.Step.Config, &with))
		of[h.Edition] = fmt.Sprint(with["n"])
		hosts = append(hosts, of[h.Edition])
	}
	out := ""
	for i := range gateways {
		at := "-"
		if name := protocol.AgentName(fmt.Sprintf("gw-%d", i)); w.agent(name).Desired.Revision > 0 {
			for _, as := range w.desired(name).Assignments {
				at = of[as.Actions[0].Place.Edition]
			}
		}
		out += at
	}
	return out + "/" + strings.Join(hosts, "")
}

// pooled enrols gateways and an agent of the pool, and deploys to them what has held for long.
func (w *world) pooled(n int) (gateways, all []*device) {
	w.Helper()
	w.sealed("tick", "1.0.0", protocol.Trigger, protocol.StateFormat{})
	w.sealed("work", "1.0.0", protocol.Action, protocol.StateFormat{})
	w.sealed("note", "1.0.0", protocol.Output, protocol.StateFormat{})
	gateways = w.gateways(n)
	all = append(gateways[:n:n], w.enrol("pc", map[string]string{"pool": "office"}))
	w.deploy(pooledText)
	w.follow(all, nil)
	w.pass()
	if got := w.asked(n); got != strings.Repeat("3", n)+"/3" {
		w.Fatalf("at first: %s", got)
	}
	return gateways, all
}

const pooledWaves = "rollout: { waves: [{ count: 1, soak: 1m }] }\n"

// Steps that run elsewhere follow the waves: hosts of both versions stand side by side until the
// last one who asks for the old one has moved, and no run of his is left that began with it.
func TestHostsFollowTheWaves(t *testing.T) {
	w := newWorld(t)
	gateways, all := w.pooled(3)
	step := func(what, want string) {
		t.Helper()
		if w.pass(); w.asked(3) != want {
			t.Fatalf("%s: %s, want %s, %+v", what, w.asked(3), want, w.rollout())
		}
	}
	w.deploy(strings.Replace(pooledText, "n: 3", "n: 4", 1) + pooledWaves)
	step("before the pool has it", "333/43")
	if r := w.rollout(); !strings.Contains(r.Progress.Holdup, "pc, which runs its steps for others") {
		t.Errorf("%+v", r.Progress)
	}
	w.follow(all, nil)
	w.pass()
	if got := w.asked(3); strings.Count(got, "4") != 2 || !strings.HasSuffix(got, "/43") {
		t.Fatalf("first wave: %s", got)
	}
	w.follow(gateways, nil)
	step("the rest", "444/43")
	w.follow(gateways[:2], nil)
	step("one has not moved", "444/43")
	w.follow(gateways, func(r *protocol.Reported) { r.Assignments[0].Ending = 1 })
	step("runs of the old version are under way", "444/43")
	if r := w.rollout(); r.Phase != rollout.Done {
		t.Fatalf("%+v", r)
	}
	w.follow(gateways, nil)
	step("all have moved", "444/4")
	for range 3 {
		step("and that is that", "444/4")
	}
	if !w.hub.still {
		t.Error("the hub goes on looking though nothing is left to be done")
	}
}

// Without waves all switch at once, and what is under way still ends where it began.
func TestHostsStayForWhatBegan(t *testing.T) {
	w := newWorld(t)
	gateways, _ := w.pooled(2)
	w.deploy(strings.Replace(pooledText, "n: 3", "n: 4", 1))
	w.pass()
	if got := w.asked(2); got != "44/43" {
		t.Fatalf("at once: %s", got)
	}
	w.follow(gateways[:1], nil)
	w.now = w.now.Add(leavingFor - time.Minute)
	w.follow(gateways, func(r *protocol.Reported) { r.Digest = protocol.Digest{} })
	w.pass()
	if got := w.asked(2); got != "44/43" {
		t.Fatalf("somebody has not moved: %s", got)
	}
	w.now = w.now.Add(time.Minute)
	w.pass()
	if got := w.asked(2); got != "44/4" {
		t.Fatalf("after %v: %s", leavingFor, got)
	}
	for n := range 2 * leavingMax {
		w.deploy(strings.Replace(pooledText, "n: 3", fmt.Sprintf("n: %d", 10+n), 1))
	}
	if got := len(w.desired("pc").Hosts); got != leavingMax+1 {
		t.Errorf("%d hosts of one step, want the newest and %d", got, leavingMax)
	}
}

// A change whose hosts fail, or whose runs do, goes back; the hosts of the old one were never
// away.
func TestHostsGoBack(t *testing.T) {
	for _, c := range []struct {
		name string
		bad  func(w *world, all []*device)
		want string // of the reason
	}{
		{"its runs fail", func(w *world, all []*device) {
			w.follow(all, nil)
			w.pass()
			w.follow(all, func(r *protocol.Reported) {
				for i := range r.Assignments {
					r.Assignments[i].Trial.Failed = 18
				}
			})
		}, "runs ended in an error"},
		{"the pool cannot load it", func(w *world, all []*device) {
			w.follow(all, nil)
			w.follow(all[2:], func(r *protocol.Reported) {
				r.Assignments = []protocol.AssignmentStatus{{
					Workflow: "watch", Phase: protocol.PhaseFailed, Error: &protocol.Error{Code: protocol.CodeLimit, Text: "too large"},
				}}
			})
		}, "1 of 1 agents that run its steps for others failed, allowed are 10 %; pc: limit: too large"},
		{"the pool refuses it", func(w *world, all []*device) {
			w.follow(all, nil)
			w.follow(all[2:], func(r *protocol.Reported) {
				r.Refused = &protocol.Refusal{Revision: r.Revision, Error: protocol.Error{Code: protocol.CodeUnverified, Text: "bad"}}
			})
		}, "pc: unverified: bad"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			_, all := w.pooled(2)
			w.deploy(strings.Replace(pooledText, "n: 3", "n: 4", 1) + pooledWaves)
			c.bad(w, all)
			w.pass()
			if r := w.rollout(); r.Phase != rollout.Returned || !strings.Contains(r.Reason, c.want) {
				t.Fatalf("%s, %+v", w.asked(2), r)
			}
			w.follow(all, nil)
			w.pass()
			if got := w.asked(2); got != "33/3" {
				t.Errorf("in the end: %s", got)
			}
		})
	}
}
