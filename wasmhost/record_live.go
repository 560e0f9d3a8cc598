package wasmhost

import (
	"context"

	"github.com/stavily/stavily/protocol"
)

// Taping records the calls of a plugin that is at work, as they come. The instance that is
// recorded is a fresh one; when it is ended amid its calls, the recording ends with it. One
// caller at a time; the plugin may not be called past it.
type Taping struct {
	p     *Plugin
	rec   *recorder
	first Carrier // nil until the first call
	over  bool
}

// Tape begins a recording of no more than most bytes; 0 means 256 KiB, and what is over
// RecordingMax means that.
func (p *Plugin) Tape(most int) *Taping {
	if most <= 0 {
		most = recordingDefault
	}
	return &Taping{p: p, rec: newRecorder(p, min(most, RecordingMax))}
}

// Call is Plugin.Call, recorded.
func (t *Taping) Call(ctx context.Context, r Request) Answer {
	select {
	case t.p.turn <- struct{}{}:
	case <-ctx.Done():
		return Answer{Error: Cancelled(ctx)}
	}
	defer t.p.yield()
	if t.first == nil {
		t.p.bow()
		t.p.script = t.rec
		if err := t.p.fresh(ctx); err != nil {
			t.stop()
			return Answer{Error: protocol.AsError(err)}
		}
		t.first = t.p.live
	}
	if t.p.live != t.first || t.first.Gone() {
		t.stop() // what a second instance does is not part of it
	}
	return t.p.answer(ctx, r)
}

// stop ends the recording where it is. The turn is held.
func (t *Taping) stop() {
	if !t.over {
		t.over, t.p.script = true, nil
		t.rec.tapes.stop(CutFull)
	}
}

// Over reports whether nothing more is recorded, whatever is called.
func (t *Taping) Over() bool {
	_, cut := t.rec.tapes.ended()
	return t.over || cut != CutNot
}

// End ends the recorded instance and returns the recording; nil when nothing was called.
func (t *Taping) End() *Recording {
	t.p.turn <- struct{}{}
	defer func() { <-t.p.turn }()
	if t.first == nil {
		return nil
	}
	if t.p.live == t.first {
		t.p.bow()
	}
	t.p.script = nil
	return t.rec.finish()
}
