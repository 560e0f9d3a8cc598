package protocol

import (
	"math"
	"slices"
)

// MetricID names a metric on the wire. The table is append-only: a number never
// changes its meaning.
type MetricID uint16

// metric is how one metric travels: its name for people and for plugins, and how many
// steps make one unit, so that a value is a small integer.
type metric struct {
	name  string
	steps float64
}

// metrics is the table. Percentages travel in tenths, temperatures in tenths of a
// degree Celsius, bytes in KiB, rates in whole bytes a second, load in hundredths.
var metrics = [...]metric{
	1:  {"cpu.percent", 10},
	2:  {"memory.percent", 10},
	3:  {"memory.available", 1.0 / 1024},
	4:  {"disk.percent", 10},
	5:  {"disk.free", 1.0 / 1024},
	6:  {"load.1", 100},
	7:  {"load.5", 100},
	8:  {"load.15", 100},
	9:  {"temperature.cpu", 10},
	10: {"uptime.seconds", 1},
	11: {"agent.memory", 1.0 / 1024},
	12: {"agent.cpu.percent", 10},
	13: {"agent.goroutines", 1},
	14: {"outbox.pending", 1},
	15: {"outbox.bytes", 1},
	16: {"outbox.dropped", 1},
	17: {"runs.fired", 1},
	18: {"runs.failed", 1},
	19: {"runs.pending", 1},
	20: {"link.reconnects", 1},
	21: {"network.sent", 1},
	22: {"network.received", 1},
	23: {"swap.percent", 10},
	24: {"processes", 1},
	25: {"plugins.memory", 1.0 / 1024},
	26: {"plugins.fuel", 1.0 / 1e6},
	27: {"store.bytes", 1.0 / 1024},
}

// Metrics is a report of some metrics at one moment: IDs ascending, and to each its
// value in the metric's steps. What could not be measured is left out.
type Metrics struct {
	IDs    []MetricID `cbor:"1,keyasint"`
	Values []int64    `cbor:"2,keyasint"`
}

// NewMetrics packs values by name; names that the table lacks and values that are no
// finite number are left out.
func NewMetrics(values map[string]float64) Metrics {
	var m Metrics
	for id, known := range metrics {
		v, ok := values[known.name]
		if scaled := math.Round(v * known.steps); ok && known.name != "" && math.Abs(scaled) < math.MaxInt64/2 {
			m.IDs = append(m.IDs, MetricID(id))
			m.Values = append(m.Values, int64(scaled))
		}
	}
	return m
}

// Map unpacks the report by name. Metrics of a newer sender are left out. The error has
// CodeBadMessage when the two lists do not fit each other.
func (m *Metrics) Map() (map[string]float64, error) {
	if len(m.IDs) != len(m.Values) || !slices.IsSorted(m.IDs) {
		return nil, Errorf(CodeBadMessage, "metrics: %d ids and %d values, want as many, ascending", len(m.IDs),
			len(m.Values))
	}
	out := make(map[string]float64, len(m.IDs))
	for i, id := range m.IDs {
		if int(id) < len(metrics) && metrics[id].name != "" {
			out[metrics[id].name] = float64(m.Values[i]) / metrics[id].steps
		}
	}
	return out, nil
}

// MetricNames returns the names of the table, in its order.
func MetricNames() []string {
	var names []string
	for _, m := range metrics {
		if m.name != "" {
			names = append(names, m.name)
		}
	}
	return names
}
