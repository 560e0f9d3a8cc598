package edge

import (
	"log/slog"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/condition"
)

// filling is how a step's configuration is filled for each run. Nil is that of a step whose
// configuration is the same for all.
type filling struct {
	of     *condition.Filling
	step   protocol.StepName
	schema *condition.Schema // nil for none
}

// readFilling reads a step's template. A configuration without one is whole, and held to its
// schema here (M-28).
func readFilling(s *protocol.Step) (f *filling, err error) {
	var schema *condition.Schema
	if len(s.Schema) > 0 {
		schema, err = condition.ParseSchema(s.Schema)
	}
	switch {
	case err != nil:
	case len(s.Template) > 0:
		f = &filling{step: s.Name, schema: schema}
		f.of, err = condition.NewFilling(s.Config, s.Template)
	case schema != nil:
		err = schema.Check(s.Config)
	}
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeOf(err), "step %q: %w", clip(string(s.Name)), err)
	}
	return f, nil
}

// fill returns the configuration for one run, nil when it is the step's own. The error, with
// CodeBadInput, names step, place, and the expression or the rule.
func (f *filling) fill(event protocol.Raw, results []protocol.Result) (protocol.Raw, error) {
	if f == nil {
		return nil, nil
	}
	config, err := f.of.Fill(condition.Vars{"event": event, "results": resultsOf(results)})
	if err == nil && f.schema != nil {
		err = f.schema.Check(config)
	}
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeOf(err), "step %q: %w", f.step, err)
	}
	return config, nil
}

// configure fills the configuration of a run's next step. It returns the result of a step
// that is not to be asked because there is none for it.
func (a *Agent) configure(w *work, r *run) (res *protocol.Result) {
	var err error
	if r.config, err = w.fillings[r.Next+1].fill(r.Event.Data, r.Results); err == nil {
		return nil
	}
	failed := a.result(w, r, protocol.StatusError)
	failed.Error = protocol.AsError(err)
	a.log.Warn("configuration not filled", slog.String("workflow", string(w.of.Workflow)),
		slog.String("step", string(failed.Step)), slog.String("error", err.Error()))
	return &failed
}
