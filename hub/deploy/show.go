package deploy

import (
	"encoding/json"

	"github.com/stavily/stavily/hub/workflow"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/condition"
)

// StepConfig is a step's configuration as an agent gets it. What is filled in for each run
// stands as it was written, a secret as its handle: values of secrets are nowhere in it.
type StepConfig struct {
	Step   protocol.StepName `json:"step"`
	Config json.RawMessage   `json:"config"`
}

// Configs returns the configurations that a desired document has for the steps of a workflow
// which its agent runs, in their order; steps without one are left out.
func Configs(doc *protocol.Desired, name protocol.WorkflowName) ([]StepConfig, error) {
	var steps []protocol.Step
	for i := range doc.Assignments {
		if a := &doc.Assignments[i]; a.Workflow == name {
			steps = append(append(append(steps, a.Trigger), a.Actions...), a.Outputs...)
		}
	}
	for i := range doc.Hosts {
		if doc.Hosts[i].Workflow == name {
			steps = append(steps, doc.Hosts[i].Step)
		}
	}
	var out []StepConfig
	for i := range steps {
		if s := &steps[i]; len(s.Config) > 0 || len(s.Template) > 0 {
			text, err := showConfig(s)
			if err != nil {
				return nil, err
			}
			out = append(out, StepConfig{s.Name, text})
		}
	}
	return out, nil
}

func showConfig(s *protocol.Step) (text []byte, err error) {
	var config any
	if len(s.Config) > 0 {
		if config, err = workflow.Plain(s.Config); err != nil {
			return nil, err
		}
	}
	var t condition.Template
	if len(s.Template) > 0 {
		if err := protocol.Unmarshal(s.Template, &t); err != nil {
			return nil, err
		}
	}
	for _, h := range t.Holes {
		config = workflow.Put(config, h.Path, h.Tree.Text)
	}
	return json.Marshal(config)
}
