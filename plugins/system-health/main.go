// System-health is a trigger: it fires when a metric of the machine has been above or
// below a threshold for long enough.
package main

import (
	"fmt"
	"time"

	"github.com/stavily/stavily/plugins/sdk/go"
)

func main() { plugin().Main() }

func plugin() *stavily.Plugin {
	h := new(health)
	return stavily.Trigger("system-health", h.wake).Config(&h.config).Check(h.check)
}

type health struct {
	config config
	absent bool // the log already has it that there is no such metric
}

// wake measures, moves the watch on and says when to look again.
func (h *health) wake(ctx *stavily.Context, w stavily.Wake) (stavily.Fired, error) {
	var s saved
	if err := w.LoadState(&s); err != nil {
		ctx.Log(stavily.LevelWarn, err.Error()+": starting anew")
		s = saved{}
	}
	s = s.of(&h.config)
	value, ok, err := h.measure(ctx)
	if err != nil {
		return stavily.Fired{}, err
	}
	if !ok {
		h.missing(ctx)
		return stavily.Fired{State: s, After: time.Duration(h.config.every)}, nil
	}
	h.absent = false
	at := sample{w.NowMS, w.SteadyMS, value}
	s, fires := s.step(&h.config, at)
	fired := stavily.Fired{State: s, After: s.next(&h.config, w.NowMS)}
	if fires {
		fired.Events = []any{h.config.event(s, at)}
	}
	return fired, nil
}

// measure reads the metric; false when this machine does not have it.
func (h *health) measure(ctx *stavily.Context) (float64, bool, error) {
	values, err := ctx.Metrics(h.config.Metric)
	if err != nil {
		return 0, false, err
	}
	value, ok := values[h.config.Metric]
	return value, ok, nil
}

// missing logs once that there is nothing to watch: a sensor may come and go.
func (h *health) missing(ctx *stavily.Context) {
	if !h.absent {
		ctx.Log(stavily.LevelWarn, h.noSuch().Error())
	}
	h.absent = true
}

func (h *health) noSuch() error {
	return fmt.Errorf("metric %q: this machine does not have it", h.config.Metric)
}

// check passes when the metric can be read here.
func (h *health) check(ctx *stavily.Context) error {
	_, ok, err := h.measure(ctx)
	if err == nil && !ok {
		err = h.noSuch()
	}
	return err
}
