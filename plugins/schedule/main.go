// Schedule is a trigger: it fires at the times of a cron expression, at a period, or once.
package main

import (
	"math/rand/v2"
	"time"

	"github.com/stavily/stavily/plugins/sdk/go"
)

func main() { plugin().Main() }

func plugin() *stavily.Plugin {
	s := new(schedule)
	return stavily.Trigger("schedule", s.wake).Config(&s.config)
}

type schedule struct{ config config }

// event is the data of an event.
type event struct {
	Schedule string `json:"schedule"`
	AtMS     int64  `json:"at_ms"` // when it fired by the device's clock, less the jitter, unix milliseconds
	Clock    bool   `json:"clock"` // whether the device knew what time it was
}

// lookAgain is how often a schedule that waits for a clock looks whether there is one.
const lookAgain = time.Minute

// wake fires when its time has come, and says which the next one is.
func (s *schedule) wake(ctx *stavily.Context, w stavily.Wake) (stavily.Fired, error) {
	var at saved
	if err := w.LoadState(&at); err != nil {
		ctx.Log(stavily.LevelWarn, err.Error()+": starting anew")
		at = saved{}
	}
	if at.Of != s.config.id {
		at = saved{Of: s.config.id}
		if s.config.Jitter > 0 {
			at.JitterMS = rand.Int64N(time.Duration(s.config.Jitter).Milliseconds() + 1)
		}
	}
	if w.Why == stavily.WhyStart {
		return s.begin(w, at), nil
	}
	return s.due(w, at), nil
}

// saved is what a schedule keeps.
type saved struct {
	Of       string `json:"of"`        // what was scheduled
	JitterMS int64  `json:"jitter_ms"` // how much later this device fires, always
	// HeldMS is a time that came while there was no clock and that waits for one; 0: none.
	HeldMS int64 `json:"held_ms"`
	// StartMS and StartSteadyMS are when the plugin was started, by both clocks.
	StartMS       int64 `json:"start_ms"`
	StartSteadyMS int64 `json:"start_steady_ms"`
	Missed        int   `json:"missed"` // firings brought back since then
	FiredSteadyMS int64 `json:"fired_steady_ms"`
}

// begin plans after a start, which fires nothing: what was missed the host brings back.
func (s *schedule) begin(w stavily.Wake, at saved) stavily.Fired {
	at.StartMS, at.StartSteadyMS, at.Missed = w.NowMS, w.SteadyMS, 0
	if at.HeldMS != 0 {
		return stavily.Fired{State: at, After: lookAgain}
	}
	fired := s.plan(w.NowMS, at)
	switch every := time.Duration(s.config.Every); {
	case every > 0 && at.FiredSteadyMS > 0:
		passed := time.Duration(w.SteadyMS-at.FiredSteadyMS) * time.Millisecond
		fired.After = max(every-max(passed, 0), time.Millisecond)
	case every > 0:
		fired.After += time.Duration(at.JitterMS) * time.Millisecond
	}
	return fired
}

// due is a wake by the timer: the time has come, or it was to look for a clock.
func (s *schedule) due(w stavily.Wake, at saved) stavily.Fired {
	due := w.NowMS
	if s.config.Every == 0 {
		due -= at.JitterMS
	}
	if at.HeldMS != 0 {
		due = at.HeldMS
	}
	if blind := !w.Clock && s.config.Every == 0; blind && s.config.WithoutClock == clockWait {
		at.HeldMS = due
		return stavily.Fired{State: at, After: lookAgain}
	} else if blind && s.config.WithoutClock == clockSkip {
		at.HeldMS = 0
		return s.plan(w.NowMS, at)
	}
	held := at.HeldMS != 0
	at.HeldMS, at.FiredSteadyMS = 0, w.SteadyMS
	from := w.NowMS
	if real := at.StartMS + w.SteadyMS - at.StartSteadyMS; !held && real-w.NowMS > time.Minute.Milliseconds() {
		if at.Missed++; at.Missed >= s.config.MissedMax {
			from = real
		}
	}
	fired := s.plan(from, at)
	fired.Events = []any{event{s.config.id, due, w.Clock}}
	return fired
}

// plan says when to wake next after a time.
func (s *schedule) plan(nowMS int64, at saved) stavily.Fired {
	fired := stavily.Fired{State: at}
	jitter := time.Duration(at.JitterMS) * time.Millisecond
	now := time.UnixMilli(nowMS).Add(-jitter)
	switch {
	case s.config.Every > 0:
		fired.After = time.Duration(s.config.Every)
	case s.config.Cron != "":
		fired.At = s.config.cron.next(now, s.config.zone).Add(jitter)
	case s.config.at.After(now):
		fired.At = s.config.at.Add(jitter)
	}
	return fired
}
