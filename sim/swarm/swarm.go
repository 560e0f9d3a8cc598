// Package swarm is many real agents in one process, on real connections, against a real
// hub: load. Where package sim has virtual time and faults by a seed, a swarm has the
// machine's clock, real TLS, real MQTT and nothing that is made up but the disks, which
// are memory, and the plugins, which answer at once.
//
// Each member joins with the token, gets a certificate of its own, connects with a
// persistent session and says its figures every so often, in lanes that the hub
// acknowledges. What the hub has deployed for it runs too, on plugins that only answer.
package swarm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/stavily/stavily/protocol"
)

// Config says what a swarm does.
type Config struct {
	// Hub is the address of the hub's link, as agents have it: mqtts://host:port.
	Hub string
	// Token lets the members join; it must be good for Agents of them.
	Token protocol.JoinToken
	// Dial opens a bare connection to the hub instead of TCP to Hub; nil: TCP. TLS is put
	// on top of it.
	Dial func(ctx context.Context) (net.Conn, error)
	// Agents is how many members there are, 1 to AgentsMax.
	Agents int
	// Prefix begins the members' names: prefix-00000 and on.
	Prefix string
	// Every is how often a member says its figures; 0: it keeps silent.
	Every time.Duration
	// For is how long the load lasts once all are connected.
	For time.Duration
	// Storm cuts all connections at once after the load and waits for all to come back.
	Storm bool
	// Joins bounds the joins under way at once; 0 means 32.
	Joins int
	// Patience bounds each phase: joining, connecting, coming back, the last records.
	Patience time.Duration
	Log      *slog.Logger
}

// AgentsMax bounds the members of one swarm.
const AgentsMax = 100_000

// DefaultConfig returns a load that a laptop bears.
func DefaultConfig() Config {
	return Config{
		Agents: 100, Prefix: "swarm", Every: 10 * time.Second, For: 30 * time.Second, Joins: 32,
		Patience: 2 * time.Minute, Log: slog.New(slog.DiscardHandler),
	}
}

// Validate names the first field that cannot be.
func (c *Config) Validate() error {
	switch {
	case c.Agents < 1 || c.Agents > AgentsMax:
		return fmt.Errorf("swarm: %d agents, want 1 to %d", c.Agents, AgentsMax)
	case len(c.Prefix) > protocol.NameMax-6:
		return fmt.Errorf("swarm: prefix %q: %d bytes, want at most %d", c.Prefix, len(c.Prefix),
			protocol.NameMax-6)
	case protocol.AgentName(c.Prefix).Check() != nil:
		return fmt.Errorf("swarm: prefix: %w", protocol.AgentName(c.Prefix).Check())
	case c.Hub == "" && c.Dial == nil:
		return errors.New("swarm: no hub")
	case c.Every < 0 || c.Every > 0 && c.Every < time.Second:
		return fmt.Errorf("swarm: figures every %v, want 0 or at least 1s", c.Every)
	case c.For < 0 || c.Patience <= 0:
		return fmt.Errorf("swarm: load for %v, patience %v: want no less than 0 and more than 0", c.For, c.Patience)
	}
	return nil
}

// Phase is how long all members took to get somewhere.
type Phase struct {
	Took time.Duration `json:"took_ns"` // until the last
	P50  time.Duration `json:"p50_ns"`  // until half of them
	P99  time.Duration `json:"p99_ns"`
	Done int           `json:"done"` // members that got there
}

// Result is what a swarm did and what it cost.
type Result struct {
	Agents  int    `json:"agents"`
	Join    Phase  `json:"join"`
	Connect Phase  `json:"connect"`
	Storm   *Phase `json:"storm,omitempty"`
	// Sent counts messages to the hub and their payloads, Acked the batches of records
	// that the hub said are in its store, with the time from sending to that word.
	Sent      int64         `json:"sent"`
	SentBytes int64         `json:"sent_bytes"`
	Acked     int64         `json:"acked"`
	AckP50    time.Duration `json:"ack_p50_ns"`
	AckP99    time.Duration `json:"ack_p99_ns"`
	// Pending counts the records that no hub had acknowledged when patience ended.
	Pending uint64 `json:"pending"`
	// HeapBytes and Goroutines are of this process, all members connected.
	HeapBytes  uint64 `json:"heap_bytes"`
	Goroutines int    `json:"goroutines"`
	// Lost says what did not happen within patience; empty when all did.
	Lost string `json:"lost,omitempty"`
}

