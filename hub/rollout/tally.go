package rollout

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/stavily/stavily/hub/workflow"
	"github.com/stavily/stavily/protocol"
)

// fate is how the change fares on one agent.
type fate uint8

const (
	untouched fate = iota // was not given it
	away                  // was given it and is not heard of: counts neither way
	waiting               // it is on its way, or has not run for long enough
	well
	failed
)

func (a *Agent) fate(s *State, soak time.Duration) fate {
	switch {
	case !s.Has(a.Name):
		return untouched
	case !a.Heard:
		return away
	case a.Refused != nil:
		return failed
	case !a.Holds || a.Status == nil:
		return waiting
	case a.Status.Phase == protocol.PhaseFailed:
		return failed
	case a.Status.Phase == protocol.PhaseRunning && a.Status.Trial.RunningS >= uint64(soak/time.Second):
		return well
	default:
		return waiting
	}
}

// Soak is how long an agent has yet to run the change before it is well.
type Soak struct {
	Name protocol.AgentName
	Left time.Duration
}

// Soaking returns the agents for whom a wave waits only because they have not run it for long
// enough, as they said last, in the order of agents.
func Soaking(r *workflow.Rollout, s State, agents []Agent) (out []Soak) {
	if s.Phase != Running {
		return nil
	}
	soak := waveAt(r, s.Wave).Soak
	for i := range agents {
		a := &agents[i]
		if a.Hosts || a.fate(&s, soak) != waiting || a.Status == nil || a.Status.Phase != protocol.PhaseRunning {
			continue
		}
		out = append(out, Soak{a.Name, soak - time.Duration(a.Status.Trial.RunningS)*time.Second})
	}
	return out
}

// tally is what the agents say of one wave.
type tally struct {
	goal  int // how many agents are to have the change when the wave is done
	fates [failed + 1]int
	runs  uint64 // that ended under the change
	bad   uint64 // of those, in an error or at a limit
	done  bool   // the wave is
	// changing counts the agents of each site that have the change and are not well.
	changing    map[protocol.Site]int
	candidates  []*Agent // heard of, in the wave, and without the change
	firstFailed *Agent
	firstWaits  *Agent
	// Of those who run its steps for others, as far as they are heard of.
	hosts, hostsFailed    int
	hostWaits, hostFailed *Agent // the first that does not have it yet, that failed
}

// count looks at all agents in the order of their names.
func count(s *State, agents []Agent, w *workflow.Wave) *tally {
	t := &tally{changing: map[protocol.Site]int{}}
	heard, wellInWave := 0, 0
	for i := range agents {
		a := &agents[i]
		if a.Hosts {
			t.host(a)
			continue
		}
		in := w.Group == nil || w.Group.Match(a.Labels)
		f := a.fate(s, w.Soak)
		t.fates[f]++
		if a.Heard {
			heard++
		}
		switch {
		case f == untouched && a.Heard && in:
			t.candidates = append(t.candidates, a)
		case f == well && in:
			wellInWave++
		}
		t.add(a, f)
	}
	given := t.fates[waiting] + t.fates[well] + t.fates[failed]
	switch {
	case w.Group != nil:
		t.goal = given + len(t.candidates)
	case w.Count > 0:
		t.goal = min(w.Count, heard)
	default:
		t.goal = int(math.Ceil(w.Percent * float64(heard) / 100))
	}
	t.done = t.fates[waiting] == 0 && wellInWave > 0 && given >= t.goal
	return t
}

// host counts an agent that runs steps of the change for others.
func (t *tally) host(a *Agent) {
	if !a.Heard {
		return
	}
	t.hosts++
	switch {
	case a.Refused != nil, a.Holds && a.Status != nil && a.Status.Phase == protocol.PhaseFailed:
		t.hostsFailed++
		t.hostFailed = cmp.Or(t.hostFailed, a)
	case !a.Holds, a.Status != nil && a.Status.Phase != protocol.PhaseRunning:
		t.hostWaits = cmp.Or(t.hostWaits, a)
	}
}

func (t *tally) add(a *Agent, f fate) {
	switch f {
	case untouched:
		return
	case away, waiting, failed:
		t.changing[a.Site]++
	case well:
	}
	if f == failed {
		t.firstFailed = cmp.Or(t.firstFailed, a)
	}
	if f == waiting {
		t.firstWaits = cmp.Or(t.firstWaits, a)
	}
	if f != away && a.Holds && a.Status != nil {
		bad := max(a.Status.Trial.Failed, a.Status.Trial.Troubles) // one call may be both
		t.bad += bad
		t.runs += max(a.Status.Trial.Ended, bad)
	}
}

