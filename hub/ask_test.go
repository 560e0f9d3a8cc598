package hub

import (
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

// Whose soak should be over is asked for its word, once a minute, and only when it is there.
func TestAsksWhenTheSoakIsOver(t *testing.T) {
	w := newWorld(t)
	w.sealedThree()
	all := w.gateways(3)
	w.deploy(numbered(1, false))
	w.follow(all, nil)
	w.deploy(strings.Replace(numbered(2, true), "soak: 1m", "soak: 5m", 1))
	name := w.rollout().Taken[0]
	for _, d := range all {
		w.says(d.at, protocol.UpPresence, protocol.MustMarshal(protocol.Presence{Online: d.at.Agent == name, Boot: 1, Session: 1}))
	}
	w.follow(all, func(r *protocol.Reported) { r.Assignments[0].Trial.RunningS = 60 })
	began := w.now
	w.sent.take()
	var asked []time.Duration
	for w.now.Sub(began) < 7*time.Minute {
		w.pass()
		for _, of := range w.hints() {
			if of != string(name) {
				t.Errorf("asked %s, want %s", of, name)
			}
			asked = append(asked, w.now.Sub(began).Round(time.Second))
		}
	}
	// 240 s are left of the soak when the hub looks first, 10 s on.
	if len(asked) != 3 || asked[0] != 260*time.Second || asked[1]-asked[0] < askAgain || asked[2]-asked[1] < askAgain {
		t.Fatalf("asked after %v", asked)
	}
	w.follow(all, nil)
	for range 3 {
		w.pass()
		w.follow(all, nil)
	}
	w.pass()
	if got := w.deployedOn(3); got != "222" || len(w.hub.soaks) != 0 {
		t.Errorf("%s, remembers %v", got, w.hub.soaks)
	}
}
