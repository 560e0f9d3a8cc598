package sim

import (
	"fmt"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/sim/report"
)

// recordAgeMax is how old a record may be that waits in an agent which has converged.
const recordAgeMax = 2 * time.Minute

// convergeCheck: once the faults are over, all converge within the scenario's bound:
// each agent holds and reports what the hub wants, runs it, and has told what it had to
// tell.
type convergeCheck struct{ rule }

func newConvergeCheck(w *World) *convergeCheck {
	return &convergeCheck{rule{w: w, name: "converge", text: "once the faults are over, all converge"}}
}

func (c *convergeCheck) ended() {
	pending := c.w.pending(true)
	for _, p := range pending[:min(len(pending), violationsMax)] {
		c.holds(false, c.w.byName[p.Agent], "not converged %s after the last fault: %s", c.w.scenario.Settle, p.Why)
	}
	c.checked += uint64(len(c.w.devices) - min(len(pending), violationsMax))
}

// pending returns the agents that have not converged, by name, and why. With all unset
// it stops at the first.
func (w *World) pending(all bool) []report.Pending {
	var out []report.Pending
	wants, err := w.wants()
	if err != nil {
		return []report.Pending{{Agent: "hub", Why: err.Error()}}
	}
	for _, d := range w.devices {
		if why := d.pending(wants[d.addr.Agent]); why != "" {
			out = append(out, report.Pending{Agent: string(d.addr.Agent), Why: why})
			if !all {
				break
			}
		}
	}
	return out
}

// want is what the hub's books say of one agent.
type want struct {
	revision uint64
	digest   protocol.Digest
	reported protocol.Digest
}

// wants reads the hub's books.
func (w *World) wants() (map[protocol.AgentName]want, error) {
	if w.real != nil && w.real.wants != nil {
		return w.real.wants, nil
	}
	if w.hub.hub == nil {
		return nil, fmt.Errorf("the hub is away")
	}
	agents, err := w.hub.hub.Agents()
	out := make(map[protocol.AgentName]want, len(agents))
	for i := range agents {
		out[agents[i].Address.Agent] = wantOf(&agents[i])
	}
	return out, err
}

// pending says what d waits for, empty when it has converged.
func (d *device) pending(hub want) string {
	switch {
	case d.retired:
		return ""
	case d.agent == nil:
		return "it is off"
	case d.line.closed():
		return "" // between its times there is no line to converge over
	case !d.line.up && d.body != nil && d.body.unrenewed != "":
		return "its line is down: certificate not renewed: " + d.body.unrenewed
	case !d.line.up:
		return "its line is down"
	}
	s := d.status()
	switch {
	case s.DiskRefuses:
		return "its disk takes nothing"
	case s.Digest != hub.digest && s.Refused != nil:
		return fmt.Sprintf("holds revision %d, refused %d (%s: %s), the hub wants %d", s.Revision,
			s.Refused.Revision, s.Refused.Error.Code, s.Refused.Error.Text, hub.revision)
	case s.Digest != hub.digest:
		return fmt.Sprintf("holds revision %d, the hub wants %d", s.Revision, hub.revision)
	case hub.reported != hub.digest:
		return fmt.Sprintf("holds revision %d and has not reported it", s.Revision)
	}
	for _, a := range s.Assignments {
		if a.Phase != protocol.PhaseRunning && (a.Phase != protocol.PhaseFailed || a.Error == nil) {
			return fmt.Sprintf("workflow %s is %s", a.Workflow, a.Phase)
		}
	}
	if age := d.oldest(); age > recordAgeMax {
		return fmt.Sprintf("a record has waited %s for the hub", age.Round(time.Second))
	}
	return ""
}

var _ check = (*convergeCheck)(nil)
