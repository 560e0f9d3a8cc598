package hub

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/rollout"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// sealedThree is three without builds: what is looked at is who has what.
func (w *world) sealedThree() {
	w.Helper()
	w.sealed("tick", "1.0.0", protocol.Trigger, protocol.StateFormat{})
	w.sealed("work", "1.0.0", protocol.Action, protocol.StateFormat{})
	w.sealed("note", "1.0.0", protocol.Output, protocol.StateFormat{})
}

func numbered(n int, waves bool) string {
	text := workflowText
	if waves {
		text = wavesText
	}
	return strings.Replace(text, "n: 3", fmt.Sprintf("n: %d", n), 1)
}

// A change that comes before the last one is done takes nothing from anybody, unless that one
// was judged bad: who has it keeps it until a wave reaches them, and they are the first.
func TestSupersededBeforeDone(t *testing.T) {
	for _, c := range []struct {
		name   string
		first  bool // nothing held before
		before func(w *world, all []*device)
		waves  bool
		want   string // how many have each number, as 2:1 3:5; the last deployed is 2
	}{
		{"a first rollout", true, func(w *world, all []*device) { w.wave(all) }, true, "1:2 2:1 -:3"},
		{"over one that held", false, func(w *world, all []*device) { w.wave(all) }, true, "0:3 1:2 2:1"},
		{"paused by an operator", true, func(w *world, all []*device) { w.wave(all); w.steer(api.Pause) }, true, "1:2 2:1 -:3"},
		{"aborted", true, func(w *world, all []*device) { w.wave(all); w.steer(api.Abort) }, true, "2:1 -:5"},
		{"aborted, over one that held", false, func(w *world, all []*device) { w.wave(all); w.steer(api.Abort) }, true, "0:5 2:1"},
		{"not done in time", true, func(w *world, all []*device) { w.wave(all); w.late(all) }, true, "2:1 -:5"},
		{"not done in time, and resumed", true, func(w *world, all []*device) { w.wave(all); w.late(all); w.steer(api.Resume) }, true, "1:2 2:1 -:3"},
		{"promoted", true, func(w *world, all []*device) { w.wave(all); w.steer(api.Promote) }, true, "1:5 2:1"},
		{"without waves", true, func(w *world, all []*device) { w.wave(all) }, false, "2:6"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.sealedThree()
			all := w.gateways(6)
			if !c.first {
				w.deploy(numbered(0, false))
				w.follow(all, nil)
			}
			w.deploy(numbered(1, true))
			c.before(w, all)
			w.deploy(numbered(2, c.waves))
			if got := counted(w.deployedOn(6)); got != c.want {
				t.Fatalf("%s, want %s", got, c.want)
			}
			for range 8 {
				w.follow(all, nil)
				w.pass()
			}
			if got := w.deployedOn(6); got != "222222" {
				t.Errorf("in the end %s", got)
			}
		})
	}
}

// wave lets the first wave pass: half of all have it.
func (w *world) wave(all []*device) {
	w.follow(all, nil)
	w.pass()
}

func (w *world) steer(do api.Steering) {
	w.Helper()
	_, err := w.hub.Steer(w.now, "watch", do)
	check(w, err)
}

// late lets the time of a wave pass.
func (w *world) late(all []*device) {
	w.Helper()
	w.now = w.now.Add(8 * 24 * time.Hour)
	w.follow(all, func(r *protocol.Reported) {
		for i := range r.Assignments {
			r.Assignments[i].Phase = protocol.PhaseLoading
		}
	})
	w.pass()
	if r := w.rollout(); r.Phase != rollout.Paused || !r.Stuck {
		w.Fatalf("%+v", r)
	}
}

// kept returns what the books have of the workflow.
func (w *world) kept() deployed {
	w.Helper()
	return look(w, func(tx *store.Tx) (out deployed, err error) {
		_, err = getJSON(tx, bookDeployments, "watch", &out)
		return out, err
	})
}

// counted says how many agents have each number.
func counted(on string) string {
	var parts []string
	for _, n := range "0123456789-" {
		if have := strings.Count(on, string(n)); have > 0 {
			parts = append(parts, fmt.Sprintf("%c:%d", n, have))
		}
	}
	return strings.Join(parts, " ")
}

// Whatever is deployed, steered and reported in any order: a deployment takes a workflow from
// nobody that it is for, and leaves everybody with what they had or the new version, unless the
// last one was judged bad.
func TestNobodyLosesAWorkflow(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t)
			w.sealedThree()
			all := w.gateways(6)
			r := rand.New(rand.NewPCG(seed, 7))
			last, levels := 0, 0
			for range 25 {
				switch r.IntN(7) {
				case 0, 1, 2:
					last = (last + 1) % 10
					levels = max(levels, w.supersedes(last, r.IntN(8) > 0))
				case 3, 4:
					w.follow(all[r.IntN(3):], nil)
				case 5:
					w.follow(all, func(r *protocol.Reported) {
						if len(r.Assignments) > 0 && last%3 == 0 {
							r.Assignments[0].Trial.Failed = 18
						}
					})
				case 6:
					_, _ = w.hub.Steer(w.now, "watch", []api.Steering{api.Pause, api.Resume, api.Abort}[r.IntN(3)])
				}
				w.pass()
			}
			if levels > basesMax+1 {
				t.Errorf("%d versions stand, want %d at most", levels, basesMax+1)
			}
		})
	}
}

// supersedes deploys and holds each agent's version to what it was; it returns how many versions
// stand below the new one.
func (w *world) supersedes(n int, waves bool) int {
	w.Helper()
	before, stuck := w.deployedOn(6), w.kept().Rollout.Stuck
	w.deploy(numbered(n, waves))
	after := w.deployedOn(6)
	for i := range after {
		if after[i] != before[i] && after[i] != byte('0'+n) && !stuck {
			w.Errorf("gw-%d: was at %c, is at %c after %d was deployed", i, before[i], after[i], n)
		}
	}
	kept := w.kept()
	return len(kept.bases())
}
