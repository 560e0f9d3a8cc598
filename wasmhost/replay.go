package wasmhost

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost/meter"
)

// Replayed is what came of a replay.
type Replayed struct {
	// Held is true when the plugin did all that was recorded and nothing else: the same
	// host calls in the same order, the same answers byte for byte, the same fuel.
	Held bool
	// Difference is the first thing that was not as recorded; empty when it held.
	Difference string
	// Start is the fuel until the plugin was ready.
	Start uint64
	Calls []ReplayedCall
}

// ReplayedCall is one request that was put again.
type ReplayedCall struct {
	Request   Request
	HostCalls []RecordedHost // as the plugin made them now
	Answer    Answer
}

// Replay shows a fresh instance what another one was recorded to see, without touching
// anything else of the machine: no host call is done, no clock read. s needs the Manifest,
// Wasm, Digest and, where the recorded plugin had them, the Mounts; the rest is in the
// recording. A recording that was cut is replayed as far as it goes. Errors: CodeDigest for
// another module or other mounts, and those of Load.
func (h *Host) Replay(ctx context.Context, s Spec, r *Recording) (Replayed, error) {
	play := &player{r: r, tapes: &tape{world: r.World, replaying: true}}
	p, err := h.replayed(ctx, s, r)
	if err != nil {
		return play.out, protocol.Errorf(protocol.CodeOf(err), "replay %s: %w", &s.Manifest, err)
	}
	defer p.Close(context.WithoutCancel(ctx))
	p.script = play
	if err := p.fresh(ctx); err != nil {
		if cut := play.ranOut() && r.Cut != CutNot; !play.strayed("start") && !cut {
			play.differs("start: %v", err)
		}
		play.judge()
		return play.out, nil
	}
	for i := range r.Calls {
		if play.over(p) {
			break
		}
		asked, err := decodeRequest(r.Calls[i].Request)
		if err != nil {
			return play.out, protocol.Errorf(protocol.CodeBadMessage, "replay: call %d: %w", i, err)
		}
		p.answer(ctx, asked)
	}
	play.judge()
	return play.out, nil
}

// replayed makes the plugin that is to live through r.
func (h *Host) replayed(ctx context.Context, s Spec, r *Recording) (*Plugin, error) {
	if s.Digest != r.Module || protocol.DigestOf(s.Wasm) != r.Module {
		return nil, protocol.Errorf(protocol.CodeDigest, "module has digest %s, recorded is %s",
			protocol.DigestOf(s.Wasm).Short(), r.Module.Short())
	}
	var mounts []RecordedMount
	for _, m := range s.Mounts {
		if m.Tree != nil {
			mounts = append(mounts, RecordedMount{m.Path, m.Tree.digest})
		}
	}
	if !slices.Equal(mounts, r.Mounts) {
		return nil, protocol.Errorf(protocol.CodeDigest, "mounts %v, recorded are %v", mounts, r.Mounts)
	}
	s.Args, s.Env, s.Workflow = r.Args, r.Env, r.Workflow
	s.Manifest.Plugin.Name, s.Manifest.Plugin.Type = r.Plugin, r.Type
	s.Step = protocol.Step{Name: r.Step, Config: r.Config}
	s.Manifest.Limits = r.Limits
	p, err := h.newPlugin(s)
	if err != nil {
		return nil, err
	}
	p.limits = r.Limits
	p.late = r.late()
	p.grants = r.Grants
	verdict, err := h.runnable(&s)
	if err != nil {
		return nil, err
	}
	c, err := h.acquire(ctx, s.Digest, s.Wasm, verdict.Metered)
	if err != nil {
		return nil, err
	}
	p.room = &moduleRoom{p, c, verdict}
	return p, p.enter(ctx)
}

// Metered returns a module as it runs: metered, which it may be already. Errors:
// CodeUnverified.
func Metered(wasm []byte) ([]byte, error) {
	info, err := meter.Inspect(wasm)
	if err == nil && !metered(info) {
		wasm, err = meter.Instrument(wasm)
	}
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeUnverified, "meter: %w", err)
	}
	return wasm, nil
}

// player is the script that replays.
type player struct {
	r     *Recording
	tapes *tape
	out   Replayed
}

func (play *player) tape() *tape { return play.tapes }

// ranOut reports whether the plugin wanted more of the world than was recorded.
func (play *player) ranOut() bool {
	play.tapes.mu.Lock()
	defer play.tapes.mu.Unlock()
	return play.tapes.spent
}

// strayed notes that the plugin asked the world for something else, if it did.
func (play *player) strayed(where string) bool {
	play.tapes.mu.Lock()
	defer play.tapes.mu.Unlock()
	if play.tapes.wrong != "" {
		play.differs("%s: %s", where, play.tapes.wrong)
	}
	return play.tapes.wrong != ""
}

func (play *player) started(_ start, fuel uint64) {
	play.out.Start = fuel
	if fuel != play.r.Start {
		play.differs("start: %d of fuel, recorded %d", fuel, play.r.Start)
	}
}

func (play *player) asked(r Request) {
	play.out.Calls = append(play.out.Calls, ReplayedCall{Request: r})
}

