package sim

import (
	"testing"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/rollout"
	"github.com/stavily/stavily/hub/store"
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
