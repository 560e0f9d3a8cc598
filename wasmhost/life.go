package wasmhost

import (
	"context"
	"fmt"
	"time"

	"github.com/stavily/stavily/protocol"
)

// What is in this file is the life of a plugin's guests, one after another: each is begun,
// asked, and ended when it broke the contract or is no longer wanted. Who calls it has the
// turn.

// endPatience bounds how long the host waits for the end of a guest that must end.
const endPatience = 2 * time.Second

var (
	errClosed = protocol.Errorf(protocol.CodeUnavailable, "plugin was closed")
	errGone   = fmt.Errorf("guest has gone")
)

// begin starts a guest and hears that it is ready, or only its hello when it is set up
// later, within the limit of seconds.
func (p *Plugin) begin(ctx context.Context, setUp bool) error {
	p.log.begin()
	live, err := p.room.Start(ctx)
	if err != nil {
		return err
	}
	if err := p.adopt(live); err != nil {
		return err
	}
	defer live.Rest()
	stop := p.watch(ctx, live, p.timeout(0))
	defer stop()
	manifest, s := &p.spec.Manifest, p.setup()
	conv := &conversation{rw: live}
	err = conv.meet(expect{manifest.Plugin.Type, manifest.Plugin.Name})
	if err == nil && setUp {
		err = conv.setUp(s)
	}
	if err := p.started(conv, err); err != nil {
		return err
	}
	p.conv = conv
	p.warm.ready(p.host.cfg.Clock(), live.Used().MemoryB)
	if p.script != nil && setUp {
		p.script.started(s, spent(live))
	}
	return nil
}

// started ends a guest whose beginning ended in err, or that did not wait then.
func (p *Plugin) started(conv *conversation, err error) error {
	if err == nil && (!p.live.Settle() || conv.unread()) {
		err = contractf("speaks before it is asked")
	}
	if err == nil && p.live.Gone() {
		err = errGone
	}
	if err == nil {
		return nil
	}
	cause := p.why(err)
	p.drop(cause)
	return protocol.Errorf(cause.Code, "start: %w", cause)
}

// adopt makes a guest the live one, unless the plugin was closed meanwhile.
func (p *Plugin) adopt(live Carrier) error {
	p.mu.Lock()
	p.live, p.ending = live, live
	closed := p.closed
	p.mu.Unlock()
	if closed {
		p.drop(errClosed)
		return errClosed
	}
	return nil
}

// drop ends the live guest, if there is one, and waits for it.
func (p *Plugin) drop(cause *protocol.Error) {
	live := p.live
	if live == nil {
		return
	}
	p.mu.Lock()
	p.live, p.ending, p.conv = nil, nil, nil
	p.mu.Unlock()
	live.End(cause)
	if !live.Await(endPatience) {
		p.log.line(8, "guest does not end: "+cause.Text)
		return
	}
	live.Free()
}

// bow lets the live guest end by itself, by ending its stdin, before it is ended.
func (p *Plugin) bow() {
	if p.live == nil {
		return
	}
	p.live.Finish()
	p.live.Await(endPatience / 20)
	p.drop(errClosed)
}

// timeout returns how long a request may take.
func (p *Plugin) timeout(askedMS int64) time.Duration {
	limit := time.Duration(p.limits.Seconds) * time.Second
	if asked := time.Duration(askedMS) * time.Millisecond; askedMS > 0 && asked < limit {
		return asked
	}
	return limit
}

// watch ends a guest when ctx is cancelled or when it took longer than d. The function that
// it returns ends the watch.
func (p *Plugin) watch(ctx context.Context, live Carrier, d time.Duration) (stop func()) {
	timer := time.AfterFunc(d, func() {
		live.End(protocol.Errorf(protocol.CodeDeadline, "took longer than %d ms", d.Milliseconds()))
	})
	if ctx.Done() == nil {
		return func() { timer.Stop() }
	}
	after := context.AfterFunc(ctx, func() {
		live.End(Cancelled(ctx))
	})
	return func() { timer.Stop(); after() }
}

