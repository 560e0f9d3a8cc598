package sim

import (
	"cmp"
	"math"
	"slices"

	"github.com/stavily/stavily/hub"
	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/sim/expr"
	"github.com/stavily/stavily/sim/report"
)

// deployTell is one deployment, or one wave of it, on its way to its agents.
type deployTell struct {
	name    string
	rollout string // tells those of one workflow apart
	wave    int    // from 1; 0 without waves
	at      int64
	agents  int
	reached []int64 // after at, ascending
	outcome string  // of a wave: see report.Deployed
	reason  string
	ended   int64 // of a wave that has an outcome
}

// pendingDeploy is a deployment that an agent has not reported yet.
type pendingDeploy struct {
	of       *deployTell
	revision uint64
}

// deployed takes in that a deployment without waves changes what d is to do. Those for whom a
// wave does are known already.
func (t *teller) deployed(name string, d *device, revision uint64) {
	if t.of(d).planned >= revision {
		return
	}
	n := len(t.deploys)
	if n == 0 || t.deploys[n-1].name != name || t.deploys[n-1].at != t.w.now || t.deploys[n-1].wave > 0 {
		t.begins(&deployTell{name: name, at: t.w.now})
	}
	t.planned(t.deploys[len(t.deploys)-1], d, revision)
}

func (t *teller) begins(of *deployTell) *deployTell {
	t.deploys = append(t.deploys, of)
	t.lastDeploy = t.w.now
	return of
}

func (t *teller) planned(of *deployTell, d *device, revision uint64) {
	of.agents++
	t.of(d).planned = revision
	t.of(d).deploys = append(t.of(d).deploys, pendingDeploy{of, revision})
}

// moved takes in a step of a rollout: its wave ends, or goes on with more agents.
func (t *teller) moved(m *hub.Moved) {
	name := string(m.Workflow)
	of := t.wave(name)
	if of != nil && (m.Returned || m.Done || m.Wave+1 > of.wave || m.ID != of.rollout) {
		t.ends(of, m)
		of = nil
	}
	switch {
	case m.Returned && len(m.Agents) > 0:
		of = t.begins(&deployTell{name: name + " (taken back)", at: t.w.now})
	case of == nil && !m.Returned && (!m.Done || len(m.Agents) > 0):
		of = t.begins(&deployTell{name: name, rollout: m.ID, wave: m.Wave + 1, at: t.w.now})
		if m.Done { // it holds for the rest, who follow the last wave
			of.wave = m.Waves + 1
			of.outcome, of.ended = report.WaveDone, t.w.now
		}
	}
	if of == nil {
		return
	}
	if m.Paused {
		of.outcome, of.reason, of.ended = report.WaveWaits, m.Reason, t.w.now
	} else if of.outcome == report.WaveWaits { // somebody had it go on
		of.outcome, of.reason, of.ended = "", "", 0
	}
	t.given(of, m.Agents)
}

func (t *teller) ends(of *deployTell, m *hub.Moved) {
	of.ended, of.outcome = t.w.now, report.WavePassed
	switch {
	case m.ID != of.rollout:
		of.outcome = report.WaveReplaced
	case m.Returned:
		of.outcome, of.reason = report.WaveReturned, m.Reason
	case m.Done:
		of.outcome = report.WaveDone
	}
}

// wave returns the wave of a workflow that is under way; nil for none.
func (t *teller) wave(name string) *deployTell {
	for _, of := range slices.Backward(t.deploys) {
		if of.name != name {
			continue
		}
		if of.wave > 0 && (of.outcome == "" || of.outcome == report.WaveWaits) {
			return of
		}
		return nil
	}
	return nil
}

// rollout returns a figure of a workflow's newest rollout.
func (t *teller) rollout(figure, workflow string) expr.Value {
	outcomes := map[string]string{
		"rollout.done": report.WaveDone, "rollout.returned": report.WaveReturned, "rollout.waits": report.WaveWaits,
	}
	for _, of := range slices.Backward(t.deploys) {
		if of.name != workflow || of.wave == 0 {
			continue
		}
		if figure == "rollout.wave" {
			return num(float64(of.wave))
		}
		return truth(of.outcome == outcomes[figure])
	}
	return num(0)
}

func (t *teller) given(of *deployTell, changes []api.AgentChange) {
	for i := range changes {
		c := &changes[i]
		if d := t.w.byName[string(c.Agent)]; d != nil && c.Changed {
			t.planned(of, d, c.Revision)
		}
	}
}

// arrived takes in that d has reported a revision.
func (t *teller) arrived(d *device, revision uint64) {
	of := t.of(d)
	of.deploys = slices.DeleteFunc(of.deploys, func(p pendingDeploy) bool {
		if revision < p.revision {
			return false
		}
		took := t.w.now - p.of.at
		p.of.reached = append(p.of.reached, took)
		t.converging.add(took)
		t.groups[d.of.Group].converging.add(took)
		return true
	})
}

// deployments returns how each deployment spread.
func (t *teller) deployments() []report.Deployed {
	out := make([]report.Deployed, 0, len(t.deploys))
	for _, d := range t.deploys {
		when := func(share float64) int64 {
			n := int(math.Ceil(share * float64(d.agents)))
			if n == 0 || n > len(d.reached) {
				return -1
			}
			return d.reached[n-1] / 1e6
		}
		out = append(out, report.Deployed{
			Workflow: d.name, Wave: d.wave, AtMS: d.at / 1e6, Agents: d.agents, Reached: len(d.reached),
			HalfMS: when(0.5), MostMS: when(0.95), AllMS: when(1),
			Outcome: d.outcome, Reason: d.reason, EndMS: d.ended / 1e6,
		})
	}
	slices.SortStableFunc(out, func(a, b report.Deployed) int { return cmp.Compare(a.AtMS, b.AtMS) })
	return out
}
