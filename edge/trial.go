package edge

import (
	"time"

	"github.com/stavily/stavily/protocol"
)

// trialSoFar is how an assignment fares since it last changed, or since the boot.
type trialSoFar struct {
	revision uint64    // the one that it came with; what fired before is not its own
	begun    time.Time // when all its plugins were loaded; zero: not yet
	runs     uint64
	failed   uint64
	troubles uint64
}

// ended counts a run that is over.
func (t *trialSoFar) ended(r *run) {
	if r.Event.Revision < t.revision {
		return
	}
	t.runs++
	if r.failed() {
		t.failed++
	}
}

// answered counts an answer that says something about the plugin and not about the world
// around it: a limit met, the contract broken.
func (t *trialSoFar) answered(err *protocol.Error) {
	if err == nil {
		return
	}
	switch err.Code {
	case protocol.CodeLimit, protocol.CodeDeadline, protocol.CodeMemory, protocol.CodeContract:
		t.troubles++
	default:
	}
}

// told returns what the hub is told.
func (t *trialSoFar) told(now time.Time) protocol.Trial {
	out := protocol.Trial{Ended: t.runs, Failed: t.failed, Troubles: t.troubles}
	if !t.begun.IsZero() {
		out.RunningS = uint64(max(0, now.Sub(t.begun)) / time.Second)
	}
	return out
}
