package storetest

import (
	"slices"
	"strings"

	"github.com/stavily/stavily/edge"
)

// keyOut is what the keys of lanes' records begin with.
const keyOut = "out/"

// Slow is a Memory as an edge.LaterStore: what was only applied later is lost with it. A
// test that cuts the power goes on with the Memory, or another Slow of it.
type Slow struct {
	*Memory
	seen    *Memory // with what waits
	waiting []edge.Change
}

// NewSlow returns a Slow over what m holds.
func NewSlow(m *Memory) *Slow { return &Slow{Memory: m, seen: m.Clone()} }

// Get returns the value of key, also one that waits.
func (s *Slow) Get(key string) ([]byte, error) { return s.seen.Get(key) }

// Scan yields what is seen, of lanes' records those that do not wait.
func (s *Slow) Scan(prefix, from string, yield func(key string, value []byte) bool) error {
	return s.seen.Scan(prefix, from, func(key string, value []byte) bool {
		if strings.HasPrefix(key, keyOut) {
			if kept, _ := s.Memory.Get(key); kept == nil {
				return true
			}
		}
		return yield(key, value)
	})
}

// Apply makes all changes, and with them those that wait.
func (s *Slow) Apply(changes []edge.Change) error {
	if err := s.Memory.Apply(slices.Concat(s.waiting, changes)); err != nil {
		return err
	}
	s.waiting = nil
	return s.seen.Apply(changes)
}

// ApplyLater has changes wait.
func (s *Slow) ApplyLater(changes []edge.Change) error {
	s.waiting = append(s.waiting, changes...)
	return s.seen.Apply(changes)
}

// Sync makes all that waits survive.
func (s *Slow) Sync() error { return s.Apply(nil) }

var _ edge.LaterStore = (*Slow)(nil)
