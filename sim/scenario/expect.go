package scenario

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stavily/stavily/sim/expr"
	"github.com/stavily/stavily/text/nearest"
	"github.com/stavily/stavily/text/strict"
)

var expectKeys = []key[Expect]{
	{"always", "true at every sample", text("a condition"), false, readCond(Always)},
	{"never", "true at no sample", text("a condition"), false, readCond(Never)},
	{"eventually", "true at some time", anyOf(formText, object(withinKeys)), false, readWithin(Eventually)},
	{
		"after_faults",
		"true once the faults are over",
		anyOf(formText, object(withinKeys)),
		false,
		readWithin(AfterFaults),
	},
	{"slo", "quantiles that stay below a bound", object(sloKeys), false, readSLO},
}

var withinKeys = []key[Expect]{
	{"cond", "the condition", text("a condition"), true, func(v value, e *Expect) {
		e.Cond = readExpr(v, Figures)
		e.Text = v.node.Value
	}},
	{
		"within",
		"in what time at the latest",
		formDuration,
		true,
		readLasting(func(e *Expect) *time.Duration { return &e.Within }),
	},
}

var sloKeys = []key[Expect]{
	{
		"metric",
		"what is bounded",
		enum("run_ms", "delay_ms", "converge_ms"),
		true,
		set(parseMetric, func(e *Expect) *string {
			return &e.Metric
		}),
	},
	{
		"group",
		"of which group; all when left out",
		formName,
		false,
		readName(func(e *Expect) *string { return &e.Group }),
	},
	{"p50", "half are below", formNumber, false, quantile(0.5)},
	{"p90", "9 in 10 are below", formNumber, false, quantile(0.9)},
	{"p95", "19 in 20 are below", formNumber, false, quantile(0.95)},
	{"p99", "99 in 100 are below", formNumber, false, quantile(0.99)},
	{"max", "all are below", formNumber, false, quantile(1)},
}

func readExpects(v value, s *Scenario) {
	v.each(func(i int, item value) {
		e := Expect{Index: i, Pos: item.pos()}
		before := len(v.r.Errors())
		fields(item, expectKeys, &e)
		if n := len(item.node.Content) / 2; n != 1 && before == len(v.r.Errors()) {
			item.errorf("%d kinds of expectation in one item, want one", n)
		}
		if e.Within > s.Duration {
			item.errorf(
				"within %s is longer than the scenario, %s",
				formatDuration(e.Within),
				formatDuration(s.Duration),
			)
		}
		s.Expects = append(s.Expects, e)
	})
}

func readCond(k ExpectKind) func(value, *Expect) {
	return func(v value, e *Expect) {
		e.Kind, e.Cond, e.Text = k, readExpr(v, Figures), v.node.Value
	}
}

// readWithin reads {cond, within}, or a condition alone, whose time is settle's for
// after_faults and the whole for eventually.
func readWithin(k ExpectKind) func(value, *Expect) {
	return func(v value, e *Expect) {
		if e.Kind = k; isScalar(v.node) {
			readCond(k)(v, e)
			if e.Within = v.r.s.Duration; k == AfterFaults {
				e.Within = v.r.s.settle()
			}
			return
		}
		fields(v, withinKeys, e)
	}
}

func readSLO(v value, e *Expect) {
	e.Kind = SLO
	before := len(v.r.Errors())
	fields(v, sloKeys, e)
	if before != len(v.r.Errors()) {
		return
	}
	if len(e.Quantiles) == 0 {
		v.errorf("no bound; want p50, p90, p95, p99 or max")
	}
	known := slices.ContainsFunc(v.r.s.Fleet, func(g Group) bool { return g.Name == e.Group })
	if at, has := v.lookup("group"); has && !known {
		at.errorf("no group %q; %s", e.Group, v.r.s.told())
	}
	e.Text = e.Metric
	for _, q := range e.Quantiles {
		e.Text += fmt.Sprintf(" p%g <= %g", q.Q*100, q.Max)
	}
	if e.Group != "" {
		e.Text += " in " + e.Group
	}
}

func quantile(q float64) func(value, *Expect) {
	return func(v value, e *Expect) {
		bound := Quantile{Q: q}
		set(parseNumber, func(b *Quantile) *float64 { return &b.Max })(v, &bound)
		e.Quantiles = append(e.Quantiles, bound)
	}
}

func parseMetric(text string) (string, error) {
	var known []string
	for _, m := range Metrics {
		known = append(known, m.Name)
	}
	if !slices.Contains(known, text) {
		return "", fmt.Errorf("unknown metric %q%s", strict.Clip(text), nearest.Suggest(text, known))
	}
	return text, nil
}

// readExpr reads a condition; nil when there is an error, which is reported at its
// place within the text.
func readExpr(v value, names *expr.Names) *expr.Expr {
	text, ok := v.scalar("a condition")
	if !ok {
		return nil
	}
	e, err := expr.Parse(text, names)
	var wrong *expr.Error
	if errors.As(err, &wrong) {
		v.inside(wrong.Offset, "%s", wrong.Text)
		return nil
	}
	s, before := v.r.s, len(v.r.Errors())
	e.Calls(func(name, arg string, offset int) {
		known, what := s.known(name)
		if what != "" && !slices.Contains(known, arg) {
			v.inside(offset, "%s('%s'): the scenario has no such %s%s", name, arg, what, among(arg, known))
		}
	})
	if before != len(v.r.Errors()) {
		return nil
	}
	return e
}

// known returns what the argument of a call may be, and the word for it; no word when
// it may be anything.
func (s *Scenario) known(call string) (names []string, what string) {
	switch call {
	case "fleet.active", "runs.of":
		for _, d := range s.Deploys {
			if d.Name != "" {
				names = append(names, d.Name)
			}
		}
		what = "workflow"
	case "signal":
		for _, g := range s.Fleet {
			for _, sig := range g.Signals {
				names = append(names, sig.Name)
			}
		}
		what = "signal"
	case "label":
		for _, g := range s.Fleet {
			for _, l := range g.Labels {
				names = append(names, l.Key)
			}
		}
		what = "label"
	}
	return names, what
}

// among is nearest.Suggest where there may be none.
func among(word string, known []string) string {
	if len(known) == 0 {
		return ""
	}
	slices.Sort(known)
	return nearest.Suggest(word, slices.Compact(known))
}

// PerAgent reports whether the expectation is asked of every agent for itself.
func (e *Expect) PerAgent() bool {
	return e.Cond != nil &&
		e.Cond.Mentions(func(name string) bool { return strings.HasPrefix(name, "agent.") })
}
