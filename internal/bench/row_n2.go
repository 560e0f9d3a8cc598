package main

import "fmt"

// eventDelay is N2: the time from an event to the end of its output, no broker between:
// at 500 events a second, where an agent that is slower has a queue before it, and at
// 20, where each event is alone. An output with a grant waits until the event is on the disk.
func eventDelay(b *bench) ([]line, error) {
	var out []line
	for _, v := range eventVariants {
		for _, everyMS := range []int{2, 50} {
			c, err := b.newCourse(v.language, 1, everyMS)
			if err == nil && v.granted {
				err = c.grant()
			}
			if err != nil {
				return out, err
			}
			lines, err := c.delays(v.name, everyMS)
			out = append(out, lines...)
			if err != nil {
				return out, err
			}
		}
	}
	return out, nil
}

// delays measures one event at a time, each so long after the one before.
func (c *course) delays(plugins string, everyMS int) (out []line, err error) {
	agent, err := c.agentRound()
	if err != nil {
		return nil, err
	}
	alone, err := c.pluginRound()
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("trigger to output, %s, durable, at %d events/s, %.0f/s done",
		plugins, 1000/everyMS, float64(agent.events)/eventTime.Seconds())
	for _, q := range []struct {
		name string
		at   float64
		most float64
	}{{", p50", 0.5, 60}, {", p99", 0.99, 500}} {
		value, base := quantile(agent.delays, q.at), quantile(alone.delays, q.at)
		out = append(out, line{name + q.name, value, "µs", "the plugins alone", base, atMost(q.most)})
	}
	return out, nil
}
