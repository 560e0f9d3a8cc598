package edge_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stavily/stavily/edge/storetest"
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
