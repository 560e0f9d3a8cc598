package protocol

import (
	"fmt"
	"strings"
)

// Rule is one question that decides whether an agent runs a workflow, and its answer. Hub and
// agent word the same rules by the functions of this file (T-06).
type Rule struct {
	// Name is target, assignments, lane, platform, configuration, artifact, revoked, grants, admission,
	// rollout, reported, taken or running; of the agent's own also if, limit, data, clock, trial.
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Text string `json:"text"` // what was wanted and what is
}

// RuleRoom is the rule of an assignment that is placed after assigned others.
func RuleRoom(assigned int) Rule {
	return Rule{
		"assignments", assigned < AssignmentsMax,
		fmt.Sprintf("%d before this one, limit %d", assigned, AssignmentsMax),
	}
}

// RuleHosts is the rule of an agent that runs steps for others and has no part of its own.
func RuleHosts(steps []string) Rule {
	return Rule{
		"target", true,
		"the workflow fires on other agents; here run their steps " + strings.Join(steps, ", "),
	}
}

// RuleUrgent is the rule of an assignment that is urgent; there is none for others.
func RuleUrgent() Rule {
	return Rule{"lane", true, "urgent: events and results go to the hub before others, and are kept longer"}
}

// RuleArtifact is the rule of a step whose release runs on a platform, PlatformWASM for a module.
func RuleArtifact(step StepName, release, platform, why string) Rule {
	return Rule{"artifact", true, fmt.Sprintf("step %s: %s as %s: %s", step, release, platform, why)}
}

// RuleRevoked is the rule of a step whose release is not to run any more.
func RuleRevoked(step StepName, of ReleaseRef) Rule {
	return Rule{"revoked", false, fmt.Sprintf("step %q: release %s@%s was revoked", step, of.Plugin, of.Version)}
}

// RuleAdmission holds what all of a document asks to a device.
func RuleAdmission(sum *Demands, of *Device, times Overcommit) Rule {
	if text := sum.Beyond(of, times); text != "" {
		return Rule{"admission", false, text}
	}
	return Rule{"admission", true, sum.Text(of, times)}
}

// RuleRefused is the rule of an agent that does not take its newest document.
func RuleRefused(r *Refusal) Rule {
	return Rule{"taken", false, fmt.Sprintf("the agent refuses revision %d: %s: %s", r.Revision, r.Error.Code,
		r.Error.Text)}
}

// RuleRunning is the rule of how an assignment fares.
func RuleRunning(s *AssignmentStatus) Rule {
	text := s.Phase.String()
	if s.Error != nil {
		text += ": " + s.Error.Code.String() + ": " + s.Error.Text
	}
	return Rule{"running", s.Phase == PhaseRunning, text}
}
