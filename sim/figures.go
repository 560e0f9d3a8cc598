package sim

import (
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/sim/expr"
)

// source is where conditions get their figures.
type source = expr.Source

// fleetSource gives the figures of the fleet as a whole.
type fleetSource struct{ t *teller }

// agentSource gives those of one agent too.
type agentSource struct {
	fleetSource
	d *device
}

func num(n float64) expr.Value { return expr.Value{Num: n} }

func count(n uint64) expr.Value { return num(float64(n)) }

func truth(b bool) expr.Value {
	if b {
		return num(1)
	}
	return num(0)
}

func share(part, of uint64) expr.Value {
	if of == 0 {
		return num(0)
	}
	return num(float64(part) / float64(of))
}

// Field returns a figure of the fleet.
func (s fleetSource) Field(name string) expr.Value {
	t := s.t
	all := t.sums()
	switch name {
	case "fleet.agents":
		return s.sum(func(*device) uint64 { return 1 })
	case "fleet.online":
		return s.part(func(d *device) bool { return d.line.up })
	case "fleet.converged":
		return s.part(t.converged)
	case "fleet.restarts":
		return s.sum(func(d *device) uint64 { return max(d.boots, 1) - 1 })
	case "fleet.bytes_up":
		return count(all.BytesUp)
	case "fleet.bytes_down":
		return count(all.BytesDown)
	case "fleet.bytes":
		return count(all.BytesUp + all.BytesDown)
	case "runs.fired", "alerts.raised":
		return count(all.Fired)
	case "runs.ended":
		return count(all.Ended)
	case "runs.failed":
		return count(all.Failed)
	case "runs.open":
		return s.sum(func(d *device) uint64 { return uint64(len(d.open) + len(t.of(d).waiting)) })
	case "runs.dropped":
		return count(all.Dropped)
	case "runs.limited":
		return s.sum(func(d *device) uint64 { return t.of(d).limited })
	case "runs.repeated":
		return s.sum(func(d *device) uint64 { return t.of(d).repeated })
	case "runs.failed_share":
		return share(all.Failed, all.Ended)
	case "alerts.delivered":
		return count(all.Delivered)
	case "alerts.lost":
		return count(all.Lost)
	case "alerts.duplicated":
		return count(all.Duplicated)
	case "alerts.worst_delay":
		return num(float64(all.MaxDelayMS) / 1e3)
	default:
		return s.other(name, all.BytesUp+all.BytesDown)
	}
}

// other returns the rest of the fleet's figures.
func (s fleetSource) other(name string, bytes uint64) expr.Value {
	t, w := s.t, s.t.w
	now := time.Duration(w.now)
	switch name {
	case "outbox.bytes":
		return s.sum((*device).outbox)
	case "outbox.max_bytes":
		return s.most((*device).outbox)
	case "outbox.max_age":
		oldest := s.most(func(d *device) uint64 { return uint64(d.oldest()) })
		return num(oldest.Num / float64(time.Second))
	case "alarms.dropped":
		return count(t.alarmsDropped)
	case "alarms.max_age":
		oldest := s.most(func(d *device) uint64 { return uint64(d.oldestOf(protocol.LaneAlarm)) })
		return num(oldest.Num / float64(time.Second))
	case "hub.up":
		return truth(w.hubUp())
	case "hub.refused":
		return count(t.totals.Refused)
	case "hub.bytes_per_agent_day":
		return num(float64(bytes) / float64(len(w.devices)) / max(1, now.Hours()) * 24)
	case "time.since_start":
		return num(now.Seconds())
	case "time.since_deploy":
		return num((now - time.Duration(t.lastDeploy)).Seconds())
	case "time.since_faults":
		if w.faults.lasts > 0 {
			return num(0)
		}
		return num((now - time.Duration(w.faults.ended)).Seconds())
	default:
		return num(0)
	}
}

func (s fleetSource) part(is func(*device) bool) expr.Value {
	n := s.sum(func(d *device) uint64 {
		if is(d) {
			return 1
		}
		return 0
	})
	return share(uint64(n.Num), uint64(s.sum(func(*device) uint64 { return 1 }).Num))
}

func (s fleetSource) sum(of func(*device) uint64) expr.Value {
	var n uint64
	for _, d := range s.t.w.devices {
		if !d.retired {
			n += of(d)
		}
	}
	return count(n)
}

