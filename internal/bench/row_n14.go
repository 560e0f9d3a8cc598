package main

import (
	"encoding/json"

	"github.com/stavily/stavily/protocol"
)

// reportedMetrics is how many metrics the report of N14 has.
const reportedMetrics = 25

// reportBytes is N14: a report of 25 metrics, alone and as it leaves the agent, in a
// batch of one record. Beside it the same values as JSON, by name.
func reportBytes(*bench) ([]line, error) {
	values := map[string]float64{}
	like := []float64{12.5, 43.2, 1.5e9, 61.8, 4.2e10, 0.07, 318, 52311}
	for i, name := range protocol.MetricNames()[:reportedMetrics] {
		values[name] = like[i%len(like)]
	}
	report := protocol.NewMetrics(values)
	back, err := report.Map() // what the receiver reads: JSON gets no digit more
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(back)
	if err != nil {
		return nil, err
	}
	body := protocol.MustMarshal(report)
	at := protocol.Stamp{UnixMS: 1_790_000_000_000}
	batch := protocol.MustMarshal(protocol.Batch{Epoch: 2, Lane: protocol.LaneMetric, Records: []protocol.Record{
		{Mark: protocol.Mark{Boot: 7, Sequence: 1 << 20}, Time: at, Body: body},
	}})
	const what = "report of 25 metrics"
	alone, whole, written := float64(len(body)), float64(len(batch)), float64(len(text))
	return []line{
		{what, alone, "B", "JSON", written, atMost(320)},
		{what + ", its batch included", whole, "B", "JSON", written, atMost(320)},
	}, nil
}
