package deploy

import (
	"testing"

	"github.com/stavily/stavily/hub/workflow"
	"github.com/stavily/stavily/protocol"
)

// Whom no wave has reached has what its own last wave gave it, of a chain of versions.
func TestForOfAChain(t *testing.T) {
	only := func(name protocol.AgentName) func(protocol.AgentName) bool {
		return func(n protocol.AgentName) bool { return n == name }
	}
	version := func(name string, takes func(protocol.AgentName) bool, base *Deployment) *Deployment {
		return &Deployment{Workflow: &workflow.Workflow{Name: protocol.WorkflowName(name)}, Takes: takes, Base: base}
	}
	first := version("first", nil, nil)
	for _, c := range []struct {
		name string
		d    *Deployment
		want map[protocol.AgentName]string
		all  int // versions that stand
	}{
		{"no waves", first, map[protocol.AgentName]string{"a": "first", "z": "first"}, 1},
		{"over one that held", version("second", only("a"), first), map[protocol.AgentName]string{"a": "second", "z": "first"}, 2},
		{
			"over two that were not done", version("third", only("a"), version("second", only("b"), version("before", only("c"), nil))),
			map[protocol.AgentName]string{"a": "third", "b": "second", "c": "before", "z": ""},
			3,
		},
	} {
		for name, want := range c.want {
			got := ""
			if of := c.d.For(name); of != nil {
				got = string(of.Workflow.Name)
			}
			if got != want {
				t.Errorf("%s: agent %s has %q, want %q", c.name, name, got, want)
			}
		}
		if got := len(c.d.Versions()); got != c.all {
			t.Errorf("%s: %d versions, want %d", c.name, got, c.all)
		}
	}
}
