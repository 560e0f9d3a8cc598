package edge

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/stavily/stavily/protocol"
)

// Runs finish on the releases that they began with. When an assignment comes with another
// release of one of its plugins while runs are under way, the old work stays beside the new
// one, without its trigger, until they have ended; for a bounded time, and where the device has
// the memory. It is on the disk, so that a restart in the middle changes nothing.

// keyEnding is followed by the workflow's name and the revision that ended it.
const keyEnding = "ending/"

const (
	// endingFor is how long an old work stays; the runs that are left then go on with the new
	// one. A restart begins it anew.
	endingFor = time.Hour
	// endingsMax bounds the old works of one workflow.
	endingsMax = 3
)

// ending is a work that was replaced while runs of it were under way.
type ending struct {
	work   *work
	gen    *generation // the part of its generation that it stands on
	until  uint64      // runs that fired under an older revision are its own
	stop   time.Time   // when it ends, whatever is left
	failed uint64      // runs of it that the new work counts already
}

// savedEnding is what an ending leaves on the disk.
type savedEnding struct {
	Of       protocol.Assignment   `cbor:"1,keyasint"`
	Releases []protocol.ReleaseRef `cbor:"2,keyasint"`
	Since    uint64                `cbor:"3,keyasint"` // the revision that it came with
	Until    uint64                `cbor:"4,keyasint"`
}

func (e *ending) key() string {
	return fmt.Sprintf("%s%s/%020d", keyEnding, e.work.of.Workflow, e.until)
}

// replace puts w in old's place.
func (a *Agent) replace(w, old *work, gen *generation) {
	a.inherit(w, old)
	if back := a.migrate(w, old); !back && w.lingers(old, gen) {
		a.linger(old, gen)
		return
	}
	a.forget(old)
	a.inheritRuns(w, old)
}

// inherit hands on what outlives a change: what was counted, and the state of the same trigger.
func (a *Agent) inherit(w, old *work) {
	w.fired, w.failed, w.filtered, w.blocked = old.fired, old.failed, old.filtered, old.blocked
	a.inheritStorm(w, old)
	if w.triggerDigest == old.triggerDigest {
		w.trigger.state = old.trigger.state
		w.trigger.keep(&old.trigger, a.now)
	} else {
		a.remove(keyTrigger + string(w.of.Workflow))
	}
}

// inheritRuns hands on the runs whose steps are still the same ones.
func (a *Agent) inheritRuns(w, old *work) {
	if w.shape == old.shape {
		w.runs = old.runs
		for _, r := range w.runs {
			r.call = 0
		}
		return
	}
	a.abandon(old, old.runs, "workflow has other steps now")
}

// lingers reports whether old's runs are to end on its own releases.
func (w *work) lingers(old *work, gen *generation) bool {
	if len(old.runs) == 0 || old.phase != protocol.PhaseRunning || gen.barred(old.steps...) != nil {
		return false
	}
	for _, s := range old.steps {
		other := func(n protocol.Step) bool {
			return n.Name == s.Name && (n.Release != s.Release || n.Platform != s.Platform || edition(n) != edition(s))
		}
		if slices.ContainsFunc(w.steps, other) {
			return true
		}
	}
	return false
}

// edition returns which hosts run a step, 0 for none: it runs here.
func edition(s protocol.Step) protocol.Edition {
	if s.Place == nil {
		return 0
	}
	return s.Place.Edition
}

// linger keeps old beside the work that gen has in its place.
func (a *Agent) linger(old *work, gen *generation) {
	e := &ending{work: old, until: gen.desired.Revision, stop: a.now.Add(endingFor), failed: old.failed}
	e.gen = standsOn(a.previous, old)
	a.disarm(old)
	a.endings = append(a.endings, e)
	a.put(e.key(), savedEnding{
		Of: old.of, Releases: e.gen.desired.Releases, Since: old.trial.revision, Until: e.until,
	})
	a.log.Info("runs end on the releases that they began with", slog.String("workflow", string(old.of.Workflow)),
		slog.Int("runs", len(old.runs)))
	if all := a.endingsOf(old.of.Workflow); len(all) > endingsMax {
		a.handOver(all[0], "too many releases at once")
	}
}

