package sim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/sim/report"
)

// notesMax bounds the notes of one run.
const notesMax = 30

// note adds something that breaks nothing, and that whoever reads the report should know.
func (t *teller) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if len(t.notes) < notesMax && !slices.Contains(t.notes, text) {
		t.notes = append(t.notes, text)
	}
}

// answered takes in what the hub said of a deployment.
func (t *teller) answered(out *api.Deployed) {
	for _, warning := range out.Warnings {
		t.note("workflow %s: %s", out.Workflow, warning)
	}
	var without tally
	for i := range out.Agents {
		if c := &out.Agents[i]; c.Excluded != nil {
			without.add(string(c.Agent), c.Excluded)
		}
	}
	for _, of := range without {
		t.note("workflow %s: not on %s: %s", out.Workflow, of.whom(), of.why)
	}
}

// failuresMax bounds the kinds of failures that are told apart, and failuresTold those that a
// report tells of.
const (
	failuresMax  = 200
	failuresTold = 5
)

// failedStep is one way in which a step failed.
type failedStep struct {
	workflow protocol.WorkflowName
	step     protocol.StepName
	why      string
}

// failedCalls counts how steps failed; looked up and then sorted.
type failedCalls map[failedStep]*tallied

// failedCall takes in that a plugin answered with an error.
func (t *teller) failedCall(d *device, i edge.Instance, err *protocol.Error) {
	if i.Step == "" {
		return // a self-check, which is told by what comes of it
	}
	of := failedStep{i.Workflow, i.Step, err.Error()}
	if t.failures[of] == nil {
		if len(t.failures) >= failuresMax {
			return
		}
		t.failures[of] = &tallied{first: d.stats.Name}
	}
	t.failures[of].n++
}

// commonest returns the ways in which steps failed most often, as notes.
func (t *teller) commonest() (out []string) {
	keys := slices.SortedFunc(maps.Keys(t.failures), func(a, b failedStep) int {
		return cmp.Or(cmp.Compare(t.failures[b].n, t.failures[a].n), cmp.Compare(a.workflow, b.workflow),
			cmp.Compare(a.step, b.step), cmp.Compare(a.why, b.why))
	})
	for i, of := range keys {
		if i == failuresTold {
			return append(out, fmt.Sprintf("and %d other ways in which steps failed", len(keys)-i))
		}
		n := t.failures[of]
		out = append(out, fmt.Sprintf("step %s of %s failed %s, first on %s: %s", of.step, of.workflow,
			numbered(n.n, "time"), n.first, of.why))
	}
	return out
}

// tally counts agents by why something is not as it should be, in the order in which it came.
type tally []tallied

type tallied struct {
	why   string
	first string
	n     int
}

func (t *tally) add(agent string, why *protocol.Error) {
	text := why.Error()
	at := slices.IndexFunc(*t, func(of tallied) bool { return of.why == text })
	if at < 0 {
		at = len(*t)
		*t = append(*t, tallied{why: text, first: agent})
	}
	(*t)[at].n++
}

func (of *tallied) whom() string {
	if of.n == 1 {
		return "agent " + of.first
	}
	return fmt.Sprintf("%d agents, such as %s", of.n, of.first)
}

// noted returns the notes of the run, and what the end tells besides: workflows that do not run
// where they should, and triggers that never fired.
func (t *teller) noted(all *report.Totals) []string {
	failed := map[protocol.WorkflowName]*tally{}
	var names []protocol.WorkflowName
	for _, d := range t.w.devices {
		if d.agent == nil || d.retired {
			continue
		}
		for _, a := range d.status().Assignments {
			if a.Phase != protocol.PhaseFailed || a.Error == nil {
				continue
			}
			if failed[a.Workflow] == nil {
				failed[a.Workflow] = &tally{}
				names = append(names, a.Workflow)
			}
			failed[a.Workflow].add(d.stats.Name, a.Error)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		for _, of := range *failed[name] {
			t.note("workflow %s does not run on %s: %s", name, of.whom(), of.why)
		}
	}
	if all.Fired == 0 && len(t.deploys) > 0 {
		t.note("no trigger fired: look at what it waits for, its configuration and the fleet's signals")
	}
	return append(t.notes, t.commonest()...)
}
