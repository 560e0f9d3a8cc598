package edge

import (
	"encoding/hex"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/stavily/stavily/protocol"
)

// keyStorm is followed by the workflow's name, keyOnce by workflow, step and key: of the
// trigger for the workflow's own events, of a hosted step for other agents' runs.
const (
	keyStorm = "storm/"
	keyOnce  = "once/"
)

// storm keeps one workflow from running too often.
type storm struct {
	savedStorm
	free time.Time // when the account of its limit is even
	own  time.Time // when it would be if there were only the places taken since the boot
	next time.Time // when the event that waits has its place; zero: none waits
	seen seen
}

// savedStorm is what a storm leaves on the disk.
type savedStorm struct {
	Limited  uint64         `cbor:"1,keyasint,omitempty"`
	Repeated uint64         `cbor:"2,keyasint,omitempty"`
	AheadMS  int64          `cbor:"3,keyasint,omitempty"` // how far the account was ahead
	At       protocol.Stamp `cbor:"4,keyasint,omitzero"`  // then
	Wait     *fired         `cbor:"5,keyasint,omitempty"`
	Steady   int64          `cbor:"6,keyasint,omitempty"` // 1 and At by the steady clock; 0: not said
}

// fired is an event that may become a run.
type fired struct {
	Data  protocol.Raw `cbor:"1,keyasint,omitempty"`
	Depth uint8        `cbor:"2,keyasint,omitempty"` // local messages that led to it

	unclear error     // why its condition or its key could not be evaluated
	key     onceKey   // zero: it has none
	at      time.Time // when its run may begin
}

// onceKey names what an event means.
type onceKey [16]byte

// seen are the runs that were begun for what an event means, the oldest first.
type seen []sighting

type sighting struct {
	key   onceKey
	run   protocol.RunID
	until time.Time
	old   bool // from before this boot
}

// savedSighting is what a sighting leaves on the disk.
type savedSighting struct {
	Run protocol.RunID `cbor:"1,keyasint"`
	At  protocol.Stamp `cbor:"2,keyasint"`

	Steady int64 `cbor:"3,keyasint,omitempty"` // as savedStorm's
}

// admit holds an event against the workflow's once and limit, and reports whether a run of
// it begins now or in its turn. Each one that does not is counted, on the disk.
func (a *Agent) admit(w *work, f *fired) bool {
	s := &w.storm
	var err error
	if f.key, err = keyOf(w.of.Once, f.Data); err != nil && f.unclear == nil {
		f.unclear = err
	}
	switch {
	case s.seen.find(f.key, a.now) != nil:
		s.Repeated++
	case w.of.Limit == nil:
		return true
	case a.takePlace(w, f):
		a.saveStorm(w)
		return true
	}
	a.saveStorm(w)
	return false
}

// takePlace finds the event's place under the limit: a late one when it queues up.
func (a *Agent) takePlace(w *work, f *fired) bool {
	l, s := w.of.Limit, &w.storm
	every, slack := pace(l)
	place := s.free.Add(-slack)
	switch {
	case !a.now.Before(place), l.Over == protocol.OverQueue:
		f.at = place
		s.free, s.own = later(s.free, a.now).Add(every), later(s.own, a.now).Add(every)
		return true
	case l.Over == protocol.OverLatest:
		if s.Wait != nil {
			s.Limited++
		}
		wait := *f
		s.Wait, s.next = &wait, place
	default:
		s.Limited++
	}
	return false
}

// pace returns how long one run keeps the next, and how much of that may be in advance.
func pace(l *protocol.RunLimit) (every, slack time.Duration) {
	every = time.Duration(l.PerMS) * time.Millisecond / time.Duration(l.Runs)
	return every, every * time.Duration(l.Burst-1)
}

// fireLatest begins the run of the event that waited for its place.
func (a *Agent) fireLatest(w *work) {
	s := &w.storm
	if s.next.IsZero() || a.now.Before(s.next) || len(w.runs) >= a.runsMax(w) {
		return
	}
	f := s.Wait
	s.Wait, s.next = nil, time.Time{}
	_, f.unclear = w.passes(f.Data)
	if a.admit(w, f) {
		a.beginRun(w, f)
	}
}

// due returns when an event that waits has its place.
func (s *storm) due(room bool) time.Time {
	if !room {
		return time.Time{}
	}
	return s.next
}

func (a *Agent) saveStorm(w *work) {
	s := &w.storm
	a.pen.timed = true
	s.At, s.Steady, s.AheadMS = a.stamp(), 1+a.steady(), max(s.free.Sub(a.now).Milliseconds(), 0)
	a.put(keyStorm+string(w.of.Workflow), s.savedStorm)
}

