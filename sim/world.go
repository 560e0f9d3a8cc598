// Package sim is the fleet simulator: the real hub, real agents and real plugins on
// virtual time, in one goroutine, from one seed. Links, disks and clocks are made up, so
// that they can be as bad as those in the field; faults come at their times or at random;
// and whatever happens, the invariants of check_*.go are looked at.
//
// The same scenario, seed and build give the same run, byte for byte: the digest of
// everything that happened is part of the result.
package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/stavily/stavily/hub"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/sim/report"
	"github.com/stavily/stavily/sim/scenario"
)

const (
	// runsKept is how long the hub keeps runs: long enough to look at them, short enough
	// that a year of a thousand agents fits the memory.
	runsKept = time.Hour
	// settleStep is how often it is looked whether all have converged.
	settleStep = 10 * time.Second
)

// Options are what a run is besides its scenario.
type Options struct {
	// Seed replaces the scenario's, if it is not 0.
	Seed uint64
	// Until replaces the scenario's duration, if it is not 0.
	Until time.Duration
	// Build names the program, for the report.
	Build string
	// Repeat is the command that repeats the run; reports print it with what went wrong.
	Repeat string
	// Look is the command that shows an agent at a moment, without both; empty: none does.
	Look string
	// Log gets everything that happens as lines of text. It is slow. Nil: nobody reads it.
	Log io.Writer
	// Trace gets everything that happens as CBOR: a TraceHead, and TraceItems. Nil: nobody
	// keeps it.
	Trace io.Writer
	// Modules are the bytes of the scenario's plugins that are no models, by name.
	Modules map[string]hub.Built
	// Stop ends the run at the first violation.
	Stop bool
	// Hub is the address of a hub that level live is to use, and Token lets its agents join
	// there. Empty: a hub is started for it, by HubCommand.
	Hub   string
	Token protocol.JoinToken
	// HubCommand starts the hub of level live; its home follows as the last word.
	HubCommand []string

	held *recording   // that the run is held against; nil: none
	halt *atomic.Bool // ends the run as soon as it is looked at; nil: nothing does
}

// World is one simulation. One caller at a time.
type World struct {
	ctx      context.Context //nolint:containedctx // it ends the run and is asked at each step
	scenario *scenario.Scenario
	opts     Options
	seed     uint64
	repeat   string
	start    time.Time
	until    int64

	now   int64 // ns since the start
	queue queue
	trace *trace
	hub   *hubside
	ring  protocol.Keyring
	// policy is what the devices allow plugins.
	policy []protocol.Grant

	real     *realm      // nil at level model
	admitted []hub.Built // releases that a hub which starts is to have

	devices   []*device
	byAddress map[protocol.Address]*device
	byName    map[string]*device

	guests   guests
	code     map[protocol.Digest]behaviour       // by the digest of the module
	releases map[protocol.Digest]protocol.Digest // sealed: their modules
	bad      map[string]int                      // plugins whose release is bad now

	checks     []check
	uplinks    *uplinkCheck // one of checks
	violations []report.Violation
	tell       *teller
	faults     faults
	watched    watched
	facts      []fact
	words      map[string]string // names that facts share; never walked through
	lastFault  string
	err        error // what must never happen: a defect of the simulator or the machine
}

// Run simulates a scenario. The error says why it could not be simulated; what went
// wrong in it is in the result.
func Run(ctx context.Context, s *scenario.Scenario, o Options) (*report.Result, error) {
	began := time.Now() //nolint:forbidigo // how long it took is not part of what is simulated
	w, err := newWorld(ctx, s, o)
	if err != nil {
		return nil, fmt.Errorf("simulate %s: %w", s.Name, err)
	}
	var out *report.Result
	if err = w.run(); err == nil {
		w.alone(func() { out = w.tell.result() })
	}
	if err = errors.Join(err, w.close()); err != nil {
		return nil, fmt.Errorf("simulate %s: seed %d: at +%s: %w", s.Name, w.seed, time.Duration(w.now), err)
	}
	if s.Level != scenario.LevelBubble { // where the clock is not ours
		out.Wall = time.Since(began)
	}
	return out, nil
}

