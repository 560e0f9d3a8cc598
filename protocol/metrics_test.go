package protocol

import (
	"encoding/json"
	"math"
	"testing"
)

func TestMetricsComeBack(t *testing.T) {
	in := map[string]float64{
		"cpu.percent": 12.5, "memory.available": 3 << 30, "load.1": 0.07, "unheard": 1,
		"disk.free": math.Inf(1),
	}
	m := NewMetrics(in)
	got, err := m.Map()
	if err != nil || len(got) != 3 || got["cpu.percent"] != 12.5 || got["memory.available"] != 3<<30 ||
		got["load.1"] != 0.07 {
		t.Errorf("got %v, %v", got, err)
	}
	m.Values = m.Values[1:]
	if _, err := m.Map(); CodeOf(err) != CodeBadMessage {
		t.Errorf("lists of different length: %v", err)
	}
}

func TestMetricTableIsAppendOnly(t *testing.T) {
	for i, want := range []string{
		"cpu.percent", "memory.percent", "memory.available", "disk.percent",
		"disk.free",
	} {
		if got := metrics[i+1].name; got != want {
			t.Errorf("metric %d is %q, was published as %q", i+1, got, want)
		}
	}
}

// BenchmarkReportBytes is row N14: 25 metrics on the wire, against the same as JSON.
func BenchmarkReportBytes(b *testing.B) {
	m := sampleMetrics()
	var n int
	for b.Loop() {
		n = len(MustMarshal(m))
	}
	values, err := m.Map()
	if err != nil {
		b.Fatal(err)
	}
	text, err := json.Marshal(values)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(n), "wire-B")
	b.ReportMetric(float64(len(text)), "json-B")
}

func BenchmarkBatchDecode(b *testing.B) {
	var batch Batch
	for _, s := range samples() {
		if v, ok := s.value.(Batch); ok {
			batch = v
		}
	}
	for i := range 63 {
		r := batch.Records[0]
		r.Mark.Sequence += uint64(i) + 1
		batch.Records = append(batch.Records, r)
	}
	wire := MustMarshal(batch)
	b.ReportMetric(float64(len(wire))/float64(len(batch.Records)), "wire-B/event")
	b.ReportAllocs()
	for b.Loop() {
		var got Batch
		if err := Unmarshal(wire, &got); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	sealed, err := Seal(ContextDesired, testDesired, MustMarshal(sampleDesired()))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(len(sealed)), "wire-B")
	for b.Loop() {
		if _, err := Open(ContextDesired, testRing, sealed); err != nil {
			b.Fatal(err)
		}
	}
}
