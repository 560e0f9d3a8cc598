package swarm

import (
	"testing"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/storetest"
)

// A member's disk keeps the promises of every other.
func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) func() edge.Store {
		s := newStore()
		return func() edge.Store { return s }
	})
}
