package disk

import (
	"log/slog"
	"slices"
	"sync"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// keyVerified is where verdicts are kept; the agent itself has no such key.
const keyVerified = "verified"

// verdictsMax bounds the verdicts that are kept; the oldest goes first.
const verdictsMax = 256

// Verdicts are what one build of the agent found out about modules. It is a
// wasmhost.Verdicts.
type Verdicts struct {
	store *Store

	mu   sync.Mutex // guards the field below
	kept savedVerdicts
}

type savedVerdicts struct {
	Build string         `cbor:"1,keyasint"`
	Of    []savedVerdict `cbor:"2,keyasint"`
}

type savedVerdict struct {
	Digest      protocol.Digest `cbor:"1,keyasint"`
	Metered     bool            `cbor:"2,keyasint"`
	SizeB       int             `cbor:"3,keyasint"`
	MemoryMinMB uint32          `cbor:"4,keyasint"`
	MemoryMaxMB uint32          `cbor:"5,keyasint"`
	Compiles    bool            `cbor:"6,keyasint,omitempty"`
}

// Verdicts returns what was found out about modules by the program that build names.
// Another build verifies again.
func (s *Store) Verdicts(build string) *Verdicts {
	v := &Verdicts{store: s}
	value, err := s.Get(keyVerified)
	if err == nil && value != nil {
		err = protocol.UnmarshalExact(value, &v.kept)
	}
	if err != nil {
		s.log.Warn("verdicts not read: modules are verified again", slog.String("error", err.Error()))
	}
	if err != nil || v.kept.Build != build {
		v.kept = savedVerdicts{Build: build}
	}
	return v
}

// Verdict returns what is known of a module, without its imports.
func (v *Verdicts) Verdict(d protocol.Digest) (wasmhost.Verdict, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.kept.Of {
		if s.Digest == d {
			return wasmhost.Verdict{
				Metered: s.Metered, SizeB: s.SizeB, MemoryMinMB: s.MemoryMinMB, MemoryMaxMB: s.MemoryMaxMB,
				Compiles: s.Compiles,
			}, true
		}
	}
	return wasmhost.Verdict{}, false
}

// Keep keeps a verdict. A disk that refuses it is no reason not to run.
func (v *Verdicts) Keep(d protocol.Digest, of wasmhost.Verdict) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.kept.Of = slices.DeleteFunc(v.kept.Of, func(s savedVerdict) bool { return s.Digest == d })
	if over := len(v.kept.Of) + 1 - verdictsMax; over > 0 {
		v.kept.Of = slices.Delete(v.kept.Of, 0, over)
	}
	v.kept.Of = append(v.kept.Of, savedVerdict{
		d, of.Metered, of.SizeB, of.MemoryMinMB, of.MemoryMaxMB, of.Compiles,
	})
	err := v.store.Apply([]edge.Change{{Key: keyVerified, Value: protocol.MustMarshal(v.kept)}})
	if err != nil {
		v.store.log.Warn("verdict not kept", slog.String("digest", d.Short()), slog.String("error", err.Error()))
	}
}

var _ wasmhost.Verdicts = (*Verdicts)(nil)
