package main

import "github.com/stavily/stavily/sim"

// agentProcess is what N4 allows one agent in a process of its own.
const agentProcess = 14 << 20

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
		p, err := sim.Measure(b.ctx, v.agents, v.minutes)
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
