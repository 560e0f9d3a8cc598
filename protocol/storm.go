package protocol

import "slices"

// The bounds of what keeps a workflow from running too often.
const (
	// LimitRunsMax bounds the runs and the burst of a RunLimit.
	LimitRunsMax = 100_000
	// LimitPerMaxMS bounds the time of a RunLimit and of a Once, in milliseconds: 30 days.
	LimitPerMaxMS = 30 * 24 * 3600 * 1000
	// LimitAheadMaxMS bounds the time that a RunLimit's burst stands for, in milliseconds: 50
	// years.
	LimitAheadMaxMS = 50 * 365 * 24 * 3600 * 1000
	// OnceFieldsMax bounds the fields of a Once, OnceFieldMax one of them in bytes, and
	// OnceKeysMax the keys that an agent remembers for one workflow.
	OnceFieldsMax = 8
	OnceFieldMax  = 256
	OnceKeysMax   = 1024
)

// RunLimit bounds how many events of one workflow on one agent become runs: Runs in any
// PerMS on the long run, and at most Burst at once.
type RunLimit struct {
	Runs  uint32 `cbor:"1,keyasint" json:"runs"`
	PerMS int64  `cbor:"2,keyasint" json:"per_ms"`
	Burst uint32 `cbor:"3,keyasint" json:"burst"` // from 1
	Over  Over   `cbor:"4,keyasint,omitempty" json:"over"`
}

// Over says what becomes of an event beyond a limit.
type Over uint8

// What becomes of it.
const (
	OverDrop   Over = 0 // it is counted, and becomes no run
	OverLatest Over = 1 // it waits for the next place, unless a newer one takes that
	OverQueue  Over = 2 // it waits for its place behind those before it
	OverEnd    Over = 3
)

// Check returns an error for a limit out of its bounds. It has CodeLimit, or
// CodeIncompatible for an Over that is not known here.
func (l *RunLimit) Check() error {
	switch {
	case l == nil:
		return nil
	case l.Runs < 1 || l.Runs > LimitRunsMax || l.Burst < 1 || l.Burst > LimitRunsMax:
		return Errorf(CodeLimit, "limit: %d runs, burst %d, want 1 to LimitRunsMax %d", l.Runs, l.Burst,
			LimitRunsMax)
	case l.PerMS < 1 || l.PerMS > LimitPerMaxMS:
		return Errorf(CodeLimit, "limit: per %d ms, want 1 to LimitPerMaxMS %d", l.PerMS, int64(LimitPerMaxMS))
	case l.PerMS/int64(l.Runs)*int64(l.Burst) > LimitAheadMaxMS:
		return Errorf(CodeLimit, "limit: a burst of %d at %d runs in %d ms: limit LimitAheadMaxMS %d", l.Burst,
			l.Runs, l.PerMS, int64(LimitAheadMaxMS))
	case l.Over >= OverEnd:
		return Errorf(CodeIncompatible, "limit: over %d is not known here", l.Over)
	}
	return nil
}

// Once has events that mean the same make one run within a time: they are equal in all of
// Fields, names of the event's data joined by dots. None means that all are the same. Where
// the steps of several agents' runs go to one agent, that agent takes one run.
type Once struct {
	Fields   []string `cbor:"1,keyasint,omitempty" json:"fields"`
	WithinMS int64    `cbor:"2,keyasint" json:"within_ms"`
}

// SameMeaning reports whether o and p tell by the same what an event means, for however long.
// Two that are nil do.
func (o *Once) SameMeaning(p *Once) bool {
	if o == nil || p == nil {
		return o == p
	}
	return slices.Equal(o.Fields, p.Fields)
}

// Check returns an error with CodeLimit for a Once out of its bounds.
func (o *Once) Check() error {
	switch {
	case o == nil:
		return nil
	case len(o.Fields) > OnceFieldsMax:
		return Errorf(CodeLimit, "once: %d fields, limit OnceFieldsMax %d", len(o.Fields), OnceFieldsMax)
	case o.WithinMS < 1 || o.WithinMS > LimitPerMaxMS:
		return Errorf(CodeLimit, "once: within %d ms, want 1 to LimitPerMaxMS %d", o.WithinMS,
			int64(LimitPerMaxMS))
	}
	for _, f := range o.Fields {
		if f == "" || len(f) > OnceFieldMax {
			return Errorf(CodeLimit, "once: field %q: %d bytes, want 1 to OnceFieldMax %d", clip(f), len(f),
				OnceFieldMax)
		}
	}
	return nil
}
