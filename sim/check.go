package sim

import (
	"fmt"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/sim/report"
	"github.com/stavily/stavily/wasmhost"
)

// violationsMax bounds the violations that one run tells of; all are counted.
const violationsMax = 50

// check is one invariant. It is told of everything that could break it, at the moment
// when it happens. Each has a file of its own, check_*.go.
type check interface {
	// self returns the invariant in a name and a sentence.
	self() *rule
	// applied: these facts are on d's disk.
	applied(d *device, facts []fact)
	// asked: d's agent asks a plugin something.
	asked(d *device, c *edge.Call)
	// ran: d makes module ready to run.
	ran(d *device, l *edge.Load, module []byte)
	// effect: an output of d had its effect in the world.
	effect(d *device, r *wasmhost.Request)
	// said: the hub says this to d.
	said(d *device, k protocol.Kind, payload []byte)
	// booted: d's agent begins anew.
	booted(d *device)
	// restored: the hub's books are those of a moment that is past.
	restored(at int64)
	// ended: all faults are over and all that could converge has.
	ended()
}

// rule is what every check has; its methods for what it does not look at do nothing.
type rule struct {
	w       *World
	name    string
	text    string
	checked uint64
	broken  uint64
}

func (r *rule) self() *rule                       { return r }
func (*rule) applied(*device, []fact)             {}
func (*rule) asked(*device, *edge.Call)           {}
func (*rule) ran(*device, *edge.Load, []byte)     {}
func (*rule) effect(*device, *wasmhost.Request)   {}
func (*rule) said(*device, protocol.Kind, []byte) {}
func (*rule) booted(*device)                      {}
func (*rule) restored(int64)                      {}
func (*rule) ended()                              {}

// holds notes that the rule was looked at, and a breach of it when ok is false.
func (r *rule) holds(ok bool, d *device, f string, a ...any) {
	if r.checked++; !ok {
		r.violated(d, fmt.Sprintf(f, a...))
	}
}

// ok is holds for what is looked at often: a text is made only when it is wanted.
func (r *rule) ok(ok bool) bool {
	r.checked++
	return ok
}

// loses reports whether a breach of the rule is something lost.
func (r *rule) loses() bool { return r.name == "events" || r.name == "gaps" }

// violated notes a breach.
func (r *rule) violated(d *device, text string) {
	r.broken++
	w := r.w
	if d != nil && r.loses() {
		d.stats.Lost++
	}
	w.trace.note(w.now, d, "violation "+r.name, []byte(text))
	if len(w.violations) >= violationsMax {
		return
	}
	v := report.Violation{
		Invariant: r.name, AtMS: w.now / 1e6, Text: text, Cause: w.cause(d), Repeat: w.repeat, Look: w.look(d),
	}
	if d != nil {
		v.Agent = string(d.addr.Agent)
	}
	w.violations = append(w.violations, v)
}

// newChecks returns all invariants, each new.
func newChecks(w *World) []check {
	w.uplinks = newUplinkCheck(w)
	return []check{
		newSealedCheck(w), newEventsCheck(w), newGapsCheck(w), newKeptCheck(w),
		newOnceCheck(w), newRevisionsCheck(w),
		newBudgetsCheck(w), newTimeCheck(w), w.uplinks, newRetiredCheck(w),
		newConvergeCheck(w),
	}
}

// perDevice is what a check knows of each device, by its id: empty at first.
type perDevice[T any] []T

func (p *perDevice[T]) of(d *device) *T {
	for len(*p) <= d.id {
		*p = append(*p, *new(T))
	}
	return &(*p)[d.id]
}