// remember notes that a run was begun for what its event means.
func (a *Agent) remember(s *seen, o *protocol.Once, at Instance, v sighting) {
	if o == nil || v.key == (onceKey{}) || s.find(v.key, a.now) != nil {
		return
	}
	old := *s
	for len(old) > 0 && (len(old) >= protocol.OnceKeysMax || !a.now.Before(old[0].until)) {
		if a.now.Before(old[0].until) {
			a.log.Warn("forgotten what an event meant: too many meanings at once",
				slog.String("workflow", string(at.Workflow)), slog.Int("limit", protocol.OnceKeysMax))
		}
		a.remove(sightingKey(at, old[0].key))
		old = old[1:]
	}
	v.until = a.now.Add(time.Duration(o.WithinMS) * time.Millisecond)
	old = append(old, v)
	*s = old
	a.pen.timed = true
	a.put(sightingKey(at, v.key), savedSighting{v.run, a.stamp(), 1 + a.steady()})
}

// find returns the run that was begun for key a while ago, nil when there is none.
func (s seen) find(key onceKey, now time.Time) *sighting {
	for i := range s {
		if s[i].key == key && now.Before(s[i].until) {
			return &s[i]
		}
	}
	return nil
}

// end returns when the first of those that still mean something does no more; the zero time:
// none does.
func (s seen) end(now time.Time) time.Time {
	at, _ := slices.BinarySearchFunc(s, now, func(v sighting, now time.Time) int {
		if now.Before(v.until) {
			return 1
		}
		return -1
	})
	if at == len(s) {
		return time.Time{}
	}
	return s[at].until
}

func sightingKey(at Instance, key onceKey) string {
	return keyOnce + string(at.Workflow) + "/" + string(at.Step) + "/" + hex.EncodeToString(key[:])
}

// keyOf names what an event means; zero when that does not matter.
func keyOf(o *protocol.Once, data protocol.Raw) (key onceKey, err error) {
	if o == nil {
		return key, nil
	}
	var event any
	if len(o.Fields) > 0 {
		if err := protocol.Unmarshal(data, &event); err != nil {
			return key, protocol.Errorf(protocol.CodeBadInput, "once: event: %w", err)
		}
	}
	values := []any{}
	for _, path := range o.Fields {
		v := event
		for name := range strings.SplitSeq(path, ".") {
			fields, _ := v.(map[any]any)
			field, ok := fields[name]
			if !ok {
				return key, protocol.Errorf(protocol.CodeBadInput, "once: the event has no field %q", path)
			}
			v = field
		}
		values = append(values, v)
	}
	b, err := protocol.Marshal(values)
	d := protocol.DigestOf(b)
	return onceKey(d[:len(key)]), err
}

// readStorms gives the workflows their accounts back, and what their events meant. Time that
// the agent was off counts where the steady clock counts it; see RATIONALE.md, Why does the time
// off not count for a limit without a clock?
func (a *Agent) readStorms() error {
	for _, w := range a.works {
		s := &w.storm
		if !a.readKey(keyStorm+string(w.of.Workflow), &s.savedStorm) || w.of.Limit == nil {
			s.Wait = nil
			continue
		}
		every, slack := pace(w.of.Limit)
		if s.AheadMS > 0 {
			s.free = a.now.Add(time.Duration(s.AheadMS)*time.Millisecond - a.elapsed(s.At, s.Steady))
		}
		if s.Wait != nil {
			s.next = later(s.free.Add(-slack), a.now)
		}
		if w.of.Limit.Over == protocol.OverQueue {
			spread(w.runs, s.free.Add(-slack), every)
		}
	}
	return a.store.Scan(keyOnce, "", func(key string, value []byte) bool {
		if !a.readSighting(key, value) {
			a.remove(key)
		}
		return true
	})
}

// wasOff takes the time that the agent was off before this boot, which its clock says only now,
// off what began before it. What was counted since stays as it is.
func (a *Agent) wasOff(off time.Duration) {
	for _, w := range a.works {
		a.stormWasOff(w, off)
		a.timerWasOff(w, off)
		a.seenBefore(&w.storm.seen, Instance{Workflow: w.of.Workflow, Step: w.steps[0].Name}, w.of.Once, off)
	}
	for i, h := range a.hosts {
		if !slices.ContainsFunc(a.hosts[:i], func(g *hosting) bool { return g.seen == h.seen }) {
			a.seenBefore(h.seen, h.instance(), h.of.Once, off)
		}
	}
}

func (a *Agent) stormWasOff(w *work, off time.Duration) {
	s := &w.storm
	if w.of.Limit == nil || !a.now.Before(s.free) {
		return
	}
	every, slack := pace(w.of.Limit)
	s.free = later(s.free.Add(-off), s.own)
	if s.Wait != nil {
		s.next = later(s.free.Add(-slack), a.now)
	}
	if w.of.Limit.Over == protocol.OverQueue {
		for _, r := range w.runs {
			if r.Next == 0 && r.Tries == 0 {
				r.at = a.now
			}
		}
		spread(w.runs, s.free.Add(-slack), every)
	}
	a.saveStorm(w)
}

// seenBefore makes what was seen before this boot older by the time off.
func (a *Agent) seenBefore(s *seen, at Instance, o *protocol.Once, off time.Duration) {
	if o == nil {
		return
	}
	within := time.Duration(o.WithinMS) * time.Millisecond
	for i := range *s {
		v := &(*s)[i]
		if !v.old || !a.now.Before(v.until) {
			continue
		}
		began := v.until.Add(-within)
		v.until = v.until.Add(-off)
		steady := a.steady() - a.now.Sub(began).Milliseconds() - off.Milliseconds()
		a.put(sightingKey(at, v.key), savedSighting{v.run, a.stamp(), 1 + steady})
	}
}

