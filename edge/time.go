package edge

import (
	"log/slog"
	"time"

	"github.com/stavily/stavily/protocol"
)

// keyClock keeps the floor: milliseconds since 1970.
const keyClock = "clock"

// clockEvery is how far the floor may run ahead of the disk: writing it for each
// record would wear out the flash.
const clockEvery = 10 * time.Minute

// clock is what an agent knows of the time without believing its own clock: the
// floor is the newest time that the build, a hub's word or an own record has proven
// (C-3). Order never comes from here.
type clock struct {
	floor time.Time
	saved time.Time // the floor on the disk
}

// Floor returns the time before which it certainly is not. A TLS client that takes
// the later of its clock and this works on a device without a clock.
func (a *Agent) Floor() time.Time { return a.clock.floor }

// SavedFloor returns the floor that an agent left in store, the zero time when it
// left none.
func SavedFloor(store Store) (time.Time, error) {
	value, err := store.Get(keyClock)
	if err != nil || value == nil {
		return time.Time{}, err
	}
	var ms int64
	if err := protocol.Unmarshal(value, &ms); err != nil {
		return time.Time{}, err
	}
	return time.UnixMilli(ms), nil
}

// stamp returns the time of the input under way, as far as it can be believed.
func (a *Agent) stamp() protocol.Stamp {
	if now := a.wall(a.now).UnixMilli(); now >= a.clock.floor.UnixMilli() {
		return protocol.Stamp{UnixMS: now, Quality: protocol.QualityClock}
	}
	return protocol.Stamp{UnixMS: a.clock.floor.UnixMilli(), Quality: protocol.QualityFloor}
}

// proofStep is how far a hint's time must be ahead of the floor to be worth the checking
// of a seal, which takes milliseconds on a small device.
const proofStep = time.Minute

// proveBy raises the floor by the sealed moment of a hint. The hint's own time is nobody's
// word: a floor in the far future would outlive every certificate.
func (a *Agent) proveBy(h *protocol.Hint) {
	if len(h.Proof) == 0 || h.Time <= a.clock.floor.Add(proofStep).UnixMilli() {
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
}

// prove raises the floor to a time in milliseconds that a seal or a record gave.
func (a *Agent) prove(unixMS int64) {
	if unixMS > a.clock.floor.UnixMilli() {
		a.clock.floor = time.UnixMilli(unixMS)
	}
}

// readClock takes the floor from the disk. A floor that cannot be read is no reason
// not to start.
func (a *Agent) readClock() {
	saved, err := SavedFloor(a.store)
	if err != nil {
		a.log.Warn("time floor not read", slog.String("error", err.Error()))
		return
	}
	a.clock.saved = saved
	a.prove(saved.UnixMilli())
}

// saveClock writes the floor along with other changes, or when it ran far ahead.
func (a *Agent) saveClock() {
	ahead := a.clock.floor.Sub(a.clock.saved)
	if ahead >= clockEvery || ahead > 0 && len(a.pen.changes) > 0 {
		a.put(keyClock, a.clock.floor.UnixMilli())
		a.clock.saved = a.clock.floor
	}
}
