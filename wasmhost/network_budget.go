package wasmhost

import (
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/stavily/stavily/protocol"
)

// NetworkBudget bounds what one plugin, all its steps together, may move over the
// network in one minute: S-07. TLS and the words of HTTP count; what IP and TCP add does
// not. 0 means the default, less than 0 nothing.
type NetworkBudget struct {
	InPerMinute  int64 // bytes, 16 MiB unless said
	OutPerMinute int64 // bytes, 4 MiB unless said
}

const (
	budgetIn  = 16 << 20
	budgetOut = 4 << 20
	window    = time.Minute

	// readMost bounds what one read of a socket sets aside of the budget.
	readMost = 16 << 10
)

// direction is which way bytes go.
type direction int

const (
	inward direction = iota
	outward
)

func (d direction) String() string { return [...]string{"in", "out"}[d] }

// budget counts the bytes of one plugin.
type budget struct {
	clock func() time.Time
	most  [2]int64

	mu    sync.Mutex // guards the fields below
	since time.Time  // when the window of now began
	used  [2]int64
}

func newBudget(limit NetworkBudget, clock func() time.Time) *budget {
	b := &budget{clock: clock, most: [2]int64{limit.InPerMinute, limit.OutPerMinute}}
	for i, unless := range [2]int64{budgetIn, budgetOut} {
		if b.most[i] == 0 {
			b.most[i] = unless
		}
	}
	return b
}

// budgetOf returns the budget of a plugin, one for all its steps.
func (h *Host) budgetOf(name protocol.PluginName) *budget {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := h.budgets[name]
	if b == nil {
		b = newBudget(h.cfg.Network.Budget, h.cfg.Clock)
		h.budgets[name] = b
	}
	return b
}

// take sets up to want bytes aside and returns how many; 0 when the window's are spent.
func (b *budget) take(d direction, want int64) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	// A clock that was set back opens a new window too: it must not close one for years.
	if now := b.clock(); b.since.IsZero() || now.Sub(b.since) >= window || now.Before(b.since) {
		b.since, b.used = now, [2]int64{}
	}
	got := max(min(want, b.most[d]-b.used[d]), 0)
	b.used[d] += got
	return got
}

// give puts back what was taken and not used.
func (b *budget) give(d direction, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used[d] = max(b.used[d]-n, 0)
}

// spent says which bound was met, for the guest and the audit.
func (b *budget) spent(d direction) string {
	return fmt.Sprintf("budget of %d bytes %s per minute is spent", max(b.most[d], 0), d)
}

// spend takes exactly n bytes of the plugin's budget.
func (r *request) spend(capability string, d direction, n int64) error {
	b := r.p.budget
	if got := b.take(d, n); got < n {
		b.give(d, got)
		return r.over(capability, b.spent(d))
	}
	return nil
}

// gauged is a connection whose bytes are counted. One goroutine uses it, others may
// close it or set its deadline.
type gauged struct {
	net.Conn
	budget  *budget
	tripped string // which bound it met; then it reads or writes no more
}

// Read reads what the budget allows.
func (g *gauged) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return g.Conn.Read(p)
	}
	got := g.budget.take(inward, min(int64(len(p)), readMost))
	if got == 0 {
		return 0, g.trip(inward)
	}
	n, err := g.Conn.Read(p[:got])
	g.budget.give(inward, got-int64(n))
	return n, err
}

// Write writes all of p, or nothing when the budget does not allow it.
func (g *gauged) Write(p []byte) (int, error) {
	got := g.budget.take(outward, int64(len(p)))
	if got < int64(len(p)) {
		g.budget.give(outward, got)
		return 0, g.trip(outward)
	}
	return g.Conn.Write(p)
}

func (g *gauged) trip(d direction) error {
	g.tripped = g.budget.spent(d)
	return protocol.Errorf(protocol.CodeLimit, "%s", g.tripped)
}

var _ net.Conn = (*gauged)(nil)
