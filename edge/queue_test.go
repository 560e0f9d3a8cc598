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

// A queue is worked off together, step by step and in order; one that has to be asked
// again holds up those behind it, and each has the end that it would have had alone.
func TestQueueTogether(t *testing.T) {
	for _, c := range []struct {
		together int
		want     string
	}{
		{0, "do 0, say 0, do 1, do 1, say 1, do 2, say 2, do 3, say 3, do 4, say 4"},
		{3, "do 0, do 1, do 2, say 0, do 1, say 1, say 2, do 3, do 4, say 3, say 4"},
		{64, "do 0, do 1, do 2, do 3, do 4, say 0, do 1, say 1, say 2, say 3, say 4"},
	} {
		w := newWorld(t)
		w.cfg.RunsAtOnce = c.together
		w.hub.standard()
		var asked []string
		refused := false
		answer := func(step string) func(edge.Call) wasmhost.Answer {
			return func(call edge.Call) wasmhost.Answer {
				var n int
				if err := protocol.Unmarshal(call.Request.Event.Data, &n); err != nil {
					t.Fatal(err)
				}
				asked = append(asked, fmt.Sprintf("%s %d", step, n))
				if step == "do" && n == 1 && !refused {
					refused = true
					return refuses(protocol.CodeRetryable, "busy")(call)
				}
				return wasmhost.Answer{}
			}
		}
		w.plugins.answers["w/do"], w.plugins.answers["w/say"] = answer("do"), answer("say")
		w.plugins.answers["w/when"] = func(call edge.Call) wasmhost.Answer {
			var a wasmhost.Answer
			for n := range 5 {
				a.Events = append(a.Events, protocol.MustMarshal(n))
			}
			return a
		}
		of := w.hub.workflow("w")
		of.Actions[0].Retry = protocol.Retry{Times: 1, WaitMS: 1000}
		w.hub.deploy(w.hub.desired(1, of))
		w.boot()
		w.online()
		w.pass(time.Hour)
		if got := strings.Join(asked, ", "); got != c.want {
			t.Errorf("%d together: asked %q, want %q", c.together, got, c.want)
		}
		checkEachRun(t, w.hub, 5)
	}
}

// More of a queue is asked together of a step that is quick, and never more than one request
// holds; each run keeps its own end.
func TestQuickQueueTogether(t *testing.T) {
	for took, want := range map[int64]string{
		0:     "do 4, do 4, do 4, do 4, do 4, do 4, do 4, do 4", // not known: as a slow one
		399:   "do 4, do 16, do 12",
		401:   "do 4, do 4, do 4, do 4, do 4, do 4, do 4, do 4",
		90000: "do 4, do 4, do 4, do 4, do 4, do 4, do 4, do 4",
	} {
		w := newWorld(t)
		w.cfg.RunsAtOnce = 4
		w.hub.standard()
		var asked []string
		run := 0
		w.plugins.answers["w/do"] = func(edge.Call) wasmhost.Answer {
			run++
			return wasmhost.Answer{Usage: wasmhost.Usage{TookUS: took}}
		}
		w.plugins.answers["w/say"] = func(edge.Call) wasmhost.Answer {
			if run > 0 {
				asked = append(asked, fmt.Sprintf("do %d", run))
			}
			run = 0
			return wasmhost.Answer{}
		}
		w.plugins.answers["w/when"] = func(edge.Call) wasmhost.Answer {
			return wasmhost.Answer{Events: slices.Repeat([]protocol.Raw{protocol.MustMarshal(1)}, 32)}
		}
		w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
		w.boot()
		w.online()
		w.pass(time.Hour)
		if got := strings.Join(asked, ", "); got != want {
			t.Errorf("a run takes %d µs: asked %q, want %q", took, got, want)
		}
		checkEachRun(t, w.hub, 32)
	}
}