// over reports whether there is nothing left to ask.
func (play *player) over(p *Plugin) bool {
	return play.out.Difference != "" || play.ranOut() || p.live == nil || p.live.Gone()
}

// differs notes what is not as recorded; the first such thing counts.
func (play *player) differs(format string, args ...any) {
	if play.out.Difference == "" {
		play.out.Difference = fmt.Sprintf(format, args...)
	}
}

func (play *player) callee(in Carrier, _ callee) callee {
	n := len(play.out.Calls) - 1
	recorded, now := &play.r.Calls[n], &play.out.Calls[n]
	return Callee(func(name string, args protocol.Raw) (protocol.Raw, error) {
		i := len(now.HostCalls)
		if i >= callsMax {
			in.End(errCallsMax)
		}
		h := RecordedHost{Name: name, Args: slices.Clone(args)}
		if i >= len(recorded.HostCalls) {
			play.beyond(n, h)
			in.End(errStray)
			return nil, errStray
		}
		want := recorded.HostCalls[i]
		if name != want.Name || !bytes.Equal(args, want.Args) {
			play.differs("call %d, host call %d: %s %s, recorded %s %s", n+1, i+1, clip(name, 64),
				clip(string(ToJSON(orEmpty(args))), 200), want.Name, clip(string(ToJSON(orEmpty(want.Args))), 200))
			in.End(errStray)
			return nil, errStray
		}
		now.HostCalls = append(now.HostCalls, want)
		if want.Code != protocol.CodeOK {
			return nil, &protocol.Error{Code: want.Code, Text: want.Text}
		}
		return want.OK, nil
	})
}

// beyond judges a host call after the last that was recorded: only a recording that was
// cut, or one in which the plugin was ended, has less than there was.
func (play *player) beyond(n int, h RecordedHost) {
	last := n == len(play.r.Calls)-1
	if last && (play.r.Cut != CutNot || play.wasEnded(n)) {
		play.tapes.mu.Lock()
		play.tapes.spent = true
		play.tapes.mu.Unlock()
		return
	}
	play.differs("call %d: host call %d, %s %s: not recorded", n+1, len(play.out.Calls[n].HostCalls)+1,
		clip(h.Name, 64), clip(string(ToJSON(orEmpty(h.Args))), 200))
}

func orEmpty(v []byte) []byte {
	if len(v) == 0 {
		return []byte{majorMap}
	}
	return v
}

// wasEnded reports whether the recorded call ended because the host ended the plugin.
func (play *player) wasEnded(n int) bool {
	a, err := decodeAnswer(play.r.Calls[n].Answer)
	if err != nil || a.Error == nil {
		return false
	}
	switch a.Error.Code {
	case protocol.CodeDeadline, protocol.CodeUnavailable:
		return true
	default:
		return false
	}
}

func (play *player) answered(a Answer) {
	n := len(play.out.Calls) - 1
	play.out.Calls[n].Answer = a
	want, last := &play.r.Calls[n], n == len(play.r.Calls)-1
	got, err := encodeAnswer(a)
	switch {
	case play.strayed(fmt.Sprintf("call %d", n+1)):
	case last && play.wasEnded(n):
		return // where in its work it was ended is not the same twice
	case play.ranOut() && last && play.r.Cut != CutNot:
		return
	case play.ranOut():
		play.differs("call %d: wants more of the world than was recorded", n+1)
	case len(want.Answer) == 0:
		return
	case err != nil || !bytes.Equal(got, want.Answer):
		play.differs("call %d: another answer than recorded: %s", n+1, spell(a))
	case !spoke(a):
		return // it was ended while it computed, and what that cost is not the same twice
	case a.Usage.Fuel != want.Fuel:
		play.differs("call %d: %d of fuel, recorded %d", n+1, a.Usage.Fuel, want.Fuel)
	case a.Usage.MemoryB != want.MemoryB:
		play.differs("call %d: %d bytes of memory, recorded %d", n+1, a.Usage.MemoryB, want.MemoryB)
	case len(play.out.Calls[n].HostCalls) != len(want.HostCalls):
		play.differs("call %d: %d host calls, recorded %d", n+1, len(play.out.Calls[n].HostCalls),
			len(want.HostCalls))
	}
}

// spoke reports whether the plugin ended the request itself.
func spoke(a Answer) bool {
	return a.Error == nil || a.Error.Code == protocol.CodePlugin || a.Error.Code == protocol.CodeRetryable
}

// judge says whether it held.
func (play *player) judge() {
	if n := len(play.out.Calls); n < len(play.r.Calls) && !play.ranOut() {
		play.differs("call %d: the plugin has ended before it", n+1)
	}
	play.out.Held = play.out.Difference == ""
}

// spell says an answer on one line.
func spell(a Answer) string {
	switch {
	case a.Error != nil:
		return clip(a.Error.Code.String()+": "+a.Error.Text, 200)
	case len(a.Events) > 0:
		return clip(fmt.Sprintf("%d events, the first %s", len(a.Events), ToJSON(a.Events[0])), 200)
	}
	return clip(string(ToJSON(orEmpty(a.Data))), 200)
}

var _ script = (*player)(nil)