// spread gives runs that have not begun their places back, the last one the last place.
func spread(runs []*run, end time.Time, every time.Duration) {
	for _, r := range slices.Backward(runs) {
		if r.Next > 0 || r.Tries > 0 {
			return
		}
		if end = end.Add(-every); end.After(r.at) {
			r.at = end
		}
	}
}

// elapsed returns how long ago a time was, by the steady clock; of what an agent of before it
// left, by the wall clock, and 0 when that does not say.
func (a *Agent) elapsed(then protocol.Stamp, steady int64) time.Duration {
	if steady != 0 {
		return time.Duration(max(1+a.steady()-steady, 0)) * time.Millisecond
	}
	now := a.stamp()
	if then.Quality != protocol.QualityClock || now.Quality != protocol.QualityClock {
		return 0
	}
	return time.Duration(max(now.UnixMS-then.UnixMS, 0)) * time.Millisecond
}

// readSighting reports whether a sighting still means something.
func (a *Agent) readSighting(key string, value []byte) bool {
	parts := strings.Split(strings.TrimPrefix(key, keyOnce), "/")
	if len(parts) != 3 {
		return false
	}
	var saved savedSighting
	name, err := hex.DecodeString(parts[2])
	v := sighting{}
	if err != nil || copy(v.key[:], name) != len(v.key) || protocol.UnmarshalExact(value, &saved) != nil {
		return false
	}
	of, once := a.seenBy(Instance{Workflow: protocol.WorkflowName(parts[0]), Step: protocol.StepName(parts[1])})
	if once == nil {
		return false
	}
	left := time.Duration(once.WithinMS)*time.Millisecond - a.elapsed(saved.At, saved.Steady)
	v.run, v.until, v.old = saved.Run, a.now.Add(left), true
	if left > 0 {
		at, _ := slices.BinarySearchFunc(*of, v, func(x, y sighting) int { return x.until.Compare(y.until) })
		*of = slices.Insert(*of, at, v)
	}
	return left > 0
}

// seenBy returns what a trigger or a hosted step remembers of events.
func (a *Agent) seenBy(at Instance) (*seen, *protocol.Once) {
	if w := a.work(at.Workflow); w != nil && w.steps[0].Name == at.Step {
		return &w.storm.seen, w.of.Once
	}
	for _, h := range a.hosts {
		if h.of.Workflow == at.Workflow && h.of.Step.Name == at.Step {
			return h.seen, h.of.Once
		}
	}
	return nil, nil
}

// inheritStorm hands on what a change of a workflow does not touch.
func (a *Agent) inheritStorm(w, old *work) {
	w.storm = old.storm
	was, is := old.of.Limit, w.of.Limit
	if was != is && (was == nil || is == nil || *was != *is) {
		w.storm.free, w.storm.own, w.storm.next, w.storm.Wait = time.Time{}, time.Time{}, time.Time{}, nil
		if old.storm.Wait != nil {
			w.storm.Limited++
		}
		a.saveStorm(w)
	}
	if was, is := old.of.Once, w.of.Once; was == nil || !was.SameMeaning(is) {
		a.unsee(old)
		w.storm.seen = nil
	}
}

// eraseStorm removes what a workflow that is no longer here left behind.
func (a *Agent) eraseStorm(w *work) {
	a.remove(keyStorm + string(w.of.Workflow))
	a.unsee(w)
}

func (a *Agent) unsee(w *work) {
	at := Instance{Workflow: w.of.Workflow, Step: w.steps[0].Name}
	for _, v := range w.storm.seen {
		a.remove(sightingKey(at, v.key))
	}
}

// repeats ends a guest whose run means what another agent's run did a while ago.
func (a *Agent) repeats(g *guest, h *hosting, ev *protocol.Event) bool {
	key, err := keyOf(h.of.Once, ev.Data)
	if err != nil || h.of.Once == nil {
		return false // the run's own agent speaks of it
	}
	v := h.seen.find(key, a.now)
	if v == nil || v.run == ev.Run {
		a.remember(h.seen, h.of.Once, h.instance(), sighting{key: key, run: ev.Run})
		return false
	}
	g.Result = protocol.Result{
		Run: ev.Run, Workflow: h.of.Workflow, Step: h.of.Step.Name, Type: h.of.Type,
		Status: protocol.StatusSkipped, Time: a.stamp(),
		Error: protocol.AsError(protocol.Errorf(protocol.CodeExists, "once: run %s means the same", v.run)),
	}
	a.keepGuest(g)
	return true
}

// repeated ends a run of which a member said that it means what another did.
func (a *Agent) repeated(h *away, p *part) {
	w, r := h.work, h.run
	a.release(h)
	w.asked--
	r.call, r.Repeated = 0, true
	w.storm.Repeated++
	a.saveStorm(w)
	res := a.result(w, r, protocol.StatusSkipped)
	res.By, res.Error = p.at, p.done.Error
	a.move(w, r, &res)
}
