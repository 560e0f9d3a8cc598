package sim

import (
	"fmt"
	"testing"
)

func BenchmarkFleet(b *testing.B) {
	for _, agents := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprint(agents), func(b *testing.B) {
			for range b.N {
				p, err := Measure(b.Context(), agents, max(4, 20_000/agents))
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(p.Virtual.Seconds()/p.Wall.Seconds(), "vs/s")
				b.ReportMetric(float64(p.Wall.Microseconds())/float64(p.Events), "µs/event")
				b.ReportMetric(float64(agents)/float64(p.Bytes)*(1<<30), "agents/GiB")
			}
		})
	}
}
