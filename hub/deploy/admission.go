package deploy

import (
	"fmt"
	"strings"

	"github.com/stavily/stavily/protocol"
)

// Overcommit is how often the limits of all that an agent runs may have what its device has:
// not all of them are used up at one time. 0 does not look.
type Overcommit struct{ Memory, CPU float64 }

// DefaultOvercommit takes memory eight times: a plugin that says nothing may have 64 MB and
// uses two to five, and the device's host holds all of them together to half of its memory.
// Processors, which only make plugins wait, it takes sixteen times.
func DefaultOvercommit() Overcommit { return Overcommit{Memory: 8, CPU: 16} }

// sayAgents is how many agents an error names.
const sayAgents = 5

// Admit refuses a plan in which the sums of max_memory_mb or max_cpu_cores of all that an
// agent runs do not fit its device, where d has a part in it. The error names the agents, and
// workflow by workflow what each wants. A device that has not said what it has is not held to
// anything (M-17, M-18).
func Admit(d *Deployment, contents []Content, agents []Agent, times Overcommit) error {
	devices := make(map[protocol.Address]*Agent, len(agents))
	for i := range agents {
		devices[agents[i].Address] = &agents[i]
	}
	var bad []string
	for i := range contents {
		a := devices[contents[i].Address]
		if a == nil || !contents[i].runs(d.Workflow.Name) {
			continue
		}
		if text := contents[i].beyond(a, times); text != "" {
			bad = append(bad, text)
		}
	}
	if len(bad) == 0 {
		return nil
	}
	more := ""
	if n := len(bad) - sayAgents; n > 0 {
		bad, more = bad[:sayAgents], fmt.Sprintf("; and %d agents more", n)
	}
	return d.Workflow.Errorf("trigger.at", "the limits of all that would run do not fit: %s%s",
		strings.Join(bad, "; "), more)
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

// want is what one workflow wants of an agent.
type want struct {
	workflow protocol.WorkflowName
	memoryMB int64
	cores    float64
}

// wants returns what each workflow wants, in the order of the document.
func (c *Content) wants() (out []want) {
	add := func(name protocol.WorkflowName, l protocol.Limits) {
		at := len(out) - 1
		for at >= 0 && out[at].workflow != name {
			at--
		}
		if at < 0 {
			out = append(out, want{workflow: name})
			at = len(out) - 1
		}
		out[at].memoryMB += int64(l.MemoryMB)
		out[at].cores += l.CPUCores
	}
	for i := range c.Assignments {
		as := &c.Assignments[i]
		add(as.Workflow, as.Trigger.Limits)
		for k := range as.Actions {
			add(as.Workflow, as.Actions[k].Limits)
		}
		for k := range as.Outputs {
			add(as.Workflow, as.Outputs[k].Limits)
		}
	}
	for i := range c.Hosts {
		add(c.Hosts[i].Workflow, c.Hosts[i].Step.Limits)
	}
	return out
}

// beyond says what does not fit, empty when all does.
func (c *Content) beyond(a *Agent, times Overcommit) string {
	var memory int64
	var cores float64
	var ofMemory, ofCores []string
	for _, w := range c.wants() {
		memory, cores = memory+w.memoryMB, cores+w.cores
		ofMemory = append(ofMemory, fmt.Sprintf("%s %d", w.workflow, w.memoryMB))
		ofCores = append(ofCores, fmt.Sprintf("%s %.4g", w.workflow, w.cores))
	}
	switch {
	case a.MemoryMB > 0 && times.Memory > 0 && float64(memory) > float64(a.MemoryMB)*times.Memory:
		return fmt.Sprintf("agent %s: max_memory_mb: %d MB wanted, it has %d MB, to be promised %g times: %s",
			a.Address,
			memory, a.MemoryMB, times.Memory, strings.Join(ofMemory, ", "))
	case a.Cores > 0 && times.CPU > 0 && cores > float64(a.Cores)*times.CPU:
		return fmt.Sprintf("agent %s: max_cpu_cores: %.4g wanted, it has %d, to be promised %g times: %s",
			a.Address,
			cores, a.Cores, times.CPU, strings.Join(ofCores, ", "))
	}
	return ""
}
