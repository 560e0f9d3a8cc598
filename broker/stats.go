package broker

import (
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stavily/stavily/protocol"
)

// Stats counts since the broker's start.
type Stats struct {
	Denials   uint64 // refused: connections, logins, topics
	Malformed uint64 // packets that did not pass the check
	Panics    uint64 // recovered
	Takeovers uint64 // silent sessions replaced by a new connection
	Received  uint64 // messages of agents handed to the hub
	Unheard   uint64 // messages of agents to which nobody listened
	Unkept    uint64 // connections cut because the hub kept a message too late
	Sent      uint64 // messages of the hub handed to mochi
	Sessions  int    // agents connected
	Retained  int    // retained messages
	KeptBytes int    // payload bytes of retained messages
}

type counters struct {
	denials, malformed, panics, takeovers, received, unheard, unkept, sent atomic.Uint64
}

// Stats returns the counts.
func (b *Broker) Stats() Stats {
	b.mu.Lock()
	sessions, retained, kept := len(b.sessions), len(b.retained), b.kept
	b.mu.Unlock()
	c := &b.stats
	return Stats{
		Denials: c.denials.Load(), Malformed: c.malformed.Load(), Panics: c.panics.Load(),
		Takeovers: c.takeovers.Load(), Received: c.received.Load(), Unheard: c.unheard.Load(),
		Unkept: c.unkept.Load(), Sent: c.sent.Load(),
		Sessions: sessions, Retained: retained, KeptBytes: kept,
	}
}

// denialLog lets through a few lines a second: whoever is refused may try often.
type denialLog struct {
	mu      sync.Mutex // guards the fields below
	rate    bucket
	dropped int
}

// allow says whether a line may be written, and how many were not since the last.
func (d *denialLog) allow(now time.Time) (bool, int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.rate.last.IsZero() {
		d.rate = bucket{rate: 2, burst: 20, level: 20, last: now}
	}
	if d.rate.take(now) > 0 {
		d.rate.level++ // a line not written costs nothing
		d.dropped++
		return false, 0
	}
	n := d.dropped
	d.dropped = 0
	return true, n
}

// deny counts, tells the audit and, not too often, the log.
func (b *Broker) deny(who protocol.Address, from net.Addr, err error) {
	b.stats.denials.Add(1)
	if b.cfg.Denied != nil {
		b.cfg.Denied(who, err.Error())
	}
	if ok, dropped := b.denial.allow(time.Now()); ok {
		b.log.Warn("denied", slog.String("agent", who.String()), slog.String("from", from.String()),
			slog.String("what", err.Error()), slog.Int("not_logged", dropped))
	}
}
