package wasmhost

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/stavily/stavily/protocol"
)

const (
	// BatchMax bounds the events that one request carries.
	BatchMax = protocol.BatchMax

	// batchBytes is how much a batch of more than one holds at most, in CBOR: the rest of a
	// message is for what JSON takes more.
	batchBytes = 96 << 10
	// batchStrikes is how many instances one CallBatch may cost before it gives up.
	batchStrikes = 3
)

// CallBatch puts requests of kind Run or Deliver and returns an answer for each, in order.
// A plugin that takes batches gets as many of them in one request as fit, up to BatchMax;
// another one gets them one at a time. One event's error is its own. When the instance is
// ended in the midst of a batch, nobody knows by which event: those of that batch are asked
// again one at a time, with the same keys and a deadline each, so that only the one that
// does it has the error. After the third instance that was ended the rest is answered with
// CodeUnavailable, not asked.
//
// A batch has the shortest TimeoutMS of its requests for all of them together. Its fuel and
// time are divided evenly among its answers, its host calls stand with the first.
//
// The slice is valid until the plugin is asked again; what the answers hold is not bound to it.
func (p *Plugin) CallBatch(ctx context.Context, rs []Request) []Answer {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return refuseAll(nil, len(rs), Cancelled(ctx))
	}
	defer p.yield()
	clear(p.answers)
	b := batching{p: p, ctx: ctx}
	p.answers = b.all(rs, p.answers[:0])
	return p.answers
}

func refuseAll(out []Answer, n int, err *protocol.Error) []Answer {
	for len(out) < n {
		out = append(out, Answer{Error: err})
	}
	return out
}

// batching is one CallBatch under way.
type batching struct {
	p       *Plugin
	ctx     context.Context
	strikes int // instances that were ended, or did not start
	alone   int // requests that go one at a time
}

// all adds the answers to all of rs to out.
func (b *batching) all(rs []Request, out []Answer) []Answer {
	for len(out) < len(rs) {
		switch n := b.together(rs[len(out):]); {
		case b.ctx.Err() != nil:
			return refuseAll(out, len(rs), Cancelled(b.ctx))
		case b.strikes >= batchStrikes:
			return refuseAll(out, len(rs), protocol.Errorf(protocol.CodeUnavailable,
				"not asked: the plugin was ended %d times in this batch", b.strikes))
		case n > 1:
			out = append(out, b.ask(rs[len(out):len(out)+n])...)
		default:
			out = append(out, b.one(rs[len(out)]))
		}
	}
	return out
}

// together returns how many of rs, from the first, can be put as one request.
func (b *batching) together(rs []Request) (n int) {
	if b.alone > 0 || b.p.takes() < 2 && b.p.live != nil {
		return 1
	}
	for n < min(len(rs), BatchMax) && rs[n].Kind == rs[0].Kind && rs[n].Event != nil &&
		(rs[n].Kind == Run || rs[n].Kind == Deliver) && b.p.fits(rs[n]) == nil &&
		bytes.Equal(rs[n].Config, rs[0].Config) {
		n++
	}
	if b.p.live == nil { // what it takes is not known before its hello
		if err := b.p.fresh(b.ctx); err != nil {
			return 1
		}
	}
	return min(n, b.p.takes())
}

// takes returns how many events the live instance takes at once.
func (p *Plugin) takes() int {
	if p.conv == nil {
		return 1
	}
	return max(p.conv.batch, 1)
}

// one puts one request alone.
func (b *batching) one(r Request) Answer {
	a := b.p.answer(b.ctx, r)
	if a.Error != nil && b.p.live == nil && !spoke(a) { // a configuration that it refuses is none
		b.strikes++
	}
	b.alone = max(b.alone-1, 0)
	return a
}

// ask puts some requests as one, and returns the answers of the first of them: none when
// the instance was ended.
func (b *batching) ask(rs []Request) []Answer {
	answers, err := b.p.askBatch(b.ctx, rs)
	if err == nil {
		return answers
	}
	if b.p.live == nil {
		b.strikes++
	}
	b.alone = len(rs)
	return nil
}

// askBatch is ask for several requests. Without an error it has at least one answer.
func (p *Plugin) askBatch(ctx context.Context, rs []Request) (answers []Answer, err error) {
	began := p.host.cfg.Clock()
	defer func() {
		if defect := recover(); defect != nil {
			cause := protocol.Errorf(protocol.CodeInternal, "panic in the host: %v", defect)
			p.drop(cause)
			answers, err = nil, cause
		}
	}()
	if err := p.fresh(ctx); err != nil {
		return nil, err
	}
	if err := p.configure(ctx, rs[0].Config); err != nil {
		return nil, err
	}
	live, limit := p.live, p.batchTimeout(rs)
	p.log.begin()
	live.Begin()
	defer live.Rest()
	stop := p.watch(ctx, live, limit)
	defer stop()
	req := &request{p: p, ctx: ctx, in: live, limit: limit, most: callsMax * uint32(len(rs))}
	defer req.close()
	answers, err = p.conv.askBatch(batch{rs, limit.Milliseconds()}, req)
	if err = p.heard(err); err != nil {
		return nil, p.broken(err)
	}
	total := p.used(live, req)
	total.TookUS = p.host.cfg.Clock().Sub(began).Microseconds()
	share(answers, total)
	return answers, nil
}

