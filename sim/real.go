package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/sim/scenario"
	"github.com/stavily/stavily/sim/swarm"
)

// realm is what levels bubble and live have and level model has not: a hub that serves, a
// broker, connections, and agents that run their own loops. Disks, plugins, signals, checks
// and the report are the world's as ever; the queue is a timetable now. One lock guards all
// of them: whoever is not the world's own loop enters before it touches any.
type realm struct {
	w     *World
	ctx   context.Context //nolint:containedctx // it ends all that the realm began
	end   context.CancelFunc
	site  site
	began time.Time
	bell  chan struct{} // holds one: the timetable changed
	jobs  chan job      // of the hub's keeper; bound: jobsMax
	asks  chan ask      // of the operator; bound: jobsMax
	all   sync.WaitGroup

	mu    sync.Mutex // guards the world and the fields below
	up    bool       // the hub is
	away  int        // faults that keep it away
	wants map[protocol.AgentName]want
}

// foundReal makes a realm for the level of the scenario, and the fleet in it.
func (w *World) foundReal(ctx context.Context) (err error) {
	r := &realm{
		w: w, bell: make(chan struct{}, 1), jobs: make(chan job, jobsMax), asks: make(chan ask, jobsMax),
	}
	r.ctx, r.end = context.WithCancel(ctx)
	w.real = r
	if err := errors.Join(w.people(), w.publish()); err != nil {
		return err
	}
	if r.site, err = r.place(); err != nil {
		return err
	}
	return r.begin(w.devices)
}

// place returns where the hub of the scenario's level runs.
func (r *realm) place() (site, error) {
	w := r.w
	switch {
	case w.scenario.Level == scenario.LevelBubble && w.opts.halt == nil:
		return nil, errors.New("level bubble: not in a bubble; see Bubble")
	case w.scenario.Level == scenario.LevelBubble:
		return newInside(w, slog.New(&overheard{r, refusals{w.tell}}))
	case w.opts.Hub != "":
		return &foreign{addr: w.opts.Hub}, nil
	default:
		return newProcess(w.admitted, w.opts.HubCommand, func() {
			w.alone(func() { w.tell.totals.Refused++ })
		})
	}
}

// strange reports whether the hub is somebody else's.
func (w *World) strange() bool { return w.real != nil && w.opts.Hub != "" }

// overheard is where a hub that runs by itself logs.
type overheard struct {
	r *realm
	refusals
}

// Handle counts, alone.
func (o *overheard) Handle(ctx context.Context, rec slog.Record) (err error) {
	o.r.w.alone(func() { err = o.refusals.Handle(ctx, rec) })
	return err
}

// WithAttrs returns o: what is said with it does not matter.
func (o *overheard) WithAttrs([]slog.Attr) slog.Handler { return o }

// WithGroup is as WithAttrs.
func (o *overheard) WithGroup(string) slog.Handler { return o }

// hubUp reports whether the hub is there.
func (w *World) hubUp() bool {
	if w.real != nil {
		return w.real.up
	}
	return w.hub.hub != nil
}

// site is where the hub of a realm runs.
type site interface {
	// start begins a hub and returns when it answers; stop ends it, in order or at once.
	start(ctx context.Context) error
	stop(crash bool) error
	// take brings the far end of a connection to the hub, and owns it.
	take(ctx context.Context, far net.Conn) error
	// entrance returns where the neighbours of a gateway can come in.
	entrance() (*entrance, error)
	// dial opens a connection to the hub that no weather befalls.
	dial(ctx context.Context) (net.Conn, error)
	// books returns the file that the hub's books are; empty: somebody else's.
	books() string
	// api asks the hub as its operator; nil: nobody may.
	api() *api.Client
	// close frees what is left once the hub has stopped.
	close() error
}

// job is one wish to start or stop the hub, or to copy its books; ask is one of the operator's.
type (
	job struct {
		start, crash bool
		books        *books // nil: start or stop
	}
	ask struct {
		what string
		do   func(ctx context.Context) error
	}
)

const (
	// jobsMax bounds the wishes that wait.
	jobsMax = 4096
	// againAfter is how long the operator waits for a hub that is away.
	againAfter = time.Second
	// askMax bounds one question to the hub.
	askMax = time.Minute
)

func (r *realm) enter() {
	r.mu.Lock()
	r.w.now = max(r.w.now, int64(time.Since(r.began)))
}

func (r *realm) leave() { r.mu.Unlock() }

// ring tells the world's loop that the timetable changed. It does not wait.
func (r *realm) ring() {
	select {
	case r.bell <- struct{}{}:
	default:
	}
}

// alone runs f while nobody else touches the world.
func (w *World) alone(f func()) {
	if w.real == nil {
		f()
		return
	}
	w.real.enter()
	defer w.real.leave()
	f()
}

