package sim

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/stavily/stavily/hub"
	"github.com/stavily/stavily/protocol"
)

// commitTime is how long the hub gathers messages for one commit.
const commitTime = 5 * time.Millisecond

// hubside is the hub, what outlives it, and the broker's part of the lines.
type hubside struct {
	w       *World
	cfg     hub.Config
	memory  *hub.Memory
	hub     *hub.Hub // nil while it is away
	life    uint64   // counts starts
	ticks   uint64
	hearers []hearer
	filled  bool // something waits for the next commit
	away    int  // faults that keep it away
	dir     string
	backups []backup
	waits   []func() // wishes of the operator that came while it was away
}

// backup is a copy of the books.
type backup struct {
	at   int64
	path string
}

func newHubside(ctx context.Context, w *World) (*hubside, error) {
	random := newStream(w.seed, "hub keys", 0)
	memory, err := hub.NewMemory(ctx, &random)
	if err != nil {
		return nil, err
	}
	memory.Aside = func(work func()) { go work() } // who asks the books waits for it
	h := &hubside{w: w, memory: memory, cfg: hub.DefaultConfig("")}
	h.cfg.Approve = protocol.DefaultPolicy()
	h.cfg.RunsKept = runsKept
	h.cfg.Moved = func(m hub.Moved) { w.tell.moved(&m) }
	h.hearers = []hearer{{"#", h.receive}}
	return h, h.start()
}

// start opens a hub over what the last one left.
func (h *hubside) start() error {
	var err error
	h.hub, err = h.memory.Open(h.cfg, h.w.time(), h, slog.New(&refusals{h.w.tell}))
	if err != nil {
		return err
	}
	h.life++
	h.arm(h.hub.Tick(h.w.time()))
	return nil
}

func (h *hubside) arm(next time.Time) {
	h.ticks++
	h.w.push(item{at: max(h.w.now, int64(next.Sub(h.w.start))), kind: kindHubTick, n: h.ticks})
}

func (h *hubside) tick(n uint64) {
	if h.hub != nil && n == h.ticks {
		h.w.trace.note(h.w.now, nil, "hub tick", nil)
		h.arm(h.hub.Tick(h.w.time()))
	}
}

// receive takes a message of an agent.
func (h *hubside) receive(m protocol.Message) {
	if h.hub == nil {
		return
	}
	said := parsedOf(m).uncarried()
	h.w.tell.heard(&said)
	h.hub.Handle(h.w.time(), m)
	h.fill()
}

// fill has what was handled be committed soon.
func (h *hubside) fill() {
	if !h.filled {
		h.filled = true
		h.w.push(item{at: h.w.now + int64(commitTime), kind: kindFlush, n: h.life})
	}
}

func (h *hubside) flush(life uint64) {
	if h.hub == nil || life != h.life {
		return
	}
	h.filled = false
	if err := h.hub.Flush(); err != nil {
		h.w.broken(err)
	}
}

// Send takes a message of the hub for one agent.
func (h *hubside) Send(m protocol.Message) error {
	to, k, err := protocol.ParseTopic(m.Topic)
	if err != nil {
		return err
	}
	d := h.w.byAddress[to]
	if d == nil {
		return protocol.Errorf(protocol.CodeUnavailable, "send %q: no such agent", m.Topic)
	}
	p := parsed{m, to, k}
	h.said(p.uncarried())
	p.Message = d.spoilt(k, m)
	return d.line.down(&p)
}

// said lets all look at what the hub tells an agent.
func (h *hubside) said(m parsed) {
	d := h.w.byAddress[m.of]
	if m.kind == "" || d == nil {
		return
	}
	for _, c := range h.w.checks {
		c.said(d, m.kind, m.Payload)
	}
	h.w.tell.said(d, m.kind, m.Payload)
}

// Listen asks for messages at the hub's end.
func (h *hubside) Listen(filter string, deliver func(protocol.Message)) error {
	h.hearers = append(h.hearers, hearer{filter, deliver})
	return nil
}

