package sim

import (
	"fmt"
	"runtime"
	"strings"
	"syscall"
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

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkFleet(b *testing.B) {
	for _, agents := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprint(agents), func(b *testing.B) {
			for range b.N {
				minutes := max(5, 20_000/agents)
				text := strings.NewReplacer("COUNT", fmt.Sprint(agents), "MINUTES", fmt.Sprint(minutes)).Replace(large)
				w, err := newWorld(b.Context(), parse(b, text), Options{})
				if err != nil {
					b.Fatal(err)
				}
				if err := w.runTo(int64(2 * time.Minute)); err != nil { // everything is deployed
					b.Fatal(err)
				}
				began := cpu()
				from := w.now
				if err := w.runTo(w.until); err != nil {
					b.Fatal(err)
				}
				took := cpu() - began
				b.ReportMetric(time.Duration(w.now-from).Seconds()/took.Seconds(), "vs/cpu-s")
				b.ReportMetric(took.Seconds()*1e6/float64(w.tell.totals.Fired), "cpu-µs/event")
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				b.ReportMetric(float64(1<<30)/(float64(m.HeapAlloc)/float64(agents)), "agents/GiB")
				_ = w.close()
			}
		})
	}
}
