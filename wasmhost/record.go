package wasmhost

import (
	"context"
	"slices"

	"github.com/stavily/stavily/protocol"
)

// script goes along with the life of one instance: it records it or replays it.
type script interface {
	// tape is what the instance's world goes by.
	tape() *tape
	// started hears what the plugin was told before its first request, and the fuel that
	// it had spent when it was ready.
	started(s start, fuel uint64)
	// asked hears of a request before it is put.
	asked(r Request)
	// callee answers the host calls of that request; of is who would.
	callee(in Carrier, of callee) callee
	// answered hears of the answer.
	answered(a Answer)
}

// Record starts a fresh instance, puts the requests to it one after another as Call does,
// and records all that is needed to replay them. most bounds the recording's bytes; 0 means
// 256 KiB, and what is over RecordingMax means that. The instance is ended afterwards. What
// does not fit is left out, and the recording says that it was cut; the requests are answered
// all the same. The error has CodeLimit for no request or too many; a plugin that does not
// start has the error of its start.
func (p *Plugin) Record(ctx context.Context, most int, asked ...Request) ([]Answer, *Recording, error) {
	if len(asked) == 0 || len(asked) > recordedCallsMax {
		return nil, nil, protocol.Errorf(protocol.CodeLimit, "record: %d requests: want 1 to %d", len(asked),
			recordedCallsMax)
	}
	if most <= 0 {
		most = recordingDefault
	}
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, Cancelled(ctx)
	}
	defer func() { <-p.turn }()
	p.bow()
	rec := newRecorder(p, min(most, RecordingMax))
	p.script = rec
	defer func() { p.script = nil }()
	if err := p.fresh(ctx); err != nil {
		return nil, nil, protocol.Errorf(protocol.CodeOf(err), "record %s: %w", &p.spec.Manifest, err)
	}
	first := p.live
	var answers []Answer
	for _, r := range asked {
		if p.live != first || first.Gone() || p.replaces(r.Config) {
			rec.tapes.stop(CutFull)
			p.script = nil // what a second instance does is not part of it
		}
		answers = append(answers, p.answer(ctx, r))
	}
	p.bow()
	return answers, rec.finish(), nil
}

// recorder is the script that records.
type recorder struct {
	r     Recording
	tapes *tape
	left  int // bytes
}

func newRecorder(p *Plugin, most int) *recorder {
	rec := &recorder{tapes: &tape{most: most / 2}, left: most - most/2 - recordingHead}
	rec.r = Recording{
		Version: RecordingVersion, Module: p.spec.Digest, Plugin: p.spec.Manifest.Plugin.Name,
		Type: p.spec.Manifest.Plugin.Type, Args: p.spec.Args, Env: p.spec.Env,
	}
	for _, m := range p.spec.Mounts {
		rec.r.Mounts = append(rec.r.Mounts, RecordedMount{m.Path, m.Tree.digest})
	}
	return rec
}

func (rec *recorder) tape() *tape { return rec.tapes }

func (rec *recorder) started(s start, fuel uint64) {
	rec.r.Config, rec.r.Limits, rec.r.Grants = s.Config, s.Limits, s.Grants
	rec.r.Workflow, rec.r.Step, rec.r.Start = s.Workflow, s.Step, fuel
	size := len(s.Config)
	for _, word := range slices.Concat(rec.r.Args, rec.r.Env) {
		size += len(word) + 8
	}
	for _, g := range s.Grants {
		size += 64
		for _, scope := range g.Scopes {
			size += len(scope) + 8
		}
	}
	rec.take(size)
}

// take reports whether so many bytes more are within the bound; once they are not, none are.
func (rec *recorder) take(size int) bool {
	rec.left -= size + 32
	if rec.left < 0 {
		rec.tapes.stop(CutFull)
	}
	_, cut := rec.tapes.ended()
	return cut == CutNot
}

func (rec *recorder) asked(r Request) {
	b, err := encodeRequest(r)
	if err != nil {
		rec.tapes.stop(CutFull)
	}
	if rec.take(len(b)) {
		rec.r.Calls = append(rec.r.Calls, RecordedCall{Request: b})
	}
}

// call is the request under way, nil once the recording was cut.
func (rec *recorder) call() *RecordedCall {
	if _, cut := rec.tapes.ended(); cut != CutNot || len(rec.r.Calls) == 0 {
		return nil
	}
	return &rec.r.Calls[len(rec.r.Calls)-1]
}

func (rec *recorder) callee(_ Carrier, of callee) callee {
	return Callee(func(name string, args protocol.Raw) (protocol.Raw, error) {
		if capability, _ := CapabilityOf(name); capability == protocol.CapSecret {
			rec.tapes.stop(CutSecret)
		}
		args = slices.Clone(args)
		ok, err := of.call(name, args)
		rec.host(RecordedHost{Name: name, Args: args, OK: ok}, protocol.AsError(err))
		return ok, err
	})
}

func (rec *recorder) host(h RecordedHost, err *protocol.Error) {
	if err != nil {
		h.Code, h.Text = err.Code, clip(err.Text, protocol.TextMax)
	}
	c := rec.call()
	if c == nil || !rec.take(len(h.Name)+len(h.Args)+len(h.OK)+len(h.Text)) {
		return
	}
	if len(c.HostCalls) == recordedCallsMax {
		rec.tapes.stop(CutFull)
		return
	}
	c.HostCalls = append(c.HostCalls, h)
}

func (rec *recorder) answered(a Answer) {
	c := rec.call()
	b, err := encodeAnswer(a)
	if c == nil || err != nil || !rec.take(len(b)) {
		return
	}
	c.Answer, c.Fuel, c.MemoryB = b, a.Usage.Fuel, a.Usage.MemoryB
}

// finish returns the recording when the instance has ended.
func (rec *recorder) finish() *Recording {
	world, cut := rec.tapes.ended()
	rec.r.World, rec.r.Cut = slices.Clone(world), cut
	return &rec.r
}

var _ script = (*recorder)(nil)
