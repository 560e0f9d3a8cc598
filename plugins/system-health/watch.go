package main

import "time"

// saved is what outlives a restart: since when the metric has been beyond its
// threshold, and whether that has fired. Times are unix milliseconds of the host.
type saved struct {
	Threshold string `json:"threshold"`
	SinceMS   *int64 `json:"since_ms,omitempty"` // nil: not beyond
	Fired     bool   `json:"fired,omitempty"`
	FiredMS   int64  `json:"fired_ms,omitempty"` // the last time
	SeenMS    int64  `json:"seen_ms"`            // the last measurement
	SteadyMS  int64  `json:"steady_ms"`          // then, by the clock that never jumps
}

// sample is one measurement. steadyMS 0 is a host that knows no steady clock.
type sample struct {
	nowMS, steadyMS int64
	value           float64
}

// of returns the state if it was saved for this configuration, else an empty one.
func (s saved) of(c *config) saved {
	if s.Threshold != c.threshold() {
		return saved{Threshold: c.threshold()}
	}
	return s
}

// step moves the watch on by one measurement and says whether it fires.
func (s saved) step(c *config, at sample) (saved, bool) {
	s = s.shift(at)
	s.SeenMS, s.SteadyMS = at.nowMS, at.steadyMS
	beyond := c.beyond(at.value)
	switch {
	case !beyond && (!s.Fired || c.back(at.value)):
		return saved{Threshold: s.Threshold, SeenMS: at.nowMS, SteadyMS: at.steadyMS}, false
	case !beyond: // fired, and within the hysteresis: neither again nor over
		return s, false
	case s.SinceMS == nil:
		s.SinceMS = &at.nowMS
	}
	if !s.due(c, at.nowMS) {
		return s, false
	}
	s.Fired, s.FiredMS = true, at.nowMS
	return s, true
}

// due reports whether it is time to fire, for a metric that is beyond.
func (s saved) due(c *config, nowMS int64) bool {
	left, ok := s.left(c, nowMS)
	return ok && left <= 0
}

// left returns the milliseconds until the watch fires if the metric stays beyond; false
// when it never will.
func (s saved) left(c *config, nowMS int64) (int64, bool) {
	switch {
	case s.SinceMS == nil:
		return 0, false
	case !s.Fired:
		return *s.SinceMS + c.For.MS() - nowMS, true
	case c.Repeat != nil:
		return s.FiredMS + c.Repeat.MS() - nowMS, true
	default:
		return 0, false
	}
}

// next returns how long to wait for the next measurement: the interval, or less when
// the watch would fire before.
func (s saved) next(c *config, nowMS int64) time.Duration {
	wait := c.every.MS()
	if left, ok := s.left(c, nowMS); ok && left < wait {
		wait = max(left, everyMin.MS())
	}
	return time.Duration(wait) * time.Millisecond
}

// shift keeps what has elapsed when the host's clock was set since the last measurement,
// forward or back, as it is on a machine without a battery.
func (s saved) shift(at sample) saved {
	by := at.nowMS - s.SeenMS
	switch {
	case at.steadyMS > 0 && s.SteadyMS > 0:
		by -= max(at.steadyMS-s.SteadyMS, 0)
	case by > 0: // nothing says that it was set
		return s
	}
	if s.SinceMS != nil {
		since := *s.SinceMS + by
		s.SinceMS = &since
	}
	s.FiredMS += by
	return s
}
