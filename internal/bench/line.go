package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// line is one measured number and what it is held against.
type line struct {
	metric   string
	value    float64
	unit     string
	baseline string  // what was measured beside it
	base     float64 // in the same unit
	target   target
}

// target is the bound of a line's value, or of its ratio to the baseline.
type target struct {
	bound   float64
	atLeast bool // the value may not be below; else it may not be above
	ofRatio bool
}

// atMost and atLeast bound the value, ratioAtMost its ratio to the baseline.
func atMost(bound float64) target { return target{bound: bound} }

func atLeast(bound float64) target { return target{bound: bound, atLeast: true} }

func ratioAtMost(bound float64) target { return target{bound: bound, ofRatio: true} }

func (l *line) ratio() float64 { return l.value / l.base }

// verdict is ok when the target is met. A number that is none is short.
func (l *line) verdict() string {
	got := l.value
	if l.target.ofRatio {
		got = l.ratio()
	}
	if l.target.atLeast && got >= l.target.bound || !l.target.atLeast && got <= l.target.bound {
		return "ok"
	}
	return "short"
}

// text returns the line of a row as it is printed.
func (l *line) text(id string) string {
	sign := "<="
	if l.target.atLeast {
		sign = ">="
	}
	unit := l.unit
	if l.target.ofRatio {
		unit = "x"
	}
	return strings.Join([]string{
		id, l.metric, amount(l.value, l.unit), l.baseline + " " + amount(l.base, l.unit),
		amount(l.ratio(), "x"), sign + " " + amount(l.target.bound, unit), l.verdict(),
	}, "\t")
}

// amount writes a number to three digits, or whole where it has more.
func amount(v float64, unit string) string {
	var text string
	switch abs := math.Abs(v); {
	case math.IsNaN(v) || math.IsInf(v, 0):
		text = fmt.Sprint(v)
	case abs >= 100:
		text = strconv.FormatFloat(v, 'f', 0, 64)
	default:
		text = strconv.FormatFloat(v, 'g', 3, 64)
	}
	if unit == "x" || strings.HasPrefix(unit, "/") {
		return text + unit
	}
	return text + " " + unit
}

// median returns the middle of values, NaN of none.
func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile returns the value below which the share q of values lies, NaN of none.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

// inTurn measures value and baseline in turn, rounds times, and returns the medians:
// what disturbs the machine meanwhile disturbs both.
func inTurn(rounds int, value, baseline func() (float64, error)) (v, b float64, err error) {
	return inTurnAt(0.5, rounds, value, baseline)
}

// calmInTurn is inTurn for many short rounds: it returns what each takes in the rounds
// that were disturbed least.
func calmInTurn(rounds int, value, baseline func() (float64, error)) (v, b float64, err error) {
	return inTurnAt(calmest, rounds, value, baseline)
}

func inTurnAt(q float64, rounds int, value, baseline func() (float64, error)) (v, b float64, err error) {
	var values, bases []float64
	for range rounds {
		one, err := value()
		if err != nil {
			return 0, 0, err
		}
		other, err := baseline()
		if err != nil {
			return 0, 0, err
		}
		values, bases = append(values, one), append(bases, other)
	}
	return quantile(values, q), quantile(bases, q), nil
}
