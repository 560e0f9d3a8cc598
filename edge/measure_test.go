package edge_test

import (
	"maps"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// metrics returns the reports that the hub has, oldest first.
func (h *hubSide) metrics() []map[string]float64 {
	h.t.Helper()
	var out []map[string]float64
	for _, b := range h.batches {
		if b.Lane != protocol.LaneMetric {
			continue
		}
		for _, rec := range b.Records {
			m := decode[protocol.Metrics](h.t, protocol.Message{Payload: rec.Body})
			values, err := m.Map()
			if err != nil {
				h.t.Fatal(err)
			}
			out = append(out, values)
		}
	}
	return out
}

// U-07: the machine's figures and the agent's own, as often as the hub says.
func TestMetrics(t *testing.T) {
	w := newWorld(t)
	w.machine = map[string]float64{"cpu.percent": 12.5, "agent.memory": 9 << 20, "no.such": 1}
	w.hub.standard()
	w.plugins.answers["w/when"] = fires(3)
	w.plugins.answers["w/do"] = refuses(protocol.CodePlugin, "no")
	d := w.hub.desired(1, w.hub.workflow("w"))
	d.Settings.MetricsSeconds = 60
	w.hub.deploy(d)
	w.boot()
	w.online()
	w.pass(29 * time.Second)
	if n := len(w.hub.metrics()); n != 0 {
		t.Fatalf("%d reports before the boot is over, want none", n)
	}
	w.pass(5 * time.Minute)
	all := w.hub.metrics()
	if len(all) != 5 { // after 30, 90, 150, 210, 270 and 330 seconds; the last is not due
		t.Fatalf("%d reports in 329 s, want 5", len(all))
	}
	want := map[string]float64{
		"cpu.percent": 12.5, "agent.memory": 9 << 20, "outbox.pending": 0, "outbox.bytes": 0, "outbox.dropped": 0,
		"link.reconnects": 0, "runs.fired": 3, "runs.failed": 3, "runs.pending": 0,
	}
	if !maps.Equal(all[4], want) {
		t.Fatalf("figures %v, want %v", all[4], want)
	}
}

// Figures of a time without a hub wait for it, in the order and with the time of their
// measuring; without a machine to ask there are the agent's own.
func TestMetricsWait(t *testing.T) {
	w := newWorld(t)
	w.cfg.Metrics = edge.DefaultConfig().Metrics
	w.boot()
	w.pass(24 * time.Hour)
	w.online()
	w.pass(time.Second)
	var times []int64
	for _, b := range w.hub.batches {
		for _, rec := range b.Records {
			times = append(times, rec.Time.UnixMS)
		}
	}
	if len(times) != 288 {
		t.Fatalf("%d reports of a day, want 288", len(times))
	}
	for i, at := range times {
		if want := start.Add(30*time.Second + time.Duration(i)*5*time.Minute).UnixMilli(); at != want {
			t.Fatalf("report %d is of %d, want %d", i, at, want)
		}
	}
	if got := w.hub.metrics()[287]; got["outbox.pending"] != 287 || got["cpu.percent"] != 0 {
		t.Fatalf("figures %v", got)
	}
}
