package edge

import (
	"log/slog"
	"time"

	"github.com/stavily/stavily/protocol"
)

// keyClock keeps a savedClock; before, only the floor.
const keyClock = "clock"

// clockEvery is how far floor and steady time may run ahead of the disk: writing them for
// each record would wear out the flash.
const clockEvery = 10 * time.Minute

// clock is what an agent knows of the time without believing its own clock: the
// floor is the newest time that the build, a hub's word or an own record has proven
// (C-3). Order never comes from here.
type clock struct {
	floor  time.Time
	proven int64 // the steady time at which the floor was raised last
	sealed int64 // the newest time that the build or a seal gave: the floor never falls below it
	base   int64 // the steady time at from, in milliseconds
	from   time.Time
	saved  savedClock // on the disk
	cold   bool       // this boot began without a wall clock to believe
	anchor int64      // then: what it showed at base, when it was believed; 0: not known
}

// savedClock is what a clock leaves on the disk. Off is missing when the wall clock was
// believed: then it showed the floor.
type savedClock struct {
	_        struct{} `cbor:",toarray"`
	FloorMS  int64
	SteadyMS int64
	SealedMS int64
	Off      *int64 // how long the floor was proven by then, in milliseconds
}

// Floor returns the time before which it certainly is not. A TLS client that takes
// the later of its clock and this works on a device without a clock.
func (a *Agent) Floor() time.Time { return a.clock.floor }

// SavedFloor returns the floor that an agent left in store, the zero time when it
// left none.
func SavedFloor(store Store) (time.Time, error) {
	saved, err := readSavedClock(store)
	if err != nil || saved == (savedClock{}) {
		return time.Time{}, err
	}
	return time.UnixMilli(saved.FloorMS), nil
}

func readSavedClock(store Store) (saved savedClock, err error) {
	value, err := store.Get(keyClock)
	if err != nil || value == nil {
		return saved, err
	}
	if err = protocol.Unmarshal(value, &saved); err != nil {
		saved = savedClock{}
		err = protocol.Unmarshal(value, &saved.FloorMS)
	}
	return saved, err
}

// steady returns the time of the input under way, in milliseconds, by a clock that counts the
// agent's life on this disk: it goes on over restarts, never jumps, and counts the time off
// where the wall clock could be believed before and after.
func (a *Agent) steady() int64 {
	return a.clock.base + max(a.now.Sub(a.clock.from).Milliseconds(), 0)
}

// tenths is the steady time as records have it, above 0.
func (a *Agent) tenths() uint64 { return 1 + uint64(max(a.steady(), 0))/100 }

// stamp returns the time of the input under way, as far as it can be believed. Where the wall
// clock cannot, it is the floor and what has passed since that was proven.
func (a *Agent) stamp() protocol.Stamp {
	c := &a.clock
	if now := a.wall(a.now).UnixMilli(); now >= c.floor.UnixMilli() {
		return protocol.Stamp{UnixMS: now, Quality: protocol.QualityClock}
	}
	return protocol.Stamp{UnixMS: c.floor.UnixMilli() + a.steady() - c.proven, Quality: protocol.QualityFloor}
}

// proofStep is how far a hint's time must be ahead of the floor to be worth the checking
// of a seal, which takes milliseconds on a small device.
const proofStep = time.Minute

// proofBack is how far a hint's time must be behind the floor for the same, or ahead of the
// newest seal.
const proofBack = 24 * time.Hour

// proveBy raises the floor by the sealed moment of a hint. The hint's own time is nobody's
// word: a floor in the far future would outlive every certificate.
func (a *Agent) proveBy(h *protocol.Hint) {
	ahead := time.UnixMilli(h.Time).Sub(a.clock.floor)
	newer := h.Time-a.clock.sealed > proofBack.Milliseconds()
	if len(h.Proof) == 0 || -proofBack < ahead && ahead <= proofStep && !newer {
		return
	}
	a.proveMoment(h.Proof)
}

// proveMoment raises the floor by a sealed moment, wherever it was kept.
func (a *Agent) proveMoment(sealed []byte) {
	var m protocol.Moment
	payload, err := protocol.Open(protocol.ContextMoment, a.cfg.Keyring, sealed)
	if err == nil {
		err = protocol.UnmarshalExact(payload, &m)
	}
	if err != nil {
		a.log.Warn("time not proven", slog.String("error", err.Error()))
		return
	}
	a.prove(m.Time)
	a.proveBefore(m.Time)
	a.clock.sealed = max(a.clock.sealed, m.Time)
}

// prove raises the floor to a time in milliseconds that a seal or a record gave.
func (a *Agent) prove(unixMS int64) {
	if unixMS > a.clock.floor.UnixMilli() {
		a.clock.floor, a.clock.proven = time.UnixMilli(unixMS), a.steady()
	}
}

// proveBefore takes a time that a seal gave and that the device's own clock agrees with: the
// floor, where it is far ahead of both, came from a clock that has been set right since. A seal
// older than another says nothing: whoever kept it could bring back what has expired.
func (a *Agent) proveBefore(unixMS int64) {
	own := a.wall(a.now).Sub(time.UnixMilli(unixMS))
	if unixMS >= a.clock.sealed && own.Abs() < clockEvery && a.clock.floor.After(a.wall(a.now).Add(clockEvery)) {
		a.log.Warn("the clock was far ahead and has been set right", slog.Time("floor", a.clock.floor))
		a.clock.floor, a.clock.proven = time.UnixMilli(unixMS), a.steady()
	}
}

