package sim

import (
	"slices"
	"time"

	"github.com/stavily/stavily/protocol"
)

// possible reports whether the line could come up now.
func (l *line) possible() bool {
	plan := l.shape.Cap
	used := plan.Bytes > 0 && plan.Per > 0 && l.period == l.w.now/int64(plan.Per) && l.used > plan.Bytes
	there := l.w.hub.hub != nil
	if len(l.gates) > 0 {
		there = slices.ContainsFunc(l.gates, func(g *device) bool { return g.serves(l.d) })
	}
	return l.d.agent != nil && there && l.blocked == [2]int{} && l.barred == 0 && !l.shut && !used
}

// retry plans to connect, soon after it became possible and not with all others at once.
func (l *line) retry() {
	if l.up || !l.possible() {
		return
	}
	pause := backoffMax
	if l.downFor < 7 {
		pause = min(pause, time.Second<<l.downFor)
	}
	l.retryAt(l.w.now + int64(l.rng.upTo(pause)) + 4*int64(l.shape.Latency.Mean))
}

func (l *line) retryAt(at int64) {
	l.tries++
	l.w.push(item{at: at, kind: kindConnect, d: l.d, n: l.tries})
}

// connect brings the line up if that is still possible.
func (l *line) connect(n uint64) {
	if n != l.tries || l.up || !l.possible() {
		return // what stands in its way has it tried again when that is over
	}
	l.up, l.downFor = true, 0
	l.gen++
	l.choose()
	l.w.trace.note(l.w.now, l.d, "connect", nil)
	for dir := range l.flows {
		l.again(way(dir))
	}
	l.d.online(true)
	if l.d.agent == nil || !l.up {
		return // the power went meanwhile
	}
	l.will = protocol.MustMarshal(l.d.agent.Presence(false))
	if l.retained != nil {
		_ = l.send(wayDown, &flight{m: *l.retained}) // full: the hub says it again when it hears of the agent
	}
	for dir := range l.flows {
		l.pump(way(dir))
	}
}

// again puts on the wire what was not acknowledged on the connection before, or whose
// acknowledgement was lost with it. Some of it may come late.
func (l *line) again(dir way) {
	q := &l.flows[dir]
	kept := func(f *flight) bool { return f.acked && f.ackedAt <= l.w.now }
	*q = flow{flying: slices.DeleteFunc(q.flying, kept)}
	var late []*flight
	for i := 0; i < len(q.flying); i++ {
		f := q.flying[i]
		f.acked, f.delivered = false, false
		if l.rng.chance(l.shape.Reorder) {
			late = append(late, f)
			q.flying = slices.Delete(q.flying, i, i+1)
			i--
		}
	}
	q.flying = append(q.flying, late...)
	for _, f := range q.flying {
		l.depart(dir, f)
	}
}

// cut ends the connection. Both ends keep what was not acknowledged; the broker tells
// the hub in a while what the agent left as its Will.
func (l *line) cut(why string) {
	if !l.up {
		return
	}
	l.up = false
	l.downFor++
	l.gen++
	for dir := range l.flows {
		q := &l.flows[dir]
		q.due = false
		for _, f := range q.flying { // an acknowledgement on its way is lost with the line
			f.acked = f.acked && f.ackedAt <= l.w.now
		}
	}
	l.w.trace.note(l.w.now, l.d, "cut", []byte(why))
	l.leave()
	l.d.online(false)
	l.retry()
}

// dropped forgets what one end had in flight: its process has ended.
func (l *line) dropped(dir way) { l.flows[dir] = flow{} }

// block holds or lets go a direction.
func (l *line) block(dir way, by int) {
	l.blocked[dir] += by
	if l.held(dir) {
		l.hold(dir)
		return
	}
	if !l.up {
		l.retry()
		return
	}
	l.release(dir)
}

// held reports whether nothing moves in a direction.
func (l *line) held(dir way) bool { return l.blocked[dir] > 0 || l.severed() }

// hold keeps back what moves in a direction, until that is let go or the line given up.
func (l *line) hold(dir way) {
	if l.up {
		l.w.push(item{at: l.w.now + int64(keepalive), kind: kindTimeout, d: l.d, n: l.gen})
	}
	for _, f := range l.flows[dir].flying {
		f.stalled = f.stalled || !f.delivered
	}
}

// release lets go what was held.
func (l *line) release(dir way) {
	for _, f := range l.flows[dir].flying {
		if f.stalled {
			l.depart(dir, f)
		}
	}
	l.pump(dir)
}

// timeout gives up a connection that has said nothing for too long.
func (l *line) timeout(gen uint64) {
	if l.up && l.gen == gen && (l.held(wayUp) || l.held(wayDown)) {
		l.cut("silent")
	}
}

// bar has the hub refuse the line, or take it again.
func (l *line) bar(by int) {
	l.barred += by
	if l.barred > 0 {
		l.cut("refused")
	} else {
		l.retry()
	}
}

// closed reports whether this is a time in which there is no line to the hub.
func (l *line) closed() bool {
	return !l.up && l.shut || l.up && l.at != nil && !l.at.line.up && l.at.line.shut
}

// open says whether this is a time in which there is a line.
func (l *line) open(is bool) {
	l.shut = !is
	if !is {
		l.cut("closed")
	} else {
		l.retry()
	}
}
