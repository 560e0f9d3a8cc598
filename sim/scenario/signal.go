package scenario

import (
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/stavily/stavily/text/strict"
)

// signalKeys has the options first: reading a trace needs them.
var signalKeys = []key[Signal]{
	{
		"speed",
		"replay: how many times faster",
		formTimes,
		false,
		set(parseTimes, func(s *Signal) *float64 { return &s.Speed }),
	},
	{"offset", "replay: where to begin, or random", anyOf(formDuration, enum("random")), false, readOffset},
	{
		"column",
		"replay: the column of the value, by its head",
		formText,
		false,
		set(parsePath, func(s *Signal) *string {
			return &s.column
		}),
	},
	{
		"gaps", "replay: where rows are missing, hold lets the value stand, line goes straight to the next one",
		enum("hold", "line"), false, readGaps,
	},
	{"constant", "always this number", formNumber, false, kind(Constant, set(parseNumber, value1))},
	{"walk", "a random walk", object(walkKeys), false, kind(Walk, table(walkKeys))},
	{"sine", "a day's or a machine's swing", object(sineKeys), false, kind(Sine, table(sineKeys))},
	{"step", "one number, and from a time on another", object(stepKeys), false, kind(StepUp, table(stepKeys))},
	{"poisson", "happenings at random, so many in so long", formRate, false, kind(Poisson, set(parseRate,
		func(s *Signal) *float64 { return &s.Rate }))},
	{"replay", "a recorded trace: CSV of time and value", formText, false, kind(Replay, readTrace)},
}

func value1(s *Signal) *float64 { return &s.Value }

var walkKeys = []key[Signal]{
	{"start", "the first value", formNumber, true, set(parseNumber, value1)},
	{
		"step",
		"the most by which it moves at once",
		formNumber,
		true,
		set(parseNumber, func(s *Signal) *float64 { return &s.Step }),
	},
	{
		"min",
		"it goes no lower",
		formNumber,
		true,
		set(parseNumber, func(s *Signal) *float64 { return &s.Min }),
	},
	{
		"max",
		"it goes no higher",
		formNumber,
		true,
		set(parseNumber, func(s *Signal) *float64 { return &s.Max }),
	},
	{
		"every",
		"time between two moves; 1m when left out",
		formDuration,
		false,
		readLasting(func(s *Signal) *time.Duration {
			return &s.Every
		}),
	},
}

var sineKeys = []key[Signal]{
	{"mean", "the middle", formNumber, true, set(parseNumber, value1)},
	{
		"amplitude",
		"how far it goes from there",
		formNumber,
		true,
		set(parseNumber, func(s *Signal) *float64 { return &s.Amplitude }),
	},
	{
		"period",
		"one swing",
		formDuration,
		true,
		readLasting(func(s *Signal) *time.Duration { return &s.Period }),
	},
	{
		"phase",
		"how far along it begins",
		formDuration,
		false,
		set(parsePositive, func(s *Signal) *time.Duration { return &s.Phase }),
	},
}

var stepKeys = []key[Signal]{
	{"from", "the first value", formNumber, true, set(parseNumber, value1)},
	{"to", "the value after", formNumber, true, set(parseNumber, func(s *Signal) *float64 { return &s.To })},
	{"at", "when", formMoment, true, readMoment(func(s *Signal) *time.Duration { return &s.At })},
}

// kind notes which kind a key means, and reads it.
func kind(k SignalKind, read func(value, *Signal)) func(value, *Signal) {
	return func(v value, s *Signal) {
		if s.Kind != "" {
			v.errorf("a signal is of one kind; this one has %s and %s", s.Kind, k)
			return
		}
		s.Kind = k
		read(v, s)
	}
}

func table[T any](keys []key[T]) func(value, *T) {
	return func(v value, into *T) { fields(v, keys, into) }
}

func readSignals(v value, g *Group) {
	v.pairs(func(name string, at *yaml.Node, item value) {
		if !isName(name) {
			v.r.at(at, item.path, "%q is no name; want a-z, 0-9, - and .", strict.Clip(name))
		}
		s := Signal{Name: name, Every: time.Minute, Speed: 1, Pos: item.pos()}
		before := len(v.r.Errors())
		fields(item, signalKeys, &s)
		if before == len(v.r.Errors()) {
			s.check(item)
		}
		g.Signals = append(g.Signals, s)
	})
	slices.SortFunc(g.Signals, func(a, b Signal) int { return strings.Compare(a.Name, b.Name) })
}

func (s *Signal) check(v value) {
	for _, name := range []string{"speed", "offset", "column", "gaps"} {
		if at, has := v.lookup(name); has && s.Kind != Replay {
			at.errorf("only replay has it")
		}
	}
	switch {
	case s.Kind == "":
		v.errorf("no kind of signal; want constant, walk, sine, step, poisson or replay")
	case s.Kind == Walk && (s.Min > s.Value || s.Value > s.Max || s.Step <= 0):
		v.errorf("walk: want min <= start <= max and a step above 0")
	case s.Kind == Replay && s.Trace != nil && s.Offset >= s.Trace.Length:
		v.errorf(
			"offset %s is after the trace's end at %s",
			formatDuration(s.Offset),
			formatDuration(s.Trace.Length),
		)
	}
}

func readOffset(v value, s *Signal) {
	if s.Random = v.node.Value == "random"; !s.Random {
		set(parsePositive, func(s *Signal) *time.Duration { return &s.Offset })(v, s)
	}
}

func readGaps(v value, s *Signal) {
	switch v.node.Value {
	case "line":
		s.Line = true
		s.hold = true
	case "hold":
		s.hold = true
	default:
		v.errorf("%q, want hold or line", strict.Clip(v.node.Value))
	}
}
