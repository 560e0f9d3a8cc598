package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/stavily/stavily/sim"
)

// simulated is a fleet in which each agent has one event a minute.
const simulated = `stavily: sim/v1
name: pace
duration: DURATION
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
      # one event a minute
      workflow: beat
      trigger: {plugin: timer@1, with: {every: 60s}, at: {group: {env: production}}}
      actions: [{plugin: pass@1}]
      outputs: [{plugin: sink@1}]
`

const (
	simulatedWarm = 2 * time.Minute
	agentProcess  = 14 << 20 // what N4 allows one agent in a process of its own
)

// simulation is N12: how much faster than the clock on the wall the fleet is simulated,
// one event a minute each, and how many agents fit a GiB. Beside it a simulator in real
// time, and one process for each agent.
func simulation(b *bench) ([]line, error) {
	var out []line
	for _, v := range []struct {
		agents, minutes int
		name            string
		least           float64
	}{{100, 122, "100", 1}, {1000, 12, "1,000", 3600}, {10_000, 3, "10,000", 1}} {
		text := strings.NewReplacer("COUNT", fmt.Sprint(v.agents), "DURATION", fmt.Sprintf("%dm", v.minutes)).
			Replace(simulated)
		p, err := sim.Measure(b.ctx, []byte(text), simulatedWarm)
		if err != nil {
			return out, err
		}
		out = append(out, line{
			metric: "virtual seconds a second, " + v.name + " agents, one event a minute each",
			value:  p.Virtual.Seconds() / p.Wall.Seconds(), unit: "vs/s", base: 1,
			baseline: "real time", target: atLeast(v.least),
		})
		if v.agents == 1000 {
			out = append(out, line{
				metric: "simulated agents per GiB of heap, hub and books too", unit: "/GiB",
				value:    float64(v.agents) / float64(p.Bytes) * (1 << 30),
				baseline: "a process each", base: float64(1<<30) / agentProcess, target: atLeast(30_000),
			})
		}
	}
	return out, nil
}