// readClock takes floor and steady time from the disk. What cannot be read is no reason
// not to start.
func (a *Agent) readClock() {
	c := &a.clock
	c.from = a.now
	saved, err := readSavedClock(a.store)
	if err != nil {
		a.log.Warn("time floor not read", slog.String("error", err.Error()))
		return
	}
	c.saved, c.base, c.sealed = saved, saved.SteadyMS, max(c.sealed, saved.SealedMS)
	switch off := a.wall(a.now).UnixMilli() - saved.FloorMS; {
	case saved.FloorMS < c.floor.UnixMilli():
		c.proven = c.base
	case saved.Off != nil:
		c.floor, c.proven = time.UnixMilli(saved.FloorMS), c.base-*saved.Off
	default:
		c.floor, c.proven = time.UnixMilli(saved.FloorMS), c.base
		c.base += max(off, 0)
	}
	if c.cold = a.stamp().Quality != protocol.QualityClock; c.cold && saved.Off == nil {
		c.anchor = saved.FloorMS
	}
}

// regain takes the time that the agent was off before this boot off what is measured since
// before it, once the wall clock shows a time to believe.
func (a *Agent) regain() {
	c, at := &a.clock, a.stamp()
	if at.Quality != protocol.QualityClock {
		return
	}
	off := time.Duration(at.UnixMS-c.anchor+c.base-a.steady()) * time.Millisecond
	if c.anchor = 0; off > 0 {
		a.log.Info("the clock is there and says how long the agent was off", slog.Duration("off", off))
		a.wasOff(off)
	}
}

// clockAhead returns how many milliseconds the clock ran ahead of the disk.
func (a *Agent) clockAhead() int64 {
	c := &a.clock
	return max(a.steady()-c.saved.SteadyMS, c.floor.UnixMilli()-c.saved.FloorMS, c.sealed-c.saved.SealedMS)
}

// clockDue reports whether the clock ran so far ahead that it is written for itself.
func (a *Agent) clockDue() bool {
	ahead := a.clockAhead()
	return ahead >= clockEvery.Milliseconds() || a.clock.cold && ahead >= a.clockStep().Milliseconds()
}

// clockStep is how far the steady time may run ahead of the disk on a device that boots without
// a clock, where a cut loses it: by as much as this boot has there already, and an eighth of what
// the shortest of what is measured still takes, but no less than what is worth a write; and
// clockEvery when nothing is measured.
func (a *Agent) clockStep() time.Duration {
	left := a.measured()
	if left == 0 {
		return clockEvery
	}
	kept := time.Duration(a.clock.saved.SteadyMS-a.clock.base) * time.Millisecond
	return min(max(min(left/8, kept), timerWorth), clockEvery)
}

// clockAt returns when the clock is to be written for itself; the zero time: not before another
// input.
func (a *Agent) clockAt() time.Time {
	if !a.clock.cold || a.measured() == 0 {
		return time.Time{}
	}
	return a.now.Add(a.clockStep() - time.Duration(a.clockAhead())*time.Millisecond)
}

// measured returns what the shortest still takes of all that is measured by the steady clock and
// goes on over a restart: limits, meanings and timers. 0: there is nothing.
func (a *Agent) measured() time.Duration {
	var left time.Duration
	until := func(end time.Time) {
		if d := end.Sub(a.now); d > 0 && (left == 0 || d < left) {
			left = d
		}
	}
	for _, w := range a.works {
		until(w.storm.free)
		until(w.storm.seen.end(a.now))
		switch t := &w.trigger; {
		case t.wallMS > 0:
			until(a.now.Add(time.Duration(t.wallMS-a.stamp().UnixMS) * time.Millisecond))
		case a.lasts(w):
			until(t.at)
		}
	}
	for _, h := range a.hosts {
		until(h.seen.end(a.now))
	}
	return left
}

// saveClock writes the clock along with changes that hold times, or when it ran far ahead.
func (a *Agent) saveClock() {
	c := &a.clock
	if (!a.pen.timed || a.clockAhead() <= 0) && !a.clockDue() {
		return
	}
	at, now := a.stamp(), savedClock{SteadyMS: a.steady()}
	a.pen.timed = false
	if at.Quality == protocol.QualityClock {
		a.prove(at.UnixMS)
	} else {
		off := now.SteadyMS - c.proven
		now.Off = &off
	}
	now.FloorMS, now.SealedMS = c.floor.UnixMilli(), c.sealed
	a.change(Change{Key: keyClock, Value: now.encode()})
	c.saved = now
}

// encode returns what Marshal returns for c: it is written with each record that has a time.
func (c *savedClock) encode() []byte {
	b := protocol.AppendArray(make([]byte, 0, 40), 4)
	for _, ms := range [...]int64{c.FloorMS, c.SteadyMS, c.SealedMS} {
		b = protocol.AppendInt(b, ms)
	}
	if c.Off == nil {
		return append(b, protocol.SimpleNull)
	}
	return protocol.AppendInt(b, *c.Off)
}
