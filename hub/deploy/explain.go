package deploy

import (
	"fmt"
	"strings"

	"github.com/stavily/stavily/hub/workflow"
	"github.com/stavily/stavily/protocol"
)

// Rule is one question that decides whether an agent gets a workflow, and its answer.
type Rule struct {
	Name string `json:"name"` // target, assignments, platform, configuration, artifact, rollout
	OK   bool   `json:"ok"`
	Text string `json:"text"` // what was wanted and what is
}

// Explain asks the rules by which a plan places d on a, in the plan's order, up to and
// with the first that fails (T-06). assigned counts the workflows that the agent gets
// before this one.
func Explain(d *Deployment, a *Agent, assigned int) []Rule {
	rules := []Rule{{"target", watches(a, d.Workflow.Trigger.Target), aim(a, d.Workflow.Trigger.Target)}}
	if hosts, _ := d.hosts(a, nil); len(hosts) > 0 && !rules[0].OK {
		return []Rule{{"target", true, runsFor(hosts)}}
	}
	if !rules[0].OK {
		return rules
	}
	if bad := exclude(a, d, assigned); bad != nil {
		name := "platform"
		switch {
		case bad.Step == "":
			name = "assignments"
		case bad.Error.Code == protocol.CodeBadInput:
			name = "configuration"
			fallthrough
		default:
			rules = append(rules, room(assigned))
		}
		return append(rules, Rule{name, false, bad.Error.Text})
	}
	platform := a.Platform
	if platform == "" {
		platform = "not known yet: modules are sent, nothing native"
	}
	rules = append(rules, room(assigned), Rule{"platform", true, platform})
	for _, l := range Loads(d, a) {
		rules = append(rules, Rule{"artifact", true, l.Text()})
	}
	if d.Takes == nil {
		return rules
	}
	if d.Takes(a.Address.Agent) {
		return append(rules, Rule{"rollout", true, "a wave has reached it"})
	}
	return append(rules, Rule{"rollout", false, "no wave has reached it yet, or the change was taken back"})
}

// Load is the artifact that an agent loads for one step.
type Load struct {
	Workflow protocol.WorkflowName `json:"workflow"`
	Step     protocol.StepName     `json:"step"`
	Plugin   string                `json:"plugin"`   // name@version
	Platform string                `json:"platform"` // wasm, or that of a native artifact
	Why      string                `json:"why"`
}

// Text says it in a line.
func (l Load) Text() string {
	return fmt.Sprintf("step %s: %s as %s: %s", l.Step, l.Plugin, l.Platform, l.Why)
}

// Loads returns what a loads for each step of d, as Choose has it; none for an agent on
// which d cannot run.
func Loads(d *Deployment, a *Agent) (out []Load) {
	for i, step := range d.Workflow.StepsInOrder() {
		choice, err := Choose(&d.Releases[i], a)
		if err != nil {
			return nil
		}
		out = append(out, Load{
			d.Workflow.Name, step.Name, d.Releases[i].Manifest.String(), choice.Platform, choice.Why,
		})
	}
	return out
}

// runsFor says which steps an agent runs for others.
func runsFor(hosts []protocol.Host) string {
	names := make([]string, len(hosts))
	for i := range hosts {
		names[i] = string(hosts[i].Step.Name)
	}
	return "the workflow fires on other agents; here run their steps " + strings.Join(names, ", ")
}

func room(assigned int) Rule {
	return Rule{
		"assignments", true, fmt.Sprintf("%d before this one, limit %d", assigned, protocol.AssignmentsMax),
	}
}

// aim says what a trigger's target wants of the agent and what it finds.
func aim(a *Agent, t workflow.Target) string {
	switch t.Kind {
	case workflow.OneAgent:
		return fmt.Sprintf("agent %q is wanted, this is %q", t.Agent, a.Address.Agent)
	case workflow.Group:
		var found []string
		for _, l := range t.Group {
			have, ok := a.Labels[l.Key]
			switch {
			case !ok:
				found = append(found, fmt.Sprintf("label %s=%s is wanted, there is no %s", l.Key, l.Value, l.Key))
			case have != l.Value:
				found = append(found, fmt.Sprintf("label %s=%s is wanted, it is %s", l.Key, l.Value, have))
			}
		}
		if len(found) == 0 {
			return "the agent has the labels " + t.Group.String()
		}
		return strings.Join(found, "; ")
	case workflow.Hub:
		return fmt.Sprintf("label %s=yes is wanted, it is %q", LabelHub, a.Labels[LabelHub])
	default:
		return t.String() + " does not watch"
	}
}
