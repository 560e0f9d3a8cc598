package main

import (
	"fmt"
	"net"

	"github.com/stavily/stavily/protocol"
)

const (
	firstAgents  = 50  // connected before the measure begins: the broker is warm
	idleAgents   = 500 // connected and silent
	memoryRounds = 3
)

// hubMemory is N8: what one connected and silent agent costs the hub's broker in
// resident bytes, over a pipe in process and over mutual TLS on loopback. Over TLS the
// agents live in another process; over a pipe their end is a bare connection. Beside
// it mochi as it comes, with the same agents. The garbage is collected before each
// reading.
func hubMemory(b *bench) ([]line, error) {
	ca, err := openAuthority(b.path("authority"))
	if err != nil {
		return nil, err
	}
	var out []line
	for _, v := range []struct {
		how, name string
		most      float64
	}{{"pipe", "plain, in process", 64}, {"tls", "mutual TLS", 100}} {
		l := line{
			metric: "hub RSS per connected agent, " + v.name, unit: "KiB", baseline: "mochi", target: atMost(v.most),
		}
		one := func(kind string) func() (float64, error) {
			return func() (float64, error) { return b.perAgent(ca, kind, v.how) }
		}
		if l.value, l.base, err = inTurn(memoryRounds, one("ours"), one("mochi")); err != nil {
			return out, err
		}
		out = append(out, l)
	}
	return out, nil
}

// perAgent returns the KiB of one agent at a fresh broker.
func (b *bench) perAgent(ca *authority, kind, how string) (float64, error) {
	p, address, err := b.startBroker(kind, how)
	if err != nil {
		return 0, err
	}
	defer p.end()
	var conns []net.Conn
	defer func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}()
	open := func(n int) error {
		if how == "pipe" {
			err := p.ask(fmt.Sprintf("open %d", n))
			return err
		}
		for range n {
			conn, err := connect(ca, address, agentAt(len(conns)), kind == "mochi")
			if err != nil {
				return fmt.Errorf("%w\n%s", err, p.tail())
			}
			conns = append(conns, conn)
		}
		return nil
	}
	if err := open(firstAgents); err != nil {
		return 0, err
	}
	before, err := p.rested()
	if err != nil {
		return 0, err
	}
	if err := open(idleAgents); err != nil {
		return 0, err
	}
	after, err := p.rested()
	return (after - before) / idleAgents / 1024, err
}

// connect opens one agent's connection over mutual TLS.
func connect(ca *authority, address string, a protocol.Address, clean bool) (net.Conn, error) {
	config, err := ca.issue(a)
	if err != nil {
		return nil, err
	}
	conn, err := dial(address, config)
	if err != nil {
		return nil, err
	}
	return conn, login(conn, protocol.MQTTClientID(a), protocol.DownFilter(a), clean)
}

// rested returns the resident bytes of a part that has collected its garbage.
func (p *process) rested() (float64, error) {
	if err := p.ask("rest"); err != nil {
		return 0, err
	}
	return p.resident()
}
