package sim

import (
	"math"
	"sort"
	"time"

	"github.com/stavily/stavily/sim/scenario"
)

// catchUpMax bounds the steps of a walk or the happenings that are drawn for one look at
// a signal that nobody looked at for long; what is further back is skipped.
const catchUpMax = 100_000

// signal is one figure of one device over time. Its value follows from the time alone
// and not from how often it was looked at, as long as time runs forward.
type signal struct {
	of    *scenario.Signal
	rng   stream
	steps int64 // walk: taken so far
	value float64
	next  int64 // poisson: the next happening
	phase time.Duration
}

func newSignal(of *scenario.Signal, rng stream) signal {
	s := signal{of: of, rng: rng, value: of.Value}
	switch of.Kind {
	case scenario.Poisson:
		s.value, s.next = 0, math.MaxInt64
		if of.Rate > 0 {
			s.next = int64(s.rng.gap(of.Rate))
		}
	case scenario.Replay:
		if s.phase = of.Offset; of.Random {
			s.phase = s.rng.upTo(of.Trace.Length)
		}
	default:
	}
	return s
}

// at returns the value at a moment of the world.
func (s *signal) at(now int64) float64 {
	of := s.of
	switch of.Kind {
	case scenario.Walk:
		return s.walk(now)
	case scenario.Sine:
		turn := float64(now+int64(of.Phase)) / float64(of.Period)
		return of.Value + of.Amplitude*math.Sin(2*math.Pi*turn)
	case scenario.StepUp:
		if now >= int64(of.At) {
			return of.To
		}
		return of.Value
	case scenario.Poisson:
		return s.count(now)
	case scenario.Replay:
		return s.replay(now)
	default:
		return of.Value
	}
}

func (s *signal) walk(now int64) float64 {
	want := now / max(1, int64(s.of.Every))
	s.steps = max(s.steps, want-catchUpMax)
	for ; s.steps < want; s.steps++ {
		s.value += (2*s.rng.unit() - 1) * s.of.Step
		s.value = min(max(s.value, s.of.Min), s.of.Max)
	}
	return s.value
}

func (s *signal) count(now int64) float64 {
	for n := 0; s.next <= now && n < catchUpMax; n++ {
		s.value++
		s.next += int64(s.rng.gap(s.of.Rate))
	}
	return s.value
}

func (s *signal) replay(now int64) float64 {
	t := s.of.Trace
	speed := s.of.Speed
	if speed <= 0 {
		speed = 1
	}
	at := (s.phase + time.Duration(float64(now)*speed)) % t.Length
	n := sort.Search(len(t.Points), func(i int) bool { return t.Points[i].At > at })
	from := t.Points[max(0, n-1)]
	if !s.of.Line {
		return from.Value
	}
	to, end := t.Points[0].Value, t.Length // behind the last one the first comes again
	if n < len(t.Points) {
		to, end = t.Points[n].Value, t.Points[n].At
	}
	return from.Value + (to-from.Value)*float64(at-from.At)/float64(end-from.At)
}