func (s fleetSource) most(of func(*device) uint64) expr.Value {
	var n uint64
	for _, d := range s.t.w.devices {
		if !d.retired {
			n = max(n, of(d))
		}
	}
	return count(n)
}

// Call returns a figure that needs a name.
func (s fleetSource) Call(name, arg string) expr.Value {
	w := s.t.w
	switch name {
	case "fleet.active":
		return s.active(protocol.WorkflowName(arg))
	case "rollout.wave", "rollout.done", "rollout.returned", "rollout.waits":
		return s.t.rollout(name, arg)
	case "runs.of":
		return count(s.t.byWorkflow[arg])
	case "signal":
		sum, n := 0.0, 0.0
		for _, d := range w.devices {
			if sig := d.signal(arg); sig != nil {
				sum += sig.at(w.now)
				n++
			}
		}
		return num(sum / max(1, n))
	default:
		return num(0)
	}
}

// active returns the share of the agents that a workflow is for which run it and have
// reported so.
func (s fleetSource) active(name protocol.WorkflowName) expr.Value {
	var active, all uint64
	for _, d := range s.t.w.devices {
		if d.agent == nil || d.retired || s.t.of(d).want.IsZero() {
			continue
		}
		for _, a := range d.status().Assignments {
			if a.Workflow != name {
				continue
			}
			all++
			if a.Phase == protocol.PhaseRunning && s.t.converged(d) {
				active++
			}
		}
	}
	return share(active, all)
}

// Field returns a figure of the agent, or of the fleet.
func (s agentSource) Field(name string) expr.Value {
	d := s.d
	switch name {
	case "agent.name":
		return expr.Value{Text: d.stats.Name}
	case "agent.group":
		return expr.Value{Text: d.stats.Group}
	case "agent.site":
		return expr.Value{Text: d.stats.Site}
	case "agent.platform":
		return expr.Value{Text: d.stats.Platform}
	case "agent.class.memory":
		return num(float64(d.of.Class.MemoryMiB) * (1 << 20))
	case "agent.class.flash":
		return num(float64(d.of.Class.FlashMiB) * (1 << 20))
	case "agent.online":
		return truth(d.line.up)
	case "agent.converged":
		return truth(s.t.converged(d))
	case "agent.revision":
		return count(s.t.of(d).reported.Revision)
	case "agent.fired":
		return count(d.stats.Fired)
	case "agent.failed":
		return count(d.stats.Failed)
	case "agent.dropped":
		return count(d.stats.Dropped)
	case "agent.restarts":
		return count(max(d.boots, 1) - 1)
	case "agent.bytes_up":
		return count(d.stats.BytesUp)
	case "agent.bytes_down":
		return count(d.stats.BytesDown)
	case "agent.bytes":
		return count(d.stats.BytesUp + d.stats.BytesDown)
	case "agent.bytes_day":
		return count(d.bytesToday())
	case "agent.limited":
		return count(s.t.of(d).limited)
	case "agent.repeated":
		return count(s.t.of(d).repeated)
	case "agent.ran_unsealed":
		return truth(s.t.of(d).unsealed)
	default:
		return s.more(name)
	}
}

// more returns the rest of the agent's figures, and those of the fleet.
func (s agentSource) more(name string) expr.Value {
	d := s.d
	switch name {
	case "agent.renewals":
		return count(d.stats.Renewals)
	case "agent.retired":
		return truth(d.retired)
	case "agent.lost":
		return count(d.stats.Lost)
	case "agent.delivered":
		return count(d.stats.Delivered)
	case "agent.duplicated":
		return count(d.stats.Duplicated)
	case "agent.reordered":
		return count(d.stats.Reordered)
	case "agent.travel_mean":
		return num(float64(s.t.of(d).travel) / 1e9 / float64(max(1, d.stats.Ended)))
	case "agent.travel_max":
		return num(float64(d.stats.MaxMS) / 1e3)
	case "agent.memory":
		return count(d.plugins.memory())
	case "agent.disk":
		return num(float64(d.disk.bytes))
	case "agent.outbox.bytes":
		return count(d.outbox())
	case "agent.outbox.max_age":
		return num(d.oldest().Seconds())
	default:
		return s.fleetSource.Field(name)
	}
}

var (
	_ expr.Source = fleetSource{}
	_ expr.Source = agentSource{}
)
