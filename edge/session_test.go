package edge_test

import (
	"testing"

	"github.com/stavily/stavily/edge"
)

// The Will of a connection is newer than all that the agent says of itself on it, however often
// its gateway comes to reach the hub, and older than the next connection.
func TestWillEndsItsConnection(t *testing.T) {
	p := edge.WillOf(3, 7)
	if first, next := edge.SessionOf(7), edge.SessionOf(8); p.Session <= first+1000 || p.Session >= next ||
		p.Online || p.Boot != 3 {
		t.Errorf("Will %+v of the connection from %d up to %d", p, first, next)
	}
}