// swarm is one run.
type swarm struct {
	cfg     Config
	members []*member
	tally   tally
}

// Run lets a swarm live once. The error is of what kept it from living at all; what it
// did not reach in time stands in Result.Lost.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &swarm{cfg: cfg}
	for i := range cfg.Agents {
		m, err := newMember(s, protocol.AgentName(fmt.Sprintf("%s-%05d", cfg.Prefix, i)))
		if err != nil {
			return nil, err
		}
		s.members = append(s.members, m)
	}
	out := &Result{Agents: cfg.Agents}
	var err error
	if out.Join, err = s.join(ctx); err != nil {
		return out, err
	}
	ctx, end := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer end()
	for _, m := range s.members {
		all.Go(func() { m.live(ctx) })
	}
	s.load(ctx, out)
	return out, ctx.Err()
}

// load goes through the phases after joining, until one of them fails.
func (s *swarm) load(ctx context.Context, out *Result) {
	began := time.Now()
	out.Connect = s.reach(ctx, began, func(m *member) <-chan struct{} { return m.connected(1) })
	if s.lost(out, "connected", out.Connect) {
		return
	}
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	out.HeapBytes, out.Goroutines = mem.HeapAlloc, runtime.NumGoroutine()
	pause(ctx, s.cfg.For)
	if s.cfg.Storm {
		began = time.Now()
		for _, m := range s.members {
			m.cut()
		}
		back := s.reach(ctx, began, func(m *member) <-chan struct{} { return m.connected(m.before + 1) })
		out.Storm = &back
		if s.lost(out, "came back", back) {
			return
		}
	}
	out.Pending = s.drain(ctx)
	if out.Pending > 0 {
		out.Lost = fmt.Sprintf("%d records were not acknowledged within %v", out.Pending, s.cfg.Patience)
	}
	out.Sent, out.SentBytes = s.tally.sent.Load(), s.tally.bytes.Load()
	out.Acked, out.AckP50, out.AckP99 = s.tally.acks()
}

// lost notes in out that not all members got somewhere.
func (s *swarm) lost(out *Result, what string, p Phase) bool {
	if p.Done == s.cfg.Agents {
		return false
	}
	out.Lost = fmt.Sprintf("%d of %d agents %s within %v", p.Done, s.cfg.Agents, what, s.cfg.Patience)
	return true
}

// join joins all members, so many at once.
func (s *swarm) join(ctx context.Context) (Phase, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Patience)
	defer cancel()
	began, times := time.Now(), make([]time.Duration, len(s.members))
	errs := make([]error, len(s.members))
	slots := make(chan struct{}, max(1, s.cfg.Joins))
	var all sync.WaitGroup
	for i, m := range s.members {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			errs[i] = m.join(ctx)
			times[i] = time.Since(began)
		})
		if ctx.Err() != nil {
			break
		}
	}
	all.Wait()
	return phaseOf(times), errors.Join(firstOf(errs), ctx.Err())
}

// firstOf returns the first error of many that are likely the same.
func firstOf(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// reach waits until every member got where there says, within patience.
func (s *swarm) reach(ctx context.Context, began time.Time, there func(*member) <-chan struct{}) Phase {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Patience)
	defer cancel()
	var mu sync.Mutex // guards times
	var times []time.Duration
	var all sync.WaitGroup
	for _, m := range s.members {
		all.Go(func() {
			select {
			case <-there(m):
				mu.Lock()
				defer mu.Unlock()
				times = append(times, m.since(began))
			case <-ctx.Done():
			}
		})
	}
	all.Wait()
	return phaseOf(times)
}

// drain waits until the hub has acknowledged everything that each member had to say at
// some moment from now on, and returns what is left.
func (s *swarm) drain(ctx context.Context) (left uint64) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Patience)
	defer cancel()
	for _, m := range s.members {
		m.clear.Store(false)
	}
	for {
		left = 0
		for _, m := range s.members {
			if !m.clear.Load() {
				left += max(m.pending.Load(), 1)
			}
		}
		if left == 0 || !pause(ctx, pollEvery) {
			return left
		}
	}
}

// pollEvery is how often the members are looked at.
const pollEvery = 100 * time.Millisecond

// pause waits for d, and reports whether ctx let it.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
