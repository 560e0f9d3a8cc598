package sim

import (
	"testing"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/rollout"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/sim/report"
	"github.com/stavily/stavily/sim/scenario"
)

// The change that fails is taken back in its first wave, and the one after it reaches all; also
// where a pool does the work.
func TestBadReleaseIsTakenBack(t *testing.T) {
	if testing.Short() {
		t.Skip("simulates two days")
	}
	for _, file := range []string{"bad-release.yaml", "bad-pool.yaml"} {
		t.Run(file, func(t *testing.T) {
			s, err := scenario.Load("scenarios/" + file)
			if err != nil {
				t.Fatal(err)
			}
			w, err := newWorld(t.Context(), s, Options{Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			var bad, good api.Rollout
			for at := time.Duration(0); at < s.Duration; at += 20 * time.Minute {
				if err := w.runTo(int64(at)); err != nil {
					t.Fatal(err)
				}
				now := w.rollout(t)
				if given := len(now.Taken); at < 4*time.Hour && given > 6 {
					t.Fatalf("at %v %d agents have the bad change", at, given)
				}
				if at < 4*time.Hour {
					bad = now
				} else {
					good = now
				}
			}
			if bad.Phase != rollout.Returned || bad.Wave != 0 || good.Phase != rollout.Done {
				t.Errorf("the bad one is %s in wave %d (%s), the good one is %s (%s: %s)", bad.Phase, bad.Wave, bad.Reason,
					good.Phase, good.Progress.Where, good.Progress.Holdup)
			}
			if err := w.close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// rollout returns how the one rollout stands; none before it began or while the hub is away.
func (w *World) rollout(t *testing.T) (out api.Rollout) {
	t.Helper()
	if w.hub.hub == nil {
		return out
	}
	err := w.hub.hub.Operate(func(tx *store.Tx) error {
		all, err := w.hub.hub.Rollouts(tx, w.time())
		if len(all) == 1 {
			out = all[0]
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

const wavy = `stavily: sim/v1
name: waves
seed: 1
start: 2026-11-01T00:00:00Z
duration: 1h
fleet: [{group: shops, count: 40, class: linux-arm64, link: lte}]
plugins: {timer: {model: timer}, act: {model: pass}, other: {model: pass}, tell: {model: sink}}
deploy:
  - at: 1m
    workflow:
      workflow: prices
      trigger: {plugin: timer@1, with: {every: 10m}, at: {group: {}}}
      actions: [{plugin: act@1}]
      outputs: [{plugin: tell@1}]
  - at: 10m
    workflow:
      workflow: prices
      trigger: {plugin: timer@1, with: {every: 10m}, at: {group: {}}}
      actions: [{plugin: other@1}]
      outputs: [{plugin: tell@1}]
      rollout: {waves: [{count: 2, soak: 1m}, {percent: 20, soak: 1m}, {percent: 100, soak: 1m}]}
`

// A wave goes on when its soak is over, and not by the heartbeats of five minutes after it.
func TestWavesGoOnAfterTheirSoak(t *testing.T) {
	s, err := scenario.Parse("waves.yaml", []byte(wavy), nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := newWorld(t.Context(), s, Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	took := time.Duration(0)
	for at := 10 * time.Minute; at <= s.Duration && took == 0; at += 5 * time.Second {
		if err := w.runTo(int64(at)); err != nil {
			t.Fatal(err)
		}
		if w.rollout(t).Phase == rollout.Done {
			took = at - 10*time.Minute
		}
	}
	if took == 0 || took > 6*time.Minute {
		t.Errorf("three waves of a minute each took %v", took)
	}
	t.Logf("three waves of a minute each took %v", took)
	tellsWaves(t, w.tell.result())
	if err := w.close(); err != nil {
		t.Error(err)
	}
}

// The report tells of each wave: whom it was for, who has it, and what became of it.
func tellsWaves(t *testing.T, r *report.Result) {
	t.Helper()
	if len(r.Deployments) != 4 {
		t.Fatalf("%d deployments are told, want that without waves and three waves: %+v", len(r.Deployments), r.Deployments)
	}
	for i, want := range []report.Deployed{
		{Agents: 40},
		{Wave: 1, Agents: 2, Outcome: report.WavePassed},
		{Wave: 2, Agents: 6, Outcome: report.WavePassed},
		{Wave: 3, Agents: 32, Outcome: report.WaveDone},
	} {
		got := r.Deployments[i]
		if got.Workflow != "prices" || got.Wave != want.Wave || got.Agents != want.Agents || got.Outcome != want.Outcome {
			t.Errorf("deployment %d is %+v, want %+v", i, got, want)
		}
		if got.Reached != got.Agents || got.AllMS < 0 || got.Wave > 0 && got.EndMS <= got.AtMS {
			t.Errorf("wave %d reached %d of %d agents in %d ms and ended at %d", got.Wave, got.Reached, got.Agents, got.AllMS, got.EndMS)
		}
	}
}
