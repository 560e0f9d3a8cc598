package edge

import (
	"log/slog"
	"maps"
	"time"

	"github.com/stavily/stavily/protocol"
)

// firstFigures is how long after the boot figures are recorded first: by then what the
// boot itself costs is over.
const firstFigures = 30 * time.Second

// figures is when the agent records figures next.
type figures struct {
	from time.Time // of the boot, or when they were asked for last
	some bool      // they were asked for in this boot
}

// figuresDue returns when figures are to be recorded; zero: never.
func (a *Agent) figuresDue() time.Time {
	wait := a.metricsEvery()
	switch {
	case wait <= 0:
		return time.Time{}
	case !a.figures.some:
		wait = min(wait, firstFigures)
	}
	return a.figures.from.Add(wait)
}

func (a *Agent) metricsEvery() time.Duration {
	if a.held != nil && a.held.desired.Settings.MetricsSeconds > 0 {
		return time.Duration(a.held.desired.Settings.MetricsSeconds) * time.Second
	}
	return a.cfg.Metrics
}

// measure asks for the machine's figures when they are due; without anyone to ask the
// agent records its own.
func (a *Agent) measure() {
	if due := a.figuresDue(); due.IsZero() || a.now.Before(due) {
		return
	}
	a.figures = figures{from: a.now, some: true}
	if a.machine == nil {
		a.recordFigures(nil)
		return
	}
	a.after(a.machine)
}

// Measured takes the machine's figures by the names of protocol.MetricNames and
// records them with the agent's own (U-07).
func (a *Agent) Measured(now time.Time, values map[string]float64) {
	if !a.begin(now) {
		return // there will be others
	}
	a.recordFigures(values)
	a.settle()
}

func (a *Agent) recordFigures(values map[string]float64) {
	all := a.ownFigures()
	maps.Copy(all, values)
	if _, err := a.record(protocol.LaneMetric, protocol.NewMetrics(all)); err != nil {
		a.log.Warn("figures not recorded", slog.String("error", err.Error()))
	}
}

// ownFigures returns what the agent counts itself.
func (a *Agent) ownFigures() map[string]float64 {
	var bytes int64
	for i := range a.out.lanes {
		bytes += a.out.lanes[i].Bytes
	}
	var fired, failed uint64
	pending := 0
	for _, w := range a.works {
		fired += w.fired
		failed += w.failed
		pending += len(w.runs)
	}
	return map[string]float64{
		"link.reconnects": float64(max(a.ups, 1) - 1),
		"outbox.pending":  float64(a.out.pending()), "outbox.bytes": float64(bytes),
		"outbox.dropped": float64(a.out.dropped()),
		"runs.fired":     float64(fired), "runs.failed": float64(failed), "runs.pending": float64(pending),
	}
}