// fresh makes sure that there is a live guest that has said no more than was asked.
func (p *Plugin) fresh(ctx context.Context) error {
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	p.rouse(ctx)
	switch {
	case closed:
		return errClosed
	case p.live == nil:
	case !p.room.Suits():
		p.bow()
	case p.live.Gone():
		p.parted()
	case p.live.Said():
		p.log.line(4, "guest said more than was asked, after its answer")
		p.drop(contractf("says more than was asked"))
	default:
		return nil
	}
	return p.begin(ctx, !p.late)
}

// rouse has the live guest do what it wanted to do when a time of its own is over, for which it
// waited beside stdin: not as part of the request that is about to be put.
func (p *Plugin) rouse(ctx context.Context) {
	if in, ok := p.live.(*instance); ok && in.overslept() {
		stop := p.watch(ctx, in, p.timeout(0))
		defer stop()
		in.rouse()
	}
}

// ask puts r to the live guest.
func (p *Plugin) ask(ctx context.Context, r Request) Answer {
	live, limit := p.live, p.timeout(r.TimeoutMS)
	r.TimeoutMS = limit.Milliseconds()
	p.log.begin()
	live.Begin()
	defer live.Rest()
	stop := p.watch(ctx, live, limit)
	defer stop()
	req := &request{p: p, ctx: ctx, in: live, limit: limit}
	defer req.close()
	a, err := p.conv.ask(r, p.directed(r, req))
	if err = p.heard(err); err != nil {
		a = Answer{Error: p.broken(err)}
	}
	a.Usage = p.used(live, req)
	if p.script != nil {
		p.script.answered(a)
	}
	return a
}

// heard returns err, or, of a guest that has answered, that it said more than that. One that
// has ended since is let go.
func (p *Plugin) heard(err error) error {
	if err == nil && (!p.live.Settle() || p.conv.unread()) {
		err = contractf("says more than was asked")
	}
	if err == nil && p.live.Gone() {
		p.parted()
	}
	return err
}

// parted lets go of a guest that has ended after its answer.
func (p *Plugin) parted() {
	if p.live.Cause() == nil {
		p.live.Await(endPatience) // it is closing down: what it has used is known then
	}
	p.log.line(4, "guest ended after its answer")
	p.drop(errClosed)
}

// used returns what a request cost.
func (p *Plugin) used(live Carrier, req *request) Usage {
	u := live.Used()
	u.HostCalls, u.Denied = req.calls, req.denied
	p.warm.size = u.MemoryB
	return u
}

// directed returns who answers the host calls of a request: the host, unless a script does.
func (p *Plugin) directed(r Request, req *request) callee {
	if p.script == nil {
		return req
	}
	p.script.asked(r)
	return p.script.callee(req.in, req)
}

// broken makes the answer's error of what ended the conversation, and ends the guest unless
// the conversation can go on: after an error of the plugin's own, or a bound that was kept.
func (p *Plugin) broken(err error) *protocol.Error {
	switch protocol.CodeOf(err) {
	case protocol.CodePlugin, protocol.CodeRetryable, protocol.CodeLimit, protocol.CodeBadInput:
		if p.live.Settle() && !p.conv.unread() && !p.live.Gone() {
			return protocol.AsError(err)
		}
	default: // whatever else it was, the guest is not to be trusted
	}
	cause := p.why(err)
	p.drop(cause)
	return cause
}

// why says why the live guest has ended, with which the conversation broke off by err.
func (p *Plugin) why(err error) *protocol.Error {
	live := p.live
	if cause := live.Cause(); cause != nil {
		return cause
	}
	if protocol.CodeOf(err) != protocol.CodeInternal {
		live.End(protocol.AsError(err))
		return protocol.AsError(err)
	}
	ended := live.Await(endPatience)
	if cause := live.Cause(); cause != nil {
		return cause
	}
	if !ended { // its streams have, and it has not
		return contractf("closed its streams without an answer")
	}
	return live.Autopsy()
}
