// Package rollout decides how a change of a workflow goes through a fleet in waves: who
// has it next, when a wave is done, when it is taken back. It is a pure function of what
// the agents say of themselves; hub keeps its state in the books and plans by it.
//
// An agent that has not been heard of for a while counts neither way: it is not waited
// for, it is no success, and it gets what holds when it comes back. What counts is how the
// change fares on the device, by the device's own clock, and never whether the device can
// reach the hub.
package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/stavily/stavily/hub/workflow"
	"github.com/stavily/stavily/protocol"
)

// Phase is how a rollout stands.
type Phase string

// The phases.
const (
	Running  Phase = "running"
	Paused   Phase = "paused"   // those who have the change keep it, nobody else gets it
	Returned Phase = "returned" // it went wrong: everybody has what they had before
	Done     Phase = "done"     // it holds for all, also for those who come back
)

// State is how far a rollout is. The zero State is none.
type State struct {
	// ID tells rollouts apart. It chooses who is among the first, so that it is not always the
	// same ones who try what is new.
	ID     string `json:"id,omitempty"`
	Phase  Phase  `json:"phase,omitempty"`
	Reason string `json:"reason,omitempty"` // why it is paused or was taken back
	// Wave counts from 0; at the number of waves the rest follows.
	Wave  int       `json:"wave"`
	Since time.Time `json:"since,omitzero"` // when the wave began, or was resumed
	// Taken are those who have the change, or had it and are away, in ascending order.
	Taken []protocol.AgentName `json:"taken,omitempty"`
	// Stuck says that it is paused because a wave was not done in time: it is not believed in.
	Stuck bool `json:"stuck,omitempty"`
}

// Begin returns the state of a rollout that nobody has yet.
func Begin(id string, now time.Time) State { return State{ID: id, Phase: Running, Since: now} }

// Has reports whether an agent is to have the change.
func (s *State) Has(name protocol.AgentName) bool {
	switch s.Phase {
	case Running, Paused:
		_, ok := slices.BinarySearch(s.Taken, name)
		return ok
	case Returned:
		return false
	default:
		return true
	}
}

// Agent is an agent that the change concerns, as the hub knows it.
type Agent struct {
	Name   protocol.AgentName
	Site   protocol.Site
	Labels map[string]string
	// Hosts says that it is one of those who run the change's steps for others. They have it
	// before the waves begin and are in none: an agent that is both is there twice.
	Hosts bool
	// Tries says that it has a version whose own waves were not done: it is among the first to
	// have this one.
	Tries bool
	// Heard says that the hub has heard of it lately.
	Heard bool
	// Holds says that it reports the newest document that it was sent.
	Holds bool
	// Status is how the workflow fares on it, nil when it does not speak of it.
	Status *protocol.AssignmentStatus
	// Refused is why it does not take the newest document, nil when it does.
	Refused *protocol.Error
}

// Advance looks at the agents that a change concerns and returns how the rollout goes on,
// and whether that is another state than before. Agents may be in any order: the answer
// does not depend on it.
func Advance(r *workflow.Rollout, s State, agents []Agent, now time.Time) (State, bool) {
	if s.Phase != Running && s.Phase != Paused {
		return s, false
	}
	agents = slices.Clone(agents)
	slices.SortFunc(agents, func(a, b Agent) int { return cmp.Compare(a.Name, b.Name) })
	changed := false
	for {
		w := waveAt(r, s.Wave)
		t := count(&s, agents, &w)
		if why := t.wrong(r); why != "" {
			s.Phase, s.Reason, s.Taken = Returned, where(r, s.Wave)+": "+why, nil
			return s, true
		}
		switch {
		case s.Phase == Paused:
			return s, changed
		case t.done && s.Wave == len(r.Waves):
			s.Phase, s.Taken = Done, nil
			return s, true
		case t.done:
			s.Wave, s.Since, changed = s.Wave+1, now, true
			continue
		}
		if next := t.choose(r, s.ID, now); len(next) > 0 && t.hostWaits == nil {
			s.Taken = slices.Concat(s.Taken, next)
			slices.Sort(s.Taken)
			return s, true
		}
		if now.Sub(s.Since) >= r.Timeout {
			s.Phase, s.Stuck = Paused, true
			s.Reason = fmt.Sprintf("%s: not done in %v: %s", where(r, s.Wave), r.Timeout, t.holdup())
			return s, true
		}
		return s, changed
	}
}

// waveAt returns a wave; after the last one comes everybody.
func waveAt(r *workflow.Rollout, n int) workflow.Wave {
	if n < len(r.Waves) {
		return r.Waves[n]
	}
	return workflow.Wave{Percent: 100, Soak: r.Waves[len(r.Waves)-1].Soak}
}

func where(r *workflow.Rollout, n int) string {
	w := waveAt(r, n)
	if n == len(r.Waves) {
		return "the rest"
	}
	return fmt.Sprintf("wave %d of %d (%s)", n+1, len(r.Waves), &w)
}

// Progress is what the agents say of the wave that a rollout is in.
type Progress struct {
	Where   string `json:"where"` // the wave in words
	Goal    int    `json:"goal"`  // agents that are to have the change when the wave is done
	Well    int    `json:"well"`  // have run it for long enough
	Waiting int    `json:"waiting"`
	Failed  int    `json:"failed"`
	Away    int    `json:"away"` // were given it and are not heard of
	Others  int    `json:"others"`
	Runs    uint64 `json:"runs"`
	Bad     uint64 `json:"bad"`              // of those, ended in an error or met a limit
	Holdup  string `json:"holdup,omitempty"` // what the wave waits for
}

// Look returns how a rollout stands, without letting it go on.
func Look(r *workflow.Rollout, s State, agents []Agent) Progress {
	agents = slices.Clone(agents)
	slices.SortFunc(agents, func(a, b Agent) int { return cmp.Compare(a.Name, b.Name) })
	w := waveAt(r, s.Wave)
	t := count(&s, agents, &w)
	p := Progress{
		Where: where(r, s.Wave), Goal: t.goal, Well: t.fates[well], Waiting: t.fates[waiting],
		Failed: t.fates[failed], Away: t.fates[away], Others: t.fates[untouched], Runs: t.runs, Bad: t.bad,
	}
	if s.Phase == Running || s.Phase == Paused {
		p.Holdup = t.holdup()
	}
	return p
}