func newWorld(ctx context.Context, s *scenario.Scenario, o Options) (*World, error) {
	w := &World{
		ctx: ctx, scenario: s, opts: o, seed: s.Seed, start: s.Start, until: int64(s.Duration),
		repeat: o.Repeat,
		hub:    &hubside{},
		trace:  newTrace(o.Log), byAddress: map[protocol.Address]*device{}, byName: map[string]*device{},
		code: map[protocol.Digest]behaviour{}, releases: map[protocol.Digest]protocol.Digest{},
		bad: map[string]int{}, words: map[string]string{},
	}
	if o.Seed != 0 {
		w.seed = o.Seed
	}
	if o.Until > 0 {
		w.until = int64(o.Until)
	}
	if w.repeat == "" {
		w.repeat = fmt.Sprintf("stavily sim run %s --seed %d", s.File, w.seed)
	}
	w.checks = newChecks(w)
	w.tell = newTeller(w)
	if err := w.found(ctx); err != nil {
		return nil, errors.Join(err, w.close())
	}
	w.alone(func() {
		if o.Trace != nil {
			w.trace.record(o.Trace, w)
		}
		w.trace.held = o.held
		w.plan()
	})
	return w, nil
}

// found makes the hub, the fleet and the releases.
func (w *World) found(ctx context.Context) error {
	if err := w.policies(); err != nil {
		return err
	}
	if w.scenario.Level != scenario.LevelModel {
		return w.foundReal(ctx)
	}
	h, err := newHubside(ctx, w)
	if err != nil {
		return err
	}
	w.hub = h
	w.ring = w.hub.hub.Believed()
	if err := errors.Join(w.people(), w.appoint(), w.publish()); err != nil {
		return err
	}
	return w.preflight()
}

// plan puts into the queue what the scenario says.
func (w *World) plan() {
	for _, d := range w.devices {
		first := newStream(w.seed, "start", d.id)
		w.push(item{at: int64(first.upTo(time.Second)), kind: kindPower, d: d})
		d.line.times()
	}
	w.budget()
	for i := range w.scenario.Deploys {
		of := &w.scenario.Deploys[i]
		w.do(int64(of.At), func() { w.deploy(of) })
	}
	w.faults.plan(w)
	w.tell.plan()
}

// run is both phases: with faults until the end, and then without until all converge.
func (w *World) run() error {
	if err := w.runTo(w.until); err != nil {
		return err
	}
	at, bound, settled := int64(0), int64(0), false
	step := settleStep
	if w.scenario.Level == scenario.LevelLive { // somebody waits
		step = time.Second
	}
	w.alone(func() {
		w.faults.end()
		at, bound = w.now, w.now+int64(w.scenario.Settle)
	})
	for at < bound && !settled {
		at = min(bound, at+int64(step))
		if err := w.runTo(at); err != nil {
			return err
		}
		w.refresh()
		w.alone(func() { settled = len(w.pending(false)) == 0 })
	}
	w.alone(func() {
		for _, c := range w.checks {
			c.ended()
		}
	})
	return w.err
}

// look returns the command that shows what d, or the first agent, is now; empty: none does.
func (w *World) look(d *device) string {
	if w.opts.Look == "" || w.scenario.Level != scenario.LevelModel {
		return ""
	}
	text := fmt.Sprintf("%s --to %s", w.opts.Look, time.Duration(w.now).Round(time.Second))
	if d != nil {
		text += " --agent " + quoted(d.stats.Name)
	}
	return text
}

// refresh asks a hub that runs by itself what it knows.
func (w *World) refresh() {
	if w.real != nil {
		w.real.refresh()
	}
}

