package storetest

import (
	"fmt"
	"strings"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// Lanes is a Memory as an edge.LaneStore: an agent on it has changes wait, which are lost
// with it. A test that cuts the power goes on with the Memory, or another Lanes of it.
type Lanes struct{ *Memory }

// ApplyLanes makes all changes or, when a fault says so, none.
func (l Lanes) ApplyLanes(changes []edge.LaneChange) error {
	var all []edge.Change
	for _, c := range changes {
		switch {
		case c.Lane == 0 && isRecord(c.Key): // a store that knows lanes has none under a key
			return protocol.Errorf(protocol.CodeInternal, "change of %q: a record is named by lane and mark", c.Key)
		case c.Lane == 0:
			all = append(all, c.Change)
		case c.Through:
			prefix, last := fmt.Sprintf("out/%d/", c.Lane), recordKey(c.Lane, c.Mark)
			keys := l.Keys()
			for _, before := range all {
				keys = append(keys, before.Key)
			}
			for _, key := range keys {
				if strings.HasPrefix(key, prefix) && key <= last {
					all = append(all, edge.Change{Key: key})
				}
			}
		default:
			all = append(all, edge.Change{Key: recordKey(c.Lane, c.Mark), Value: c.Value})
		}
	}
	return l.Apply(all)
}

// isRecord reports whether key is one that recordKey makes.
func isRecord(key string) bool {
	var of protocol.Lane
	var m protocol.Mark
	n, err := fmt.Sscanf(key, "out/%d/%016x/%016x", &of, &m.Boot, &m.Sequence)
	return n == 3 && err == nil && key == recordKey(of, m)
}

func recordKey(of protocol.Lane, m protocol.Mark) string {
	return fmt.Sprintf("out/%d/%016x/%016x", of, m.Boot, m.Sequence)
}

var _ edge.LaneStore = Lanes{}
