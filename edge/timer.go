package edge

import (
	"log/slog"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

const (
	// restartGrace is how late a firing may come after a restart and not be missed: the agent
	// was there when it was due, or nearly.
	restartGrace = time.Minute
	// timerWorth is the shortest wait that goes to the disk by itself: to keep a shorter one
	// over a restart is not worth a write each time.
	timerWorth = time.Minute
	// lookAgain is how long an agent waits before it looks at the wall clock again, which may
	// be set, for a trigger that waits for a time of it; and the least pause after a time that
	// has passed already.
	lookAgain, passedPause = time.Minute, time.Second
	// timerMax is longer than any device lives.
	timerMax = 100 * 365 * 24 * time.Hour
)

// savedTrigger is what a trigger leaves on the disk. Of tells whether it is still the
// same trigger: then its state outlives a change of the rest of its workflow.
type savedTrigger struct {
	Of     protocol.Digest `cbor:"1,keyasint"`
	State  protocol.Raw    `cbor:"2,keyasint,omitempty"`
	Old    int64           `cbor:"3,keyasint,omitempty"` // earlier agents' Due, by the wall clock
	Due    int64           `cbor:"4,keyasint,omitempty"` // by the steady clock; 0: never
	WallMS int64           `cbor:"5,keyasint,omitempty"` // by the wall clock, for one that waits for that
	Back   uint32          `cbor:"6,keyasint,omitempty"` // firings that were brought back in a row
}

// setTimer has the trigger woken when its answer says; after the start that every arming
// begins with, no later than the timer from before. A firing that was missed while the agent
// was off is brought back: once, or once for each missed time, which it is then told as the
// time.
func (a *Agent) setTimer(w *work, fromStart bool, next *wasmhost.Next) {
	t := &w.trigger
	kept, missed := t.kept, t.missed
	t.at, t.wallMS, t.kept, t.missed = time.Time{}, next.AtMS, time.Time{}, 0
	after := min(next.AfterMS, timerMax.Milliseconds())
	if now := a.stamp().UnixMS; t.wallMS != 0 {
		t.wallMS = min(t.wallMS, now+timerMax.Milliseconds())
		after = max(t.wallMS-now, passedPause.Milliseconds())
	}
	if after > 0 {
		t.at = a.now.Add(time.Duration(after) * time.Millisecond)
	}
	if t.wallMS != 0 {
		t.at = sooner(t.at, a.now.Add(lookAgain))
	}
	if !fromStart {
		t.unsure = nil
	} else if u := t.unsure; u != nil && (u.own.IsZero() || t.at.Before(u.own)) {
		u.own, u.ownMS = t.at, t.wallMS
	}
	switch {
	case missed != 0 && fromStart:
		t.at, t.wallMS, t.missed = a.now, 0, missed
	case missed != 0 && w.of.CatchUp == protocol.CatchUpAll && after > 0:
		a.missNext(w, missed, next)
	case fromStart && !kept.IsZero() && kept.Before(t.at):
		t.at, t.wallMS = kept, 0
	}
}

// missNext goes on to the firing after one that was missed, as long as there were not too many.
func (a *Agent) missNext(w *work, missed int64, next *wasmhost.Next) {
	t, then := &w.trigger, next.AtMS
	if then == 0 {
		then = missed + next.AfterMS
	}
	t.back++
	switch now := a.stamp().UnixMS; {
	case then <= missed: // it does not go on
	case then <= now && int64(t.back) < int64(a.cfg.MissedMax):
		t.at, t.wallMS, t.missed = a.now, 0, then
		return
	case then <= now:
		rest := 1 + uint64(now-then)/uint64(then-missed) // if it goes on at this pace
		w.storm.Limited += rest
		a.saveStorm(w)
		a.log.Warn("more firings were missed than are brought back: the rest are passed over",
			slog.String("workflow", string(w.of.Workflow)), slog.Uint64("passed_over", rest),
			slog.Int("limit", a.cfg.MissedMax))
	case t.wallMS == 0: // in its turn, no later than a period from now
		t.at = sooner(t.at, a.now.Add(time.Duration(then-now)*time.Millisecond))
	}
	t.back = 0
}

// tooSoon reports whether the wall clock does not show yet what the trigger waits for. When
// the clock was set to a time long after, the firing was missed: then there is one for all of
// them, or none and the trigger begins anew.
func (a *Agent) tooSoon(w *work) bool {
	t := &w.trigger
	if t.wallMS == 0 || t.why != wasmhost.WhyTimer {
		return false
	}
	left := time.Duration(t.wallMS-a.stamp().UnixMS) * time.Millisecond
	if left > 0 {
		t.at = a.now.Add(min(left, lookAgain))
		return true
	}
	if left < -restartGrace && w.of.CatchUp == protocol.CatchUpNone {
		t.why = wasmhost.WhyStart
	}
	return false
}

// rearm has the trigger begin with a start.
func (t *trigger) rearm(now time.Time) {
	t.keep(t, now)
	t.why, t.at, t.wallMS, t.call = wasmhost.WhyStart, now, 0, 0
	t.message, t.topics, t.heard = nil, nil, nil
}

// keep takes over the timer of old: it still goes off, if the trigger does not choose an earlier one.
func (t *trigger) keep(old *trigger, now time.Time) {
	t.unsure, t.kept, t.missed, t.back = old.unsure, old.kept, old.missed, old.back
	if old.why == wasmhost.WhyTimer && (old.wallMS == 0 || !old.at.After(now)) {
		t.kept = old.at
	}
}

// lasts reports whether the trigger's timer is worth a write of its own.
func (a *Agent) lasts(w *work) bool {
	t := &w.trigger
	return w.of.CatchUp != protocol.CatchUpNone || t.wallMS != 0 || t.at.Sub(a.now) >= timerWorth
}

func (a *Agent) saveTrigger(w *work) {
	t := &w.trigger
	s := savedTrigger{Of: w.triggerDigest, State: t.state, WallMS: t.wallMS, Back: t.back}
	switch {
	case t.missed != 0:
		s.Due = a.steady() + min(t.missed-a.stamp().UnixMS, 0)
	case t.wallMS != 0:
		s.Due = a.steady() + t.wallMS - a.stamp().UnixMS
	case !t.at.IsZero():
		s.Due = a.steady() + t.at.Sub(a.now).Milliseconds()
	}
	a.pen.timed = true
	a.change(Change{Key: keyTrigger + string(w.of.Workflow), Value: s.encode()})
}

// encode returns what Marshal returns for s, whose state must be one item or none: it is written
// with each event.
func (s *savedTrigger) encode() []byte {
	n := 1
	for _, there := range [...]bool{len(s.State) > 0, s.Old != 0, s.Due != 0, s.WallMS != 0, s.Back != 0} {
		if there {
			n++
		}
	}
	b := s.Of.AppendCBOR(append(protocol.AppendMap(make([]byte, 0, 72+len(s.State)), n), 1))
	if len(s.State) > 0 {
		b = append(append(b, 2), s.State...)
	}
	for i, v := range [...]int64{s.Old, s.Due, s.WallMS, int64(s.Back)} {
		if v != 0 {
			b = protocol.AppendInt(append(b, byte(3+i)), v)
		}
	}
	return b
}

// unsure is a trigger's timer from before this boot, while nobody knows how long the agent was off.
type unsure struct {
	due, wallMS int64     // as in savedTrigger
	own         time.Time // what the trigger chose at its start instead; zero: nothing
	ownMS       int64     // own by the wall clock, if it is that
}

// readTimer takes up a timer again.
func (a *Agent) readTimer(w *work, s *savedTrigger) {
	t := &w.trigger
	t.back = s.Back
	if s.Due == 0 {
		return
	}
	if a.clock.anchor != 0 {
		t.unsure = &unsure{due: s.Due, wallMS: s.WallMS}
	}
	t.kept, t.missed = a.stillDue(w, s)
}

// stillDue returns when a timer from before the boot goes off, or else when it went off while the
// agent was off: it was missed where that means something, or where it is so short a while ago
// that nobody would say so.
func (a *Agent) stillDue(w *work, s *savedTrigger) (kept time.Time, missed int64) {
	left := time.Duration(s.Due-a.steady()) * time.Millisecond
	if s.WallMS != 0 && a.stamp().Quality == protocol.QualityClock {
		left = time.Duration(s.WallMS-a.stamp().UnixMS) * time.Millisecond
	}
	switch {
	case left > 0 && s.WallMS == 0:
		kept = a.now.Add(left)
	case left <= 0 && (w.of.CatchUp != protocol.CatchUpNone || left >= -restartGrace):
		missed = a.stamp().UnixMS + left.Milliseconds()
	}
	return kept, missed
}

// timerWasOff takes the time that the agent was off before this boot, which its clock says only
// now, off the timer from before it, if that has not gone off meanwhile.
func (a *Agent) timerWasOff(w *work, off time.Duration) {
	t, u := &w.trigger, w.trigger.unsure
	t.unsure = nil
	started := t.why == wasmhost.WhyTimer
	if u == nil || t.why == wasmhost.WhyMessage || started && (t.call != 0 || t.tries > 0) {
		return // what is asked now chooses another
	}
	s := savedTrigger{
		Of: w.triggerDigest, State: t.state, Due: u.due - off.Milliseconds(), WallMS: u.wallMS, Back: t.back,
	}
	kept, missed := a.stillDue(w, &s)
	if !started {
		t.kept, t.missed, a.pen.timed = kept, missed, true
		a.put(keyTrigger+string(w.of.Workflow), s)
		return
	}
	if u.wallMS == 0 {
		t.at, t.wallMS = u.own, u.ownMS
	}
	if missed != 0 {
		t.at, t.wallMS, t.missed = a.now, 0, missed
	} else if !kept.IsZero() && kept.Before(t.at) {
		t.at, t.wallMS = kept, 0
	}
	a.saveTrigger(w)
}