// runsMin is how many runs a share of errors is told from.
const runsMin = 5

// wrong says why the change is to be taken back, empty when it is not.
func (t *tally) wrong(r *workflow.Rollout) string {
	seen := t.fates[waiting] + t.fates[well] + t.fates[failed]
	if n := t.fates[failed]; n > 0 && float64(n)*100 > r.MaxFailed*float64(seen) {
		return fmt.Sprintf("%d of %d agents failed, allowed are %g %%; %s: %s", n, seen, r.MaxFailed,
			t.firstFailed.Name, t.firstFailed.reason())
	}
	if n := t.hostsFailed; n > 0 && float64(n)*100 > r.MaxFailed*float64(t.hosts) {
		return fmt.Sprintf("%d of %d agents that run its steps for others failed, allowed are %g %%; %s: %s", n,
			t.hosts, r.MaxFailed, t.hostFailed.Name, t.hostFailed.reason())
	}
	if t.runs >= runsMin && lowerBound(t.bad, t.runs)*100 > r.MaxErrors {
		return fmt.Sprintf("%d of %d runs ended in an error or met a limit, allowed are %g %%", t.bad, t.runs,
			r.MaxErrors)
	}
	return ""
}

// lowerBound returns what the true share of bad among all is at least, with a confidence
// of 95 % (E. B. Wilson, Probable Inference, 1927): a few bad ones of a few are no verdict.
func lowerBound(bad, all uint64) float64 {
	const z = 1.645
	n, p := float64(all), float64(bad)/float64(all)
	return (p + z*z/(2*n) - z*math.Sqrt(p*(1-p)/n+z*z/(4*n*n))) / (1 + z*z/n)
}

func (a *Agent) reason() string {
	err := a.Refused
	if err == nil && a.Status != nil {
		err = a.Status.Error
	}
	if err == nil {
		return "not running"
	}
	return err.Code.String() + ": " + err.Text
}

// choose returns who gets the change now, first those who try another one: as many as the wave
// lacks, at their sites' time, and no more of a site at once than it bears. For those who went
// away with the change others are taken, but no more than the wave was to have: a change that
// silences agents must not eat its way through the fleet.
func (t *tally) choose(r *workflow.Rollout, id string, now time.Time) []protocol.AgentName {
	given := t.fates[waiting] + t.fates[well] + t.fates[failed]
	room := min(t.goal-given, 2*t.goal-given-t.fates[away])
	if room <= 0 {
		return nil
	}
	lot := make(map[protocol.AgentName][sha256.Size]byte, len(t.candidates))
	for _, a := range t.candidates {
		lot[a.Name] = sha256.Sum256([]byte(id + "\x00" + string(a.Name)))
	}
	slices.SortFunc(t.candidates, func(a, b *Agent) int {
		if a.Tries != b.Tries {
			return map[bool]int{true: -1, false: 1}[a.Tries]
		}
		x, y := lot[a.Name], lot[b.Name]
		return slices.Compare(x[:], y[:])
	})
	var out []protocol.AgentName
	for _, a := range t.candidates {
		switch {
		case len(out) == room:
			return out
		case r.PerSite > 0 && t.changing[a.Site] >= r.PerSite, !open(r.Windows, a.Labels, now):
			continue
		}
		t.changing[a.Site]++
		out = append(out, a.Name)
	}
	return out
}

// holdup says in words what a wave waits for.
func (t *tally) holdup() string {
	switch {
	case t.hostWaits != nil:
		return fmt.Sprintf("%s, which runs its steps for others, does not have them yet", t.hostWaits.Name)
	case t.firstWaits != nil && t.firstWaits.Status != nil:
		return fmt.Sprintf("%d agents are not as far; %s is %s, for %d s", t.fates[waiting], t.firstWaits.Name,
			t.firstWaits.Status.Phase, t.firstWaits.Status.Trial.RunningS)
	case t.firstWaits != nil:
		return fmt.Sprintf("%d agents are not as far; %s does not run it yet", t.fates[waiting], t.firstWaits.Name)
	case t.fates[away] > 0:
		return fmt.Sprintf("%d agents that were given it are away", t.fates[away])
	case len(t.candidates) == 0:
		return "no agent of the wave was heard of lately"
	default:
		return fmt.Sprintf("%d agents wait for their window or for others of their site", len(t.candidates))
	}
}
