package workflow

import (
	"errors"
	"sync"

	"github.com/stavily/stavily/hub/condition"
	"github.com/stavily/stavily/hub/document"
	"github.com/stavily/stavily/protocol"
)

// compiler makes the language of conditions once, when the first one is met: that takes
// longer than all else that is done to a workflow.
var compiler = sync.OnceValues(condition.NewCompiler)

// conditions compiles what stands under "if", of the workflow and of its steps. A step
// may look at the results of the actions before it, an output at those of all actions.
func (w *Workflow) conditions(in *written, wrong *document.Found) {
	var err error
	w.If, err = w.condition("if", in.If, nil)
	wrong.Add(err)
	if in.Trigger.If != "" {
		wrong.Add(w.Errorf("trigger.if", "there is no event yet; a condition on the event stands beside trigger"))
	}
	var earlier []protocol.StepName
	for i := range w.Actions {
		s := &w.Actions[i]
		s.If, err = w.condition(s.Path+".if", in.Actions[i].If, earlier)
		wrong.Add(err)
		earlier = append(earlier, s.Name)
	}
	for i := range w.Outputs {
		s := &w.Outputs[i]
		s.If, err = w.condition(s.Path+".if", in.Outputs[i].If, earlier)
		wrong.Add(err)
	}
}

func (w *Workflow) condition(path, text string, earlier []protocol.StepName) (protocol.Raw, error) {
	if !w.doc.Has(path) {
		return nil, nil
	}
	c, err := compiler()
	if err != nil {
		return nil, err
	}
	tree, err := c.Compile(text, earlier)
	var bad *condition.Error
	switch {
	case errors.As(err, &bad):
		return nil, w.within(path, bad, bad.Text)
	case err != nil:
		return nil, w.Errorf(path, "%v", err)
	}
	return protocol.MustMarshal(tree), nil
}
