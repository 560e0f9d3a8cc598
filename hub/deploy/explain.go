package deploy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stavily/stavily/hub/workflow"
	"github.com/stavily/stavily/protocol"
)

// Rule is one question that decides whether an agent gets a workflow, and its answer.
type Rule = protocol.Rule

// Explain asks the rules by which a plan places d on a, in the plan's order, up to and
// with the first that fails (T-06). assigned counts the workflows that the agent gets
// before this one.
func Explain(d *Deployment, a *Agent, assigned int) []Rule {
	at := d.Workflow.Trigger.Target
	rules := []Rule{{Name: "target", OK: watches(a, at), Text: aim(a, at)}}
	if hosts, _ := d.hosts(a, nil); len(hosts) > 0 && !rules[0].OK {
		return []Rule{runsFor(hosts)}
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
			rules = append(rules, protocol.RuleRoom(assigned))
		}
		return append(rules, Rule{Name: name, Text: bad.Error.Text})
	}
	platform := a.Platform
	if platform == "" {
		platform = "not known yet: modules are sent, nothing native"
	}
	rules = append(rules, protocol.RuleRoom(assigned), Rule{Name: "platform", OK: true, Text: platform})
	if d.Workflow.Urgent {
		rules = append(rules, protocol.RuleUrgent())
	}
	for _, l := range Loads(d, a) {
		rules = append(rules, l.rule())
	}
	if d.Takes == nil {
		return rules
	}
	if d.Takes(a.Address.Agent) {
		return append(rules, Rule{Name: "rollout", OK: true, Text: "a wave has reached it"})
	}
	return append(rules,
		Rule{Name: "rollout", Text: "no wave has reached it yet, or the change was taken back"})
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
func (l Load) Text() string { return l.rule().Text }

func (l Load) rule() Rule { return protocol.RuleArtifact(l.Step, l.Plugin, l.Platform, l.Why) }

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
func runsFor(hosts []protocol.Host) Rule {
	names := make([]string, len(hosts))
	for i := range hosts {
		names[i] = string(hosts[i].Step.Name)
	}
	return protocol.RuleHosts(names)
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

// RunsOn reports whether a runs the i-th step of d, for itself or for others.
func (d *Deployment) RunsOn(i int, a *Agent) bool {
	if watches(a, d.Workflow.Trigger.Target) && d.placeFor(i, d.Workflow.StepsInOrder()[i], a).place == nil {
		return true
	}
	_, of := d.hosts(a, nil)
	return slices.Contains(of, &d.Releases[i])
}