// standsOn returns the part of a generation that a work of it needs.
func standsOn(of *generation, w *work) *generation {
	out := &generation{releases: map[protocol.Digest]*opened{}}
	out.desired.Assignments = []protocol.Assignment{w.of}
	for _, ref := range of.desired.Releases {
		used := slices.ContainsFunc(w.steps, func(s protocol.Step) bool { return s.Release == ref.Digest })
		if used && of.releases[ref.Digest] != nil {
			out.desired.Releases = append(out.desired.Releases, ref)
			out.releases[ref.Digest] = of.releases[ref.Digest]
		}
	}
	return out
}

// disarm ends a work's trigger; the steps of its runs go on.
func (a *Agent) disarm(w *work) {
	w.ending = true
	for id, c := range a.calls { // all of them go: order does not matter
		if c.work == w && c.kind == forWake {
			delete(a.calls, id)
		}
	}
	instance := w.instance(0)
	a.after(func() { a.plugins.Stop(instance) })
	w.trigger = trigger{}
	w.storm.next = time.Time{}
}

// instance names the plugin of the n-th step.
func (w *work) instance(n int) Instance { return Instance{w.of.Workflow, w.steps[n].Name, w.turn} }

// turn returns a number that no old work of a workflow has.
func (a *Agent) turn(name protocol.WorkflowName) (n uint32) {
	for _, e := range a.endingsOf(name) {
		n = max(n, e.work.turn+1)
	}
	return n
}

func (a *Agent) endingsOf(name protocol.WorkflowName) (out []*ending) {
	for _, e := range a.endings {
		if e.work.of.Workflow == name {
			out = append(out, e)
		}
	}
	return out
}

// endingRuns counts the runs of a workflow's old works.
func (a *Agent) endingRuns(name protocol.WorkflowName) (n uint64) {
	for _, e := range a.endingsOf(name) {
		n += uint64(len(e.work.runs))
	}
	return n
}

// tendEndings lets the runs of old works go on, and ends the works that have none left.
func (a *Agent) tendEndings() {
	for _, e := range slices.Clone(a.endings) {
		w := e.work
		switch {
		case len(w.runs) == 0:
			a.endEnding(e)
		case !a.now.Before(e.stop):
			a.handOver(e, "time is over")
		case w.phase == protocol.PhaseRunning:
			a.step(w)
		case w.phase != protocol.PhaseFailed:
		case w.loadAt.IsZero():
			a.handOver(e, "it does not load")
		case !a.now.Before(w.loadAt):
			a.load(w)
		}
	}
}

// endingsDue returns when tendEndings has something to do.
func (a *Agent) endingsDue() (t time.Time) {
	for _, e := range a.endings {
		t = sooner(t, e.stop)
		if len(e.work.runs) == 0 {
			t = a.now
		}
		t = sooner(t, e.work.due(a.cfg.RunsMax))
	}
	return t
}

// endEnding lets go of an old work. The work in its place goes on counting, and is loaded if it
// waited for the memory.
func (a *Agent) endEnding(e *ending) {
	a.forget(e.work)
	a.remove(e.key())
	a.endings = slices.DeleteFunc(a.endings, func(o *ending) bool { return o == e })
	a.after(a.keepFiles)
	w := a.work(e.work.of.Workflow)
	if w == nil {
		return
	}
	w.failed += e.work.failed - e.failed
	if w.waits && len(a.endingsOf(w.of.Workflow)) == 0 {
		w.waits = false
		a.load(w)
	}
}

// handOver has the runs that are left go on with the work in the old one's place.
func (a *Agent) handOver(e *ending, why string) {
	runs, w := e.work.runs, a.work(e.work.of.Workflow)
	a.log.Warn("runs leave the releases that they began with", slog.String("why", why),
		slog.String("workflow", string(e.work.of.Workflow)), slog.Int("runs", len(runs)))
	switch {
	case w == nil:
		a.abandon(e.work, runs, "workflow is no longer assigned here")
	case w.shape != e.work.shape:
		a.abandon(e.work, runs, "workflow has other steps now")
	default:
		for _, r := range runs {
			r.call = 0
		}
		w.runs = slices.Concat(runs, w.runs)
	}
	e.work.runs = nil
	a.endEnding(e)
}