// begin starts the hub, has the fleet join it and lets the world's time run.
func (r *realm) begin(devices []*device) error {
	if at := time.Until(r.w.start); at > 0 && r.w.scenario.Level == scenario.LevelBubble {
		rest(r.ctx, at)
	}
	if err := r.site.start(r.ctx); err != nil {
		return err
	}
	r.up = true
	if !r.w.strange() {
		if err := r.releases(); err != nil {
			return err
		}
	}
	if err := r.join(devices); err != nil {
		return err
	}
	r.began = time.Now()
	r.w.start = r.began
	for _, d := range devices {
		d.clock.start = r.began
	}
	r.all.Go(r.keep)
	r.all.Go(r.operate)
	return nil
}

// join has all devices join, each with the token of its site.
func (r *realm) join(devices []*device) error {
	wishes := map[joiners]int{}
	for _, d := range devices {
		wishes[joiners{d.addr.Site, d.post != nil}]++
	}
	tokens := map[joiners]protocol.JoinToken{}
	for _, d := range devices {
		at := joiners{d.addr.Site, d.post != nil}
		if _, made := tokens[at]; r.w.strange() {
			tokens[at] = r.w.opts.Token
		} else if !made {
			token, err := r.token(at, wishes[at])
			if err != nil {
				return fmt.Errorf("site %s: %w", at.site, err)
			}
			tokens[at] = token
		}
		j := swarm.Joining{
			Name: d.addr.Agent, Device: d.describe(), Token: tokens[at], Dial: r.site.dial,
		}
		who, err := j.Join(r.ctx)
		if err != nil {
			return err
		}
		d.body.who, d.epoch, r.w.ring = who, who.Epoch, who.Ring
		d.addr = who.Address // its site is the token's
		r.w.byAddress[d.addr] = d
	}
	return nil
}

// joiners are the agents of a site that join with one token: its gateways, or the others.
type joiners struct {
	site     protocol.Site
	gateways bool
}

func (r *realm) token(at joiners, count int) (protocol.JoinToken, error) {
	var made api.Token
	wish := api.NewToken{Site: at.site, Count: count, Gateway: at.gateways}
	err := r.do(http.MethodPost, api.PathTokens, wish, &made)
	if err != nil {
		return protocol.JoinToken{}, err
	}
	return protocol.ParseJoinToken(made.Token)
}

// releases asks the hub under which digests it sealed the scenario's plugins.
func (r *realm) releases() error {
	var all []api.Registered
	if err := r.do(http.MethodGet, api.PathPlugins, nil, &all); err != nil {
		return err
	}
	for i := range all {
		var p api.Plugin
		if err := r.do(http.MethodGet, api.Path(api.PathPlugin, string(all[i].Name)), nil, &p); err != nil {
			return err
		}
		for _, release := range p.Releases {
			for _, a := range release.Artifacts {
				r.w.releases[release.Digest] = a.Digest
			}
		}
	}
	return nil
}

// do asks the hub as its operator.
func (r *realm) do(method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(r.ctx, askMax)
	defer cancel()
	return r.site.api().Do(ctx, method, path, in, out)
}

// runTo lets everything happen up to a moment.
func (r *realm) runTo(end int64) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for r.ctx.Err() == nil {
		wait, done, err := r.step(end)
		if done || err != nil {
			return err
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-r.bell:
		case <-r.ctx.Done():
		}
	}
	return r.ctx.Err()
}

// step does what is due, and returns how long there is nothing to do.
func (r *realm) step(end int64) (wait time.Duration, done bool, err error) {
	r.enter()
	defer r.leave()
	w := r.w
	for w.err == nil {
		if w.opts.halt != nil && w.opts.halt.Load() {
			return 0, true, context.Canceled
		}
		next, some := w.queue.next()
		if w.opts.Stop && len(w.violations) > 0 {
			w.until = w.now
			return 0, true, nil
		}
		switch {
		case some && next <= min(w.now, end):
			it := w.queue.pop()
			w.happen(&it)
		case w.now >= end:
			return 0, true, nil
		default:
			until := end
			if some {
				until = min(until, next)
			}
			return time.Duration(until - w.now), false, nil
		}
	}
	return 0, true, w.err
}

// rest waits for d or for ctx.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// refresh asks the hub what its books say of all agents.
func (r *realm) refresh() {
	if r.w.strange() {
		r.guess()
		return
	}
	var agents []api.Agent
	err := r.do(http.MethodGet, api.PathAgents, nil, &agents)
	r.enter()
	defer r.leave()
	if r.wants = nil; err != nil {
		return
	}
	r.wants = make(map[protocol.AgentName]want, len(agents))
	for i := range agents {
		r.wants[agents[i].Address.Agent] = wantOf(&agents[i])
	}
}

