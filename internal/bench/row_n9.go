package main

const (
	senders    = 64  // agents that speak at the same time
	sayEach    = 100 // messages of each in a round
	sayRounds  = 5
	sayRecords = 64 // events of a full message
)

// hubCPU is N9: the CPU of the hub's process for one QoS 1 message over mutual TLS, from
// its arrival to the word that its events are in the books on disk, each agent having
// one message under way. Beside it mochi as it comes, which keeps nothing and asks no
// access list, over the same connections.
func hubCPU(b *bench) ([]line, error) {
	w, err := b.startHub()
	if err != nil {
		return nil, err
	}
	toHub, err := w.enrol(senders)
	if err != nil {
		return nil, err
	}
	bare, toBare, err := b.bareSenders(senders)
	if err != nil {
		return nil, err
	}
	var costs [3][]float64
	for range sayRounds {
		for i, m := range []struct {
			process *process
			from    []*sender
			events  int
			each    int
		}{{w.hub, toHub, 1, sayEach}, {bare, toBare, 1, sayEach}, {w.hub, toHub, sayRecords, sayEach / 10}} {
			cost, err := m.process.cpuFor(func() (int, error) { return pour(m.from, m.each, m.events) })
			if err != nil {
				return nil, err
			}
			costs[i] = append(costs[i], cost)
		}
	}
	one, base, many := median(costs[0]), median(costs[1]), median(costs[2])
	const what = "hub CPU per QoS 1 message of one event, durable, with access lists"
	return []line{
		{what, one, "µs", "mochi, not durable", base, atMost(20)},
		{"hub CPU per event, 64 in a message", many / sayRecords, "µs", "mochi, a message", base, atMost(20)},
	}, nil
}

// bareSenders starts mochi and connects agents to it.
func (b *bench) bareSenders(n int) (*process, []*sender, error) {
	p, address, err := b.startBroker("mochi", "tls")
	if err != nil {
		return nil, nil, err
	}
	ca, err := openAuthority(b.path("authority"))
	if err != nil {
		return nil, nil, err
	}
	out := make([]*sender, n)
	for i := range out {
		config, err := ca.issue(agentAt(i))
		if err != nil {
			return nil, nil, err
		}
		if out[i], err = newSender(address, config, agentAt(i), 0); err != nil {
			return nil, nil, err
		}
	}
	return p, out, nil
}

// cpuFor returns the µs of CPU that the process used for each message of pour.
func (p *process) cpuFor(pour func() (int, error)) (float64, error) {
	before, err := p.cpu()
	if err != nil {
		return 0, err
	}
	n, err := pour()
	if err != nil {
		return 0, err
	}
	after, err := p.cpu()
	return (after - before).Seconds() * 1e6 / float64(n), err
}
