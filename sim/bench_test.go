package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// large is the fleet of N12: one event a minute each.
const large = `stavily: sim/v1
name: large
duration: MINUTESm
sample: 10m
fleet:
  - group: shop
    count: COUNT
    class: linux-arm64
    labels: {env: production}
    link: {latency: 20ms±5ms}
plugins:
  timer: {model: timer}
  pass: {model: pass, takes: 2ms±1ms}
  sink: {model: sink, takes: 1ms}
deploy:
  - at: 10s
    workflow:
      workflow: beat
      trigger: {plugin: timer@1, with: {every: 60s}, at: {group: {env: production}}}
      actions: [{plugin: pass@1}]
      outputs: [{plugin: sink@1}]
`

func BenchmarkFleet(b *testing.B) {
	for _, agents := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprint(agents), func(b *testing.B) {
			text := strings.NewReplacer("COUNT", fmt.Sprint(agents), "MINUTES", fmt.Sprint(max(4, 20_000/agents))).Replace(large)
			for range b.N {
				p, err := Measure(b.Context(), []byte(text), 2*time.Minute)
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