// runTo lets everything happen up to a moment.
func (w *World) runTo(end int64) error {
	if w.real != nil {
		return w.real.runTo(end)
	}
	for n := 0; w.err == nil; n++ {
		next, ok := w.queue.next()
		if !ok || next > end {
			break
		}
		if n&0xfff == 0 && w.ctx.Err() != nil {
			return w.ctx.Err()
		}
		if err := w.runItem(); err != nil {
			return err
		}
		if w.opts.Stop && len(w.violations) > 0 {
			w.until = w.now
			return w.err
		}
	}
	w.now = max(w.now, end)
	return w.err
}

// runItem lets the next thing happen, of which there must be one.
func (w *World) runItem() error {
	it := w.queue.pop()
	w.now = it.at
	w.happen(&it)
	if w.trace.other != nil {
		return w.trace.other
	}
	return w.err
}

// happen does one item.
func (w *World) happen(it *item) {
	switch it.kind {
	case kindTick:
		it.d.tick(it.n)
	case kindArrive:
		it.d.line.arrive(it.n)
	case kindAnswer:
		if a, ok := it.arg.(*answered); ok {
			it.d.plugins.ended(a, it.n == 1)
		}
	case kindConnect:
		it.d.line.connect(it.n)
	case kindFlush:
		w.hub.flush(it.n)
	case kindHubTick:
		w.hub.tick(it.n)
	case kindWill:
		payload, _ := it.arg.([]byte)
		w.hub.will(it.d, it.n, payload)
	case kindTimeout:
		it.d.line.timeout(it.n)
	case kindPower:
		it.d.power()
	case kindDo:
		if f, ok := it.arg.(func()); ok {
			f()
		}
	}
}

func (w *World) push(it item) {
	w.queue.push(it)
	if w.real != nil {
		w.real.ring()
	}
}

// do has f happen at a moment.
func (w *World) do(at int64, f func()) { w.push(item{at: max(at, w.now), kind: kindDo, arg: f}) }

// after has f happen in a while.
func (w *World) after(d time.Duration, f func()) { w.do(w.now+int64(d), f) }

// time returns the world's time, which is the hub's.
func (w *World) time() time.Time { return w.start.Add(time.Duration(w.now)) }

// day returns which day it is, since 1970 and in UTC.
func (w *World) day() int64 { return w.time().Unix() / int64(24*time.Hour/time.Second) }

// broken ends the run: what went wrong is no part of what is simulated.
func (w *World) broken(err error) {
	if w.err == nil {
		w.err = err
	}
}

// logs returns where the agent on d logs.
func (w *World) logs(d *device) slog.Handler {
	if w.opts.Log == nil {
		return slog.DiscardHandler
	}
	return &logHandler{w: w, d: d}
}

func (w *World) close() (err error) {
	defer func() { err = errors.Join(err, w.trace.ended()) }()
	switch {
	case w.real != nil:
		err = errors.Join(w.real.close(), os.RemoveAll(w.hub.dir))
	case w.hub.memory != nil:
		err = w.hub.close()
	}
	if w.guests.host != nil {
		err = errors.Join(err, w.guests.host.Close(context.WithoutCancel(w.ctx)))
	}
	return err
}

// logHandler puts what an agent logs into the text of the trace, not into its digest.
type logHandler struct {
	w *World
	d *device
}

// Enabled reports true: whoever asks for the text wants all of it.
func (*logHandler) Enabled(context.Context, slog.Level) bool { return true }

// Handle writes one line.
func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.String()
		return true
	})
	_, err := fmt.Fprintf(h.w.opts.Log, "+%s %s log %s %s\n", time.Duration(h.w.now), h.d.addr, r.Level, text)
	return err
}

// WithAttrs and WithGroup return h: agents use neither.
func (h *logHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

// WithGroup is as WithAttrs.
func (h *logHandler) WithGroup(string) slog.Handler { return h }

var _ slog.Handler = (*logHandler)(nil)
