package edge_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/condition"
	"github.com/stavily/stavily/wasmhost"
)

// above is the condition "value of the event > n".
func above(n int) protocol.Raw {
	return protocol.MustMarshal(condition.Tree{Text: "event.value > n", Nodes: []condition.Node{
		{Op: condition.OpVar, Name: "event"},
		{Op: condition.OpField, Name: "value", Args: []uint16{0}},
		{Op: condition.OpLiteral, Value: protocol.MustMarshal(n)},
		{Op: condition.OpMore, Args: []uint16{1, 2}},
	}})
}

// status is the condition "status of step is want".
func status(step, want string) protocol.Raw {
	return protocol.MustMarshal(condition.Tree{Text: "status", Nodes: []condition.Node{
		{Op: condition.OpVar, Name: "results"},
		{Op: condition.OpField, Name: step, Args: []uint16{0}},
		{Op: condition.OpField, Name: "status", Args: []uint16{1}},
		{Op: condition.OpLiteral, Value: protocol.MustMarshal(want)},
		{Op: condition.OpEqual, Args: []uint16{2, 3}},
	}})
}

func TestConditions(t *testing.T) {
	for _, c := range []struct {
		name     string
		change   func(of *protocol.Assignment)
		event    any
		want     string
		filtered uint64
	}{
		{"holds", func(of *protocol.Assignment) { of.If = above(3) }, map[string]int{"value": 4}, "do ok, say ok.", 0},
		{"does not hold", func(of *protocol.Assignment) { of.If = above(3) }, map[string]int{"value": 3}, "", 1},
		{"cannot be evaluated", func(of *protocol.Assignment) { of.If = above(3) }, "text", "do error, say ok.", 0},
		{
			"of a step holds", func(of *protocol.Assignment) { of.Actions[0].If = above(3) },
			map[string]int{"value": 4},
			"do ok, say ok.", 0,
		},
		{
			"of a step does not hold", func(of *protocol.Assignment) { of.Actions[0].If = above(3) },
			map[string]int{"value": 3},
			"do skipped, say ok.", 0,
		},
		{
			"of a step cannot be evaluated", func(of *protocol.Assignment) { of.Actions[0].If = above(3) },
			map[string]int{"other": 3},
			"do error, say ok.", 0,
		},
		{
			"on a result", func(of *protocol.Assignment) { of.Outputs[0].If = status("do", "ok") },
			nil, "do ok, say ok.", 0,
		},
		{
			"on a result that is another", func(of *protocol.Assignment) { of.Outputs[0].If = status("do", "error") },
			nil, "do ok, say skipped.", 0,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.hub.standard()
			of := w.hub.workflow("w")
			c.change(&of)
			fired := false
			w.plugins.answers["w/when"] = func(edge.Call) wasmhost.Answer {
				if fired {
					return wasmhost.Answer{}
				}
				fired = true
				return wasmhost.Answer{Events: []protocol.Raw{protocol.MustMarshal(c.event)}}
			}
			w.hub.deploy(w.hub.desired(1, of))
			w.boot()
			w.online()
			w.pass(time.Hour)
			if got := w.hub.said(); got != c.want {
				t.Errorf("results %q, want %q", got, c.want)
			}
			for _, r := range w.hub.results {
				if r.Status == protocol.StatusError && !strings.Contains(r.Error.Text, "if ") {
					t.Errorf("%s ended with %v", r.Step, r.Error)
				}
			}
			if got := w.hub.reported().Assignments[0].Filtered; got != c.filtered {
				t.Errorf("filtered %d, want %d", got, c.filtered)
			}
		})
	}
}
