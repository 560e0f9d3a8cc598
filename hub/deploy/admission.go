package deploy

import (
	"fmt"
	"strings"

	"github.com/stavily/stavily/protocol"
)

// Overcommit is how often limits may have what a device has.
type Overcommit = protocol.Overcommit

// DefaultOvercommit is what holds where nobody says anything else.
func DefaultOvercommit() Overcommit { return protocol.DefaultOvercommit() }

// sayAgents is how many agents an error names.
const sayAgents = 5

// Admit refuses a plan in which the sums of max_memory_mb, max_cpu_cores or storage of all that
// an agent runs do not fit its device, where d has a part in it. The error names the agents, and
// workflow by workflow what each wants. A device that has not said what it has is not held to
// anything (M-17, M-18).
func Admit(d *Deployment, contents []Content, agents []Agent, times Overcommit) error {
	concerned := func(c *Content) bool { return c.runs(d.Workflow.Name) }
	if text := overfull(contents, agents, times, concerned); text != "" {
		return d.Workflow.Errorf("trigger.at", "the limits of all that would run do not fit: %s", text)
	}
	return nil
}

// AdmitAll is Admit for whatever the contents have: of agents that changed, not by a deployment.
func AdmitAll(contents []Content, agents []Agent, times Overcommit) error {
	if text := overfull(contents, agents, times, func(*Content) bool { return true }); text != "" {
		return protocol.Errorf(protocol.CodeLimit, "the limits of all that would run do not fit: %s", text)
	}
	return nil
}

// overfull says for whom what does not fit, empty when all does.
func overfull(contents []Content, agents []Agent, times Overcommit, look func(*Content) bool) string {
	devices := make(map[protocol.Address]*Agent, len(agents))
	for i := range agents {
		devices[agents[i].Address] = &agents[i]
	}
	var bad []string
	for i := range contents {
		a := devices[contents[i].Address]
		if a == nil || !look(&contents[i]) {
			continue
		}
		if text := contents[i].Demands().Beyond(a.Device(), times); text != "" {
			bad = append(bad, fmt.Sprintf("agent %s: %s", a.Address, text))
		}
	}
	more := ""
	if n := len(bad) - sayAgents; n > 0 {
		bad, more = bad[:sayAgents], fmt.Sprintf("; and %d agents more", n)
	}
	return strings.Join(bad, "; ") + more
}

// Device is what the plan knows of an agent's device.
func (a *Agent) Device() *protocol.Device {
	return &protocol.Device{MemoryMB: a.MemoryMB, Cores: a.Cores, StorageMB: a.StorageMB}
}

// runs reports whether the content has a part of a workflow.
func (c *Content) runs(name protocol.WorkflowName) bool {
	for i := range c.Assignments {
		if c.Assignments[i].Workflow == name {
			return true
		}
	}
	for i := range c.Hosts {
		if c.Hosts[i].Workflow == name {
			return true
		}
	}
	return false
}

// Demands adds up what the content asks of its agent's device.
func (c *Content) Demands() *protocol.Demands {
	doc := c.Desired(0, 0, 0)
	releases := make(map[protocol.Digest]*Release, len(c.of))
	for _, r := range c.of {
		releases[r.Ref.Digest] = r
	}
	return DemandsOf(&doc, c.agent, releases)
}

// DemandsOf adds up what a document asks of the device of a, to whom it goes.
func DemandsOf(doc *protocol.Desired, a *Agent, releases map[protocol.Digest]*Release) *protocol.Demands {
	sum := &protocol.Demands{}
	for i := range doc.Assignments {
		as := &doc.Assignments[i]
		sum.Step(as.Workflow, &as.Trigger)
		for k := range as.Actions {
			sum.Step(as.Workflow, &as.Actions[k])
		}
		for k := range as.Outputs {
			sum.Step(as.Workflow, &as.Outputs[k])
		}
	}
	for i := range doc.Hosts {
		sum.Step(doc.Hosts[i].Workflow, &doc.Hosts[i].Step)
	}
	for _, ref := range doc.Releases {
		sum.File(ref.Digest, ref.Size)
		r := releases[ref.Digest]
		if r == nil {
			continue
		}
		if choice, err := Choose(r, a); err == nil {
			for _, f := range r.filesFor(choice.Platform) {
				sum.File(f.Digest, f.Size)
			}
		}
	}
	return sum
}
