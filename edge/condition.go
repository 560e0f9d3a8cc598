package edge

import (
	"log/slog"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/condition"
)

// conditions are those of one assignment: of the workflow, and of each step in order.
type conditions struct {
	whole *condition.Condition // nil: no condition
	steps []*condition.Condition
}

// readConditions reads the conditions of an assignment, which were checked when the
// desired document was opened.
func readConditions(of *protocol.Assignment) (c conditions, err error) {
	if c.whole, err = readCondition(of.If); err != nil {
		return c, err
	}
	for _, s := range stepsOf(of) {
		one, err := readCondition(s.If)
		if err != nil {
			return c, err
		}
		c.steps = append(c.steps, one)
	}
	return c, nil
}

func readCondition(raw protocol.Raw) (*condition.Condition, error) {
	if len(raw) == 0 {
		return nil, nil //nolint:nilnil // no condition is not an error
	}
	return condition.Parse(raw)
}

// passes reports whether an event is to become a run. One whose condition cannot be
// evaluated is, and its first step ends in that error and not in silence.
func (w *work) passes(data protocol.Raw) (bool, error) {
	if w.conditions.whole == nil {
		return true, nil
	}
	ok, err := w.conditions.whole.Eval(condition.Vars{"event": data})
	return ok || err != nil, err
}

// judge holds the next step of a run against its condition, and fills its configuration. It
// returns the result of a step that is not to be asked, nil for one that is.
func (a *Agent) judge(w *work, r *run) *protocol.Result {
	c := w.conditions.steps[r.Next+1]
	if c == nil {
		return a.configure(w, r)
	}
	switch ok, err := c.Eval(condition.Vars{"event": r.Event.Data, "results": resultsOf(r.Results)}); {
	case err != nil:
		return a.unclear(w, r, err)
	case !ok:
		res := a.result(w, r, protocol.StatusSkipped)
		return &res
	}
	return a.configure(w, r)
}

// unclear is the result of a step whose condition could not be evaluated.
func (a *Agent) unclear(w *work, r *run, err error) *protocol.Result {
	res := a.result(w, r, protocol.StatusError)
	res.Error = protocol.AsError(err)
	a.log.Warn("condition not evaluated", slog.String("workflow", string(w.of.Workflow)),
		slog.String("step", string(res.Step)), slog.String("error", err.Error()))
	return &res
}

// resultsOf is what conditions and templates see of the actions that ended.
func resultsOf(results []protocol.Result) protocol.Raw {
	seen := map[string]map[string]any{}
	for i := range results {
		res := &results[i]
		one := map[string]any{"status": res.Status.String()}
		if len(res.Data) > 0 {
			one["data"] = res.Data
		}
		seen[string(res.Step)] = one
	}
	return protocol.MustMarshal(seen)
}
