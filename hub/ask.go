package hub

import (
	"time"

	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/rollout"
	"github.com/stavily/stavily/protocol"
)

// A wave waits for agents that have run the change for its soak by their own clock. They say so
// with their next heartbeat, up to minutes later: so the hub asks those whose soak should be
// over, by a hint of what they hold. Who does not know that asking says nothing, as before.

const (
	// askMargin is how much later than the soak should be over an agent is asked, and askAgain
	// how long after that once more when it says nothing; it answers every 30 s at most.
	askMargin = 2 * time.Second
	askAgain  = time.Minute
	// askMax bounds those who are asked at one look, each rolloutEvery: a large wave says so over
	// minutes and not all at once.
	askMax = 500
	// soaksMax bounds those of whom it is remembered; beyond it heartbeats have to do.
	soaksMax = 50_000
)

// soaks is an agent that a rollout waits for.
type soaks struct {
	rollout string // its ID
	agent   protocol.AgentName
}

// asking is when it is asked, by what it said last.
type asking struct {
	at   time.Time
	left time.Duration // of its soak
}

// ask asks the agents of a wave whose soak is over for their word.
func (h *Hub) ask(now time.Time, id string, soaking []rollout.Soak, agents []fleet.Agent) {
	if len(soaking) == 0 {
		return
	}
	known := make(map[protocol.AgentName]*fleet.Agent, len(agents))
	for i := range agents {
		known[agents[i].Address.Agent] = &agents[i]
	}
	asked := 0
	for _, s := range soaking {
		of := soaks{id, s.Name}
		next, waits := h.soaks[of]
		switch {
		case !waits && len(h.soaks) >= soaksMax:
		case !waits || next.left != s.Left: // it has said so just now
			h.soaks[of] = asking{now.Add(s.Left + askMargin), s.Left}
		case !now.Before(next.at) && asked < askMax && known[s.Name].Presence.Online:
			asked++
			h.soaks[of] = asking{now.Add(askAgain), s.Left}
			h.hint(now, known[s.Name])
		}
	}
}
