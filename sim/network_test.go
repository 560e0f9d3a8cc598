package sim

import (
	"sync"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/linktest"
	"github.com/stavily/stavily/sim/scenario"
)

// steered is one end of a line whose time runs only while somebody uses it.
type steered struct {
	mu   *sync.Mutex // guards the world
	w    *World
	link protocol.Link
}

// Send sends, and lets the time run for what follows.
func (s *steered) Send(m protocol.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.link.Send(m)
	s.w.pass()
	return err
}

// Listen asks for messages.
func (s *steered) Listen(filter string, deliver func(protocol.Message)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.link.Listen(filter, func(m protocol.Message) {
		ack := m.Ack
		m.Ack = func() { go s.acknowledge(ack) } // deliver runs with mu held
		deliver(m)
	})
	s.w.pass()
	return err
}

func (s *steered) acknowledge(ack func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ack()
	s.w.pass()
}

// pass lets everything happen that is on its way. An error is that the test has ended.
func (w *World) pass() { _ = w.runTo(w.now + int64(time.Second)) }

func TestLineKeepsItsPromises(t *testing.T) {
	linktest.Run(t, func(t *testing.T) linktest.Pair {
		s := parse(t, calm)
		s.Deploys, s.Plugins = nil, nil
		s.Fleet[0].Link = scenario.Link{Latency: scenario.Spread{Mean: 10 * time.Millisecond, By: 5 * time.Millisecond}}
		w, err := newWorld(t.Context(), s, Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = w.close() })
		var mu sync.Mutex
		d := w.devices[0]
		d.line.hearers, w.hub.hearers, w.checks, w.queue = nil, nil, nil, queue{} // the two ends are the suite's
		cfg := d.config()
		cfg.Metrics = 0 // an agent that has nothing to tell by itself
		d.agent, err = edge.New(cfg, edge.Deps{Link: &d.line, Store: &d.disk, Plugins: &d.plugins, Random: &d.ids})
		if err != nil {
			t.Fatal(err)
		}
		d.line.retry()
		if err := w.runTo(int64(time.Minute)); err != nil || !d.line.up {
			t.Fatalf("the line does not come up: %v", err)
		}
		return linktest.Pair{
			Hub: &steered{&mu, w, w.hub}, Agent: &steered{&mu, w, &d.line}, Address: d.addr,
			Cut: func() {
				mu.Lock()
				defer mu.Unlock()
				d.line.cut("test")
				for range 10 {
					w.pass()
				}
			},
			Close: func() {},
		}
	})
}

var _ protocol.Link = (*steered)(nil)
