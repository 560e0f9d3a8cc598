//go:build linux && (amd64 || arm64)

package edge_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// A workflow with a quick timer goes on firing while its agent refuses one revision after another for
// the bomb in it, each by the time of a processor that its compiler may have. F9.
func TestTimerFiresBesideBombs(t *testing.T) {
	if testing.Short() || raceDetector() {
		t.Skip("compiles for seconds, in a process whose memory is bounded")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const every, bombs = 100 * time.Millisecond, 2
	hub := newHubSide(t)
	good := []protocol.ReleaseRef{
		hub.publish("counter", protocol.Trigger, "1.0.0", rust(t, "counter")),
		hub.publish("output", protocol.Output, "1.0.0", rust(t, "output")),
	}
	d := hub.desired(1, hub.timer("beat", every, "output"))
	d.Releases = good
	hub.deploy(d)
	hub.out = nil
	revision, refused := uint64(1), []string{}
	var began time.Time
	var before, fired int
	var took time.Duration
	done := func() bool {
		if began.IsZero() && len(hub.results) < 5 {
			return false
		}
		if no := hub.reported().Refused; no != nil && no.Revision == revision {
			refused = append(refused, no.Error.Code.String()+": "+no.Error.Text)
			fired, took = fired+len(hub.results)-before, took+time.Since(began)
		} else if revision > 1 {
			return false
		}
		if len(refused) < bombs {
			revision++
			bomb := hub.publish("bomb", protocol.Output, "1.0.0", metered(t, returns(7, 40_000-int(revision))))
			d := hub.desired(revision, hub.timer("beat", every, "output"), hub.timer("bombs", time.Hour, "bomb"))
			d.Releases = append([]protocol.ReleaseRef{bomb}, good...)
			before, began = len(hub.results), time.Now()
			hub.deploy(d)
		}
		return len(refused) == bombs
	}
	real{dir: t.TempDir(), hub: hub, done: done, compile: wasmhost.Compile{
		Command: []string{self, wasmhost.CompileCommand}, Wall: 10 * time.Minute, // of a busy machine
	}}.run(t)
	for _, why := range refused {
		if !strings.HasPrefix(why, "limit: ") || !strings.Contains(why, "of a processor") {
			t.Errorf("refused for %q, want it for its time of a processor", why)
		}
	}
	t.Logf("%d bombs refused in %v, fired %d times meanwhile", bombs, took, fired)
	if fired < int(took/every)/3 {
		t.Errorf("fired %d times in %v, want it every %v", fired, took, every)
	}
}

// timer returns an assignment that tells a plugin of each tick.
func (h *hubSide) timer(name string, every time.Duration, plugin string) protocol.Assignment {
	return protocol.Assignment{
		Workflow: protocol.WorkflowName(name),
		Trigger: protocol.Step{
			Name: "when", Release: h.release["counter"].Digest,
			Config: protocol.MustMarshal(map[string]string{"every": fmt.Sprint(every)}),
		},
		Outputs: []protocol.Step{{Name: "say", Release: h.release[plugin].Digest}},
	}
}
