// Counter is a trigger with state: it fires every so often with a number that goes on
// counting after a restart, and with how long it has counted. That is measured by the steady
// clock: the wall clock may be set meanwhile.
package main

import (
	"errors"
	"time"

	"github.com/stavily/stavily/plugins/sdk/go"
)

func main() { plugin().Main() }

type config struct {
	Every stavily.Duration `json:"every"`
}

// Validate refuses what would keep the agent busy with counting.
func (c *config) Validate() error {
	if c.Every < stavily.Duration(100*time.Millisecond) {
		return errors.New("every: want 100ms or more")
	}
	return nil
}

type state struct {
	Count   int   `json:"count"`
	SinceMS int64 `json:"since_ms"` // when it began, by Wake.SteadyMS
}

type event struct {
	Count int   `json:"count"`
	ForMS int64 `json:"for_ms"`
}

func plugin() *stavily.Plugin {
	var c config
	return stavily.Trigger("counter", func(_ *stavily.Context, w stavily.Wake) (stavily.Fired, error) {
		var s state
		if err := w.LoadState(&s); err != nil {
			return stavily.Fired{}, err
		}
		fired := stavily.Fired{After: time.Duration(c.Every)}
		switch {
		case w.Why == stavily.WhyTimer:
			s.Count++
			fired.Events = []any{event{Count: s.Count, ForMS: w.SteadyMS - s.SinceMS}}
		case s.Count == 0:
			s.SinceMS = w.SteadyMS
		}
		fired.State = s
		return fired, nil
	}).Config(&c)
}
