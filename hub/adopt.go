package hub

import (
	"log/slog"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// revisionMax bounds what an agent is believed to hold.
const revisionMax = fleet.RevisionMax

// ahead says why an agent is left as it is: the books are older than what it holds.
func ahead(a *fleet.Agent) *protocol.Error {
	return protocol.Errorf(protocol.CodeStale, "agent %s holds revision %d, which these books do not know "+
		"(theirs is %d): they are older than the fleet. Nothing changes on it until \"stavily agent adopt %s\"",
		a.Address, a.Reported.Revision, a.Desired.Revision, a.Address.Agent)
}

// Adopt makes this hub's word hold again for agents that are ahead of its books: each gets a
// revision above its own. No names means all that are ahead now. All of it happens, or
// nothing; the error has CodeRefused for an agent that is not ahead.
func (h *Hub) Adopt(now time.Time, names []protocol.AgentName) (changes []api.AgentChange, err error) {
	err = h.Operate(func(tx *store.Tx) error {
		agents, err := fleet.List(tx)
		if err != nil {
			return err
		}
		chosen, err := choose(agents, names)
		if err != nil {
			return err
		}
		for i := range chosen {
			h.log.Info("agent adopted", slog.String("agent", chosen[i].Address.String()),
				slog.Uint64("held", chosen[i].Reported.Revision))
			// The document that it holds is unknown here, so that any is another one.
			chosen[i].Desired = fleet.Desired{Revision: chosen[i].Reported.Revision, Digest: chosen[i].Reported.Digest}
		}
		changes, err = h.plan(tx, now, chosen, "")
		return err
	})
	return changes, err
}

// choose returns the agents of those names that are ahead, or all that are.
func choose(agents []fleet.Agent, names []protocol.AgentName) (out []fleet.Agent, err error) {
	if len(names) == 0 {
		for i := range agents {
			if agents[i].Ahead() {
				out = append(out, agents[i])
			}
		}
		return out, nil
	}
	known := map[protocol.AgentName]*fleet.Agent{}
	for i := range agents {
		known[agents[i].Address.Agent] = &agents[i]
	}
	for _, name := range names {
		a := known[name]
		if a == nil {
			return nil, protocol.Errorf(protocol.CodeNotFound, "agent %q: not found", name)
		}
		if !a.Ahead() {
			return nil, protocol.Errorf(protocol.CodeRefused, "agent %q: holds nothing that the books do not know",
				name)
		}
		out = append(out, *a)
	}
	return out, nil
}