// will tells the hub what a lost line left, if the broker that knew it still runs.
func (h *hubside) will(d *device, life uint64, payload []byte) {
	if h.hub == nil || life != h.life || payload == nil {
		return
	}
	h.w.trace.note(h.w.now, d, "will", payload)
	h.receive(protocol.Message{Topic: protocol.Topic(d.addr, protocol.UpPresence), Payload: payload})
}

// stop ends the hub: in order, or in mid-step. Its broker ends with it.
func (h *hubside) stop(crash bool) {
	h.away++
	if h.hub == nil {
		return
	}
	if !crash {
		if err := h.hub.Flush(); err != nil {
			h.w.broken(err)
		}
	}
	h.hub.Halt()
	h.hub, h.filled = nil, false
	h.life++
	for _, d := range h.w.devices {
		if len(d.line.gates) > 0 {
			continue
		}
		d.line.cut("hub away")
		d.line.dropped(wayDown)
		d.line.retained = nil
	}
}

// back starts the hub again when nothing keeps it away any more.
func (h *hubside) back() {
	if h.away--; h.away > 0 || h.hub != nil {
		return
	}
	if err := h.start(); err != nil {
		h.w.broken(err)
		return
	}
	waits := h.waits
	h.waits = nil
	for _, f := range waits {
		f()
	}
	for _, d := range h.w.devices {
		if len(d.line.gates) == 0 {
			d.line.retry()
		}
	}
}

// operate does what the operator wishes, now or when the hub is back.
func (h *hubside) operate(f func() error) {
	if h.hub == nil {
		h.waits = append(h.waits, func() { h.operate(f) })
		return
	}
	if err := f(); err != nil {
		h.w.broken(err)
	}
}

// backUp copies the books.
func (h *hubside) backUp(ctx context.Context) error {
	if h.hub != nil {
		if err := h.hub.Flush(); err != nil {
			return err
		}
	}
	path, err := h.nextBackup(h.w.now)
	if err != nil {
		return err
	}
	return h.memory.Backup(ctx, path)
}

// nextBackup returns where a copy of the books of this moment goes.
func (h *hubside) nextBackup(now int64) (string, error) {
	dir, err := h.scratch()
	if err != nil {
		return "", fmt.Errorf("backup: %w", err)
	}
	path := filepath.Join(dir, fmt.Sprintf("books-%d.db", len(h.backups)))
	h.backups = append(h.backups, backup{now, path})
	return path, nil
}

// oldBackup takes the newest backup that was made at a moment or before it.
func (h *hubside) oldBackup(at int64) (backup, error) {
	for i := len(h.backups) - 1; i >= 0; i-- {
		if b := h.backups[i]; b.path != "" && b.at <= at {
			h.backups[i].path = "" // it is the books from now on
			return b, nil
		}
	}
	return backup{}, fmt.Errorf("restore: no backup is from +%s or before", time.Duration(max(0, at)))
}

// scratch returns a folder that is removed when the world ends.
func (h *hubside) scratch() (_ string, err error) {
	if h.dir == "" {
		h.dir, err = os.MkdirTemp("", "stavily-sim-")
	}
	return h.dir, err
}

// restore makes the books of the hub, which is away, those of the newest backup that is as old
// as by.
func (h *hubside) restore(ctx context.Context, by time.Duration) error {
	b, err := h.oldBackup(h.w.now - int64(by))
	if err != nil {
		return err
	}
	err = h.memory.Restore(ctx, b.path)
	for _, c := range h.w.checks {
		c.restored(b.at)
	}
	return err
}

// personEvery is how often somebody looks after books that were put back.
const personEvery = 10 * time.Minute

// adopt is the person who says that the hub is right though the fleet is ahead of its books.
func (h *hubside) adopt() {
	if h.hub != nil {
		h.operate(func() error {
			_, err := h.hub.Adopt(h.w.time(), nil)
			return err
		})
	}
	h.w.after(personEvery, h.adopt)
}

func (h *hubside) close() error {
	if h.hub != nil {
		h.hub.Halt()
	}
	err := h.memory.Close()
	if h.dir != "" {
		_ = os.RemoveAll(h.dir) // scratch
	}
	return err
}

var _ protocol.Link = (*hubside)(nil)