func (p *Plugin) batchTimeout(rs []Request) (least time.Duration) {
	least = p.timeout(rs[0].TimeoutMS)
	for _, r := range rs[1:] {
		least = min(least, p.timeout(r.TimeoutMS))
	}
	return least
}

// share divides what a batch cost among its answers.
func share(answers []Answer, total Usage) {
	n := len(answers)
	for i := range answers {
		u := Usage{
			Fuel: total.Fuel / uint64(n), TookUS: total.TookUS / int64(n), CPUUS: total.CPUUS / int64(n),
			MemoryB: total.MemoryB,
		}
		if i == 0 {
			u.Fuel += total.Fuel % uint64(n)
			u.TookUS += total.TookUS % int64(n)
			u.CPUUS += total.CPUUS % int64(n)
			u.HostCalls, u.Denied = total.HostCalls, total.Denied
		}
		answers[i].Usage = u
	}
}

// batch is requests of one kind that are put as one.
type batch struct {
	rs         []Request
	deadlineMS int64
}

// askBatch puts as many of the requests as one message holds, from the first, and hears
// the answers: at least one, at most as many as were put.
func (c *conversation) askBatch(b batch, host callee) ([]Answer, error) {
	n, err := c.writeBatch(b)
	if n == 0 {
		return []Answer{{Error: protocol.AsError(err)}}, nil
	}
	for {
		err := c.say()
		if protocol.CodeOf(err) != protocol.CodeLimit {
			if err != nil {
				return nil, err
			}
			break
		}
		if n == 1 {
			return []Answer{{Error: protocol.AsError(err)}}, nil
		}
		b.rs = b.rs[:n/2]
		n, _ = c.writeBatch(b)
	}
	m, err := c.heed(host)
	switch {
	case err != nil:
		return nil, err
	case m.kind == "error":
		err := readError(m.body)
		if code := protocol.CodeOf(err); code != protocol.CodePlugin && code != protocol.CodeRetryable {
			return nil, err
		}
		return refuseAll(nil, n, protocol.AsError(err)), nil
	}
	answers, err := readBatch(b.rs[0].Kind, m.body, c.answers[:0], n)
	c.answers = answers[:0]
	return answers, err
}

// writeBatch makes a message of requests, the first of b and as many more as fit. It
// returns how many; for none, what is wrong with the first.
func (c *conversation) writeBatch(b batch) (n int, err error) {
	items := &c.items
	items.reset()
	for ; n < len(b.rs); n++ {
		at := len(items.b)
		writeItem(items, b.rs[n])
		if err = items.err; err == nil && (n == 0 || len(items.b) <= batchBytes) {
			continue
		}
		items.b, items.err = items.b[:at], nil
		break
	}
	if n == 0 {
		return 0, err
	}
	c.id++
	c.w.reset()
	w := &c.w
	w.mapOf(2)
	w.text("id")
	w.int(c.id)
	w.text("batch")
	w.mapOf(4)
	w.text("kind")
	w.text(string(b.rs[0].Kind))
	w.text("deadline_ms")
	w.int(b.deadlineMS)
	w.text("now_ms")
	w.int(b.rs[0].Now.UnixMS)
	w.text("items")
	w.array(n)
	w.b = append(w.b, items.b...)
	return n, nil
}

// readBatch reads the answers to the first of n requests into the room that is given.
func readBatch(kind RequestKind, body protocol.Raw, out []Answer, n int) ([]Answer, error) {
	var err error
	ok := eachField(body, func(key string, value protocol.Raw) bool {
		if key != "items" {
			return true
		}
		items, isArray := elements(value, n)
		if !isArray || len(items) == 0 {
			err = contractf("items: want an array of 1 to %d", n)
			return false
		}
		for i, item := range items {
			a, bad := readItem(kind, item)
			if bad != nil {
				err = protocol.Errorf(protocol.CodeOf(bad), "item %d: %w", i, bad)
				return false
			}
			out = append(out, a)
		}
		return true
	})
	if err == nil && (!ok || len(out) == 0) {
		err = contractf("answer to a batch: want {items: [...]}")
	}
	return out, err
}

// readItem reads one answer of a batch. What is over a bound costs that event only.
func readItem(kind RequestKind, item protocol.Raw) (a Answer, err error) {
	var failed error
	ok := eachField(item, func(key string, value protocol.Raw) bool {
		if key == "error" {
			failed = readError(value)
		}
		return true
	})
	switch code := protocol.CodeOf(failed); {
	case !ok:
		return a, contractf("want a map, {data} or {error}")
	case code == protocol.CodePlugin || code == protocol.CodeRetryable:
		return Answer{Error: protocol.AsError(failed)}, nil
	case failed != nil:
		return a, failed
	}
	a, err = readAnswer(kind, item)
	if protocol.CodeOf(err) == protocol.CodeLimit {
		return Answer{Error: protocol.AsError(fmt.Errorf("answer: %w", err))}, nil
	}
	return a, err
}
