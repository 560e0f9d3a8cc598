package swarm

import (
	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// answers stands in for every plugin: a trigger fires once a minute with a small event,
// everything else is well. Loading and running real code is what N1 to N6 measure.
type answers struct{ to *edge.Inbox }

// fireEveryMS is how often a trigger fires.
const fireEveryMS = 60_000

// Start answers at once.
func (a *answers) Start(c edge.Call) {
	out := edge.Answered{ID: c.ID, Instance: c.Instance}
	if c.Request != nil && c.Request.Kind == wasmhost.Wake {
		out.Answer.Next = wasmhost.Next{AfterMS: fireEveryMS}
		if c.Request.Why == wasmhost.WhyTimer {
			out.Answer.Events = []protocol.Raw{protocol.MustMarshal(map[string]any{"value": 81.5, "unit": "C"})}
		}
	}
	a.to.Answered(out)
}

// Stop has nothing to end.
func (a *answers) Stop(edge.Instance) {}

var _ edge.Plugins = (*answers)(nil)
