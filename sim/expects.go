package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/stavily/stavily/sim/report"
	"github.com/stavily/stavily/sim/scenario"
)

// expects are what the scenario says must hold, and what has become of it.
type expects struct {
	t   *teller
	all []report.Expect
	// settled says that the outcome is known.
	settled []bool
}

func newExpects(t *teller) expects {
	e := expects{t: t}
	for i := range t.w.scenario.Expects {
		of := &t.w.scenario.Expects[i]
		e.all = append(e.all, report.Expect{
			Index: of.Index, Line: of.Pos.Line, Kind: string(of.Kind), Text: of.Text, Repeat: t.w.repeat,
			Held: of.Kind == scenario.Always || of.Kind == scenario.Never || of.Kind == scenario.AfterFaults,
		})
	}
	e.settled = make([]bool, len(e.all))
	return e
}

// look holds the fleet as it is now against what is expected.
func (e *expects) look() {
	for i := range e.all {
		of := &e.t.w.scenario.Expects[i]
		if e.settled[i] || of.Cond == nil {
			continue
		}
		now := time.Duration(e.t.w.now)
		switch of.Kind {
		case scenario.Always:
			e.must(i, of, true)
		case scenario.Never:
			e.must(i, of, false)
		case scenario.AfterFaults:
			f := &e.t.w.faults
			if f.none(e.t.w.now) && now >= time.Duration(f.ended)+of.Within {
				e.must(i, of, true)
			}
		case scenario.Eventually:
			e.eventually(i, of, now)
		case scenario.SLO:
		}
	}
}

// must breaks the expectation when its condition is not as wanted, of the fleet or of
// any agent.
func (e *expects) must(i int, of *scenario.Expect, wanted bool) {
	if !of.PerAgent() {
		if src := (fleetSource{e.t}); of.Cond.Holds(src) != wanted {
			e.breaks(i, of, nil, src)
		}
		return
	}
	for _, d := range e.t.w.devices {
		if src := (agentSource{fleetSource{e.t}, d}); of.Cond.Holds(src) != wanted {
			e.breaks(i, of, d, src)
			return
		}
	}
}

func (e *expects) eventually(i int, of *scenario.Expect, now time.Duration) {
	out := &e.all[i]
	holds := true
	if of.PerAgent() {
		for _, d := range e.t.w.devices {
			holds = holds && of.Cond.Holds(agentSource{fleetSource{e.t}, d})
		}
	} else {
		holds = of.Cond.Holds(fleetSource{e.t})
	}
	switch {
	case holds && (of.Within == 0 || now <= of.Within):
		out.Held, out.AtMS, e.settled[i] = true, now.Milliseconds(), true
	case of.Within > 0 && now > of.Within:
		e.breaks(i, of, nil, fleetSource{e.t})
	}
}

// breaks notes that an expectation did not hold, and the values that decided.
func (e *expects) breaks(i int, of *scenario.Expect, d *device, src source) {
	out := &e.all[i]
	out.Held, out.AtMS, e.settled[i] = false, e.t.w.now/1e6, true
	var words []string
	for _, v := range of.Cond.Values(src) {
		words = append(words, v.Name+" = "+v.Value)
	}
	out.Detail = strings.Join(words, ", ")
	if out.Cause, out.Look = e.t.w.cause(d), e.t.w.look(d); d != nil {
		out.Agent = d.stats.Name
	}
	e.t.w.trace.note(e.t.w.now, d, "expectation broken", []byte(of.Text))
}

// result settles what is still open and returns all.
func (e *expects) result() []report.Expect {
	e.look()
	for i := range e.all {
		of := &e.t.w.scenario.Expects[i]
		switch {
		case of.Kind == scenario.SLO:
			e.slo(i, of)
		case of.Kind == scenario.Eventually && !e.settled[i]:
			e.breaks(i, of, nil, fleetSource{e.t})
		}
	}
	return e.all
}

func (e *expects) slo(i int, of *scenario.Expect) {
	out := &e.all[i]
	out.Held, out.AtMS = true, e.t.w.now/1e6
	h := e.histogram(of)
	var words []string
	for _, q := range of.Quantiles {
		got := h.ms(q.Q)
		words = append(words, fmt.Sprintf("p%g = %d ms of %d", 100*q.Q, got, h.total))
		out.Held = out.Held && float64(got) <= q.Max && h.total > 0
	}
	out.Detail = strings.Join(words, ", ")
}

func (e *expects) histogram(of *scenario.Expect) *histogram {
	all := groupTell{e.t.delays, e.t.runTimes, e.t.converging}
	for i := range e.t.w.scenario.Fleet {
		if of.Group != "" && e.t.w.scenario.Fleet[i].Name == of.Group {
			all = e.t.groups[i]
		}
	}
	switch of.Metric {
	case "run_ms":
		return &all.runTimes
	case "converge_ms":
		return &all.converging
	default:
		return &all.delays
	}
}