// dropEndings ends the old works of a workflow that is no longer here.
func (a *Agent) dropEndings(name protocol.WorkflowName) {
	for _, e := range a.endingsOf(name) {
		a.abandon(e.work, e.work.runs, "workflow is no longer assigned here")
		e.work.runs = nil
		a.endEnding(e)
	}
}

// barEndings hands over the runs of old works whose release is revoked now.
func (a *Agent) barEndings(gen *generation) {
	for _, e := range slices.Clone(a.endings) {
		if gen.barred(e.work.steps...) != nil {
			a.handOver(e, "its release was revoked")
		}
	}
}

// fits reports whether the device has the memory for the works that run, the old ones and w,
// by their limits. A device that does not say what it has is believed to have it.
func (a *Agent) fits(w *work) bool {
	if a.cfg.Device.MemoryMB == 0 {
		return true
	}
	sum := w.memoryMB()
	for _, o := range a.works {
		if o.of.Workflow != w.of.Workflow {
			sum += o.memoryMB()
		}
	}
	for _, e := range a.endings {
		sum += e.work.memoryMB()
	}
	return sum <= uint64(a.cfg.Device.MemoryMB)
}

func (w *work) memoryMB() (sum uint64) {
	for n, s := range w.steps {
		if s.Place == nil && w.barred == nil && (n > 0 || !w.ending) {
			sum += uint64(w.limits(n).MemoryMB)
		}
	}
	return sum
}

// readEndings takes up the old works that a restart found. One whose files are gone leaves its
// runs to the work in its place.
func (a *Agent) readEndings() error {
	var kept []Change // a store gives no files while it is scanned
	err := a.store.Scan(keyEnding, "", func(key string, value []byte) bool {
		kept = append(kept, Change{Key: key, Value: slices.Clone(value)})
		return true
	})
	for _, c := range kept {
		var s savedEnding
		err := protocol.UnmarshalExact(c.Value, &s)
		var e *ending
		if err == nil {
			e, err = a.openEnding(&s)
		}
		if err != nil {
			a.log.Error("old work not readable", slog.String("key", c.Key), slog.String("error", err.Error()))
			a.remove(c.Key)
			continue
		}
		a.endings = append(a.endings, e)
		a.load(e.work)
	}
	return err
}

func (a *Agent) openEnding(s *savedEnding) (*ending, error) {
	e := &ending{until: s.Until, stop: a.now.Add(endingFor)}
	e.gen = &generation{releases: map[protocol.Digest]*opened{}, revoked: a.revoked}
	e.gen.desired.Assignments, e.gen.desired.Releases = []protocol.Assignment{s.Of}, s.Releases
	e.gen.desired.Revision = s.Since
	listed := map[protocol.Digest]bool{}
	for _, ref := range s.Releases {
		listed[ref.Digest] = true
	}
	if err := checkAssignment(&s.Of, listed); err != nil {
		return nil, err
	}
	if err := e.gen.barred(stepsOf(&s.Of)...); err != nil {
		return nil, err
	}
	for _, ref := range e.gen.wanted() {
		if err := a.openRelease(e.gen, ref); err != nil {
			return nil, err
		}
	}
	if err := e.gen.fit(); err != nil {
		return nil, err
	}
	e.work = a.newWork(e.gen, s.Of, protocol.DigestOf(protocol.MustMarshal(s.Of)))
	e.work.turn, e.work.ending = a.turn(s.Of.Workflow), true
	return e, nil
}

// workFor returns the work that a run from the disk belongs to: the oldest that was replaced
// after it fired, or else the one at work.
func (a *Agent) workFor(r *savedRun) *work {
	for _, e := range a.endingsOf(r.Event.Workflow) {
		if r.Event.Revision < e.until && e.work.shape == r.Shape {
			return e.work
		}
	}
	return a.work(r.Event.Workflow)
}
