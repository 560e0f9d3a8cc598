package edge_test

import (
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

// A trial begins with each change of its assignment and with each boot: what fired before
// is not held against the new one, and other assignments' trials go on.
func TestTrialBeginsWithTheChange(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	w.plugins.answers["w/when"] = fires(4)
	w.plugins.answers["w/do"] = refuses(protocol.CodeDeadline, "slow")
	changing, other := w.hub.workflow("w"), w.hub.workflow("other")
	w.hub.deploy(w.hub.desired(1, changing, other))
	w.boot()
	w.online()
	trials := func(step string, want, wantOther protocol.Trial) {
		t.Helper()
		w.agent.Tick(w.now)
		for i, s := range w.agent.Status().Assignments {
			if got := s.Trial; got != []protocol.Trial{wantOther, want}[i] {
				t.Errorf("%s: %s has %+v", step, s.Workflow, got)
			}
		}
	}
	w.pass(time.Minute)
	trials("before", protocol.Trial{RunningS: 60, Ended: 4, Failed: 4, Troubles: 4}, protocol.Trial{RunningS: 60})

	changing.Actions[0].Config = protocol.MustMarshal(1)
	w.plugins.answers["w/do"] = nil
	w.plugins.answers["w/when"] = refuses(protocol.CodePlugin, "no sensor")
	w.hub.deploy(w.hub.desired(2, changing, other))
	w.pass(time.Minute)
	w.agent.Tick(w.now)
	s := w.agent.Status().Assignments[1]
	if s.Fired != 4 || s.Failed != 4 || s.Trial.Ended != 0 || s.Trial.Failed != 0 || s.Trial.Troubles == 0 {
		t.Errorf("after the change: %+v", s)
	}
	troubles := s.Trial.Troubles
	trials("after", protocol.Trial{RunningS: 60, Troubles: troubles}, protocol.Trial{RunningS: 120})

	w.boot()
	w.pass(time.Minute)
	w.agent.Tick(w.now)
	if s := w.agent.Status().Assignments[0]; s.Trial != (protocol.Trial{RunningS: 60}) {
		t.Errorf("after a boot: %+v", s)
	}
}