// guess takes for the books of a hub that is not asked what it told each agent last.
func (r *realm) guess() {
	r.enter()
	defer r.leave()
	r.wants = make(map[protocol.AgentName]want, len(r.w.devices))
	for _, d := range r.w.devices {
		of := r.w.tell.of(d)
		r.wants[d.addr.Agent] = want{revision: of.wanted.Revision, digest: of.want, reported: of.reported.Digest}
	}
}

// stopHub and backHub are wishes of a fault. The caller has entered.
func (r *realm) stopHub(crash bool) {
	if r.away++; r.away == 1 {
		r.wish(job{crash: crash})
	}
}

func (r *realm) backHub() {
	if r.away--; r.away == 0 {
		r.wish(job{start: true})
	}
}

func (r *realm) wish(j job) {
	select {
	case r.jobs <- j:
	default:
		r.w.broken(fmt.Errorf("more than %d wishes to start and stop the hub", jobsMax))
	}
}

// keep starts and stops the hub as wished.
func (r *realm) keep() {
	for {
		var j job
		select {
		case j = <-r.jobs:
		case <-r.ctx.Done():
			return
		}
		if err := r.work(j); err != nil && r.ctx.Err() == nil {
			r.w.alone(func() { r.w.broken(err) })
			r.ring()
			return
		}
	}
}

// work does one job of the keeper.
func (r *realm) work(j job) (err error) {
	switch {
	case j.start:
		if err = r.site.start(r.ctx); err == nil {
			r.alive(true)
		}
		return err
	case j.books == nil:
		r.alive(false)
		return r.site.stop(j.crash)
	}
	up := false
	r.w.alone(func() { up = r.up })
	if !up {
		return r.copyBooks(j.books)
	}
	r.alive(false)
	if err := errors.Join(r.site.stop(false), r.copyBooks(j.books), r.site.start(r.ctx)); err != nil {
		return err
	}
	r.alive(true)
	return nil
}

func (r *realm) alive(up bool) {
	r.enter()
	defer r.leave()
	r.up = up
}

// asked hands a wish to the operator. The caller has entered.
func (r *realm) asked(what string, do func(ctx context.Context) error) {
	select {
	case r.asks <- ask{what, do}:
	default:
		r.w.broken(fmt.Errorf("%s: more than %d wishes of the operator wait", what, jobsMax))
	}
}

// operate does what the operator wishes, one after the other; what finds no hub is tried
// again until there is one.
func (r *realm) operate() {
	for {
		var a ask
		select {
		case a = <-r.asks:
		case <-r.ctx.Done():
			return
		}
		err := a.do(r.ctx)
		for r.unreachable(err) {
			rest(r.ctx, againAfter)
			err = a.do(r.ctx)
		}
		if err != nil && r.ctx.Err() == nil {
			r.w.alone(func() { r.w.broken(fmt.Errorf("%s: %w", a.what, err)) })
			r.ring()
		}
	}
}

func (r *realm) unreachable(err error) bool {
	var away *api.UnreachableError
	return errors.As(err, &away) && r.ctx.Err() == nil
}

// deploy does what the scenario's operator wishes. The caller has entered.
func (r *realm) deploy(of *scenario.Deploy) {
	method, path := http.MethodPost, api.PathWorkflows
	var in any = api.Deploy{File: of.File, Text: string(of.Workflow)}
	if of.Remove {
		method, path, in = http.MethodDelete, api.Path(api.PathWorkflow, of.Name), nil
	}
	r.asked("deploy "+of.Name, func(context.Context) error {
		var out api.Deployed
		if of.Remove {
			return r.do(method, path, in, nil)
		}
		if err := r.do(method, path, in, &out); err != nil {
			return err
		}
		r.w.alone(func() {
			r.w.tell.answered(&out)
			for _, c := range out.Agents {
				if d := r.w.byName[string(c.Agent)]; d != nil && c.Changed {
					r.w.tell.deployed(of.Name, d, c.Revision)
				}
			}
		})
		return nil
	})
}

// close ends all agents and the hub.
func (r *realm) close() error {
	r.enter()
	for _, d := range r.w.devices {
		d.kill()
	}
	r.leave()
	r.end()
	r.all.Wait()
	if r.site == nil {
		return nil
	}
	var err error
	if r.up {
		err = r.site.stop(false)
	}
	return errors.Join(err, r.site.close())
}

var _ slog.Handler = (*overheard)(nil)

// wantOf is what the books say of an agent.
func wantOf(a *api.Agent) want {
	v := want{revision: a.Desired.Revision, digest: a.Desired.Digest}
	if a.Reported != nil {
		v.reported = a.Reported.Digest
	}
	return v
}
