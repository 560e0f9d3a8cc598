package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// People and machines read of a workflow that it is urgent, and of another that it is not.
func TestStatusSaysUrgent(t *testing.T) {
	s := &edge.Status{
		Assignments: []protocol.AssignmentStatus{
			{Workflow: "alarm", Phase: protocol.PhaseRunning}, {Workflow: "figures", Phase: protocol.PhaseRunning},
		},
		Urgent: []protocol.WorkflowName{"alarm"},
	}
	var shown struct {
		Assignments []struct {
			Workflow string
			Urgent   bool
		}
	}
	if err := json.Unmarshal(statusJSON(s), &shown); err != nil {
		t.Fatal(err)
	}
	if a := shown.Assignments; len(a) != 2 || !a[0].Urgent || a[1].Urgent {
		t.Errorf("as JSON: %+v", a)
	}
	var out bytes.Buffer
	if err := printStatus(&out, s); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "workflow") && strings.Contains(line, "urgent") != strings.Contains(line, "alarm") {
			t.Errorf("for people: %s", line)
		}
	}
}
