package hub

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/runs"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

const (
	// replayWithin is how long an agent has to begin a run again, where the operator does not
	// say, and replayWithinMax the longest that one may say.
	replayWithin    = 24 * time.Hour
	replayWithinMax = 365 * 24 * time.Hour
)

// Replay orders the agent of a dead letter to run again what did not end well of its run, now
// or when it is back, but within that time. The run keeps its ID and its steps' idempotency
// keys. Errors say why it cannot be: CodeNotFound for a workflow or agent that is gone,
// CodeStale for a workflow with other steps.
func (h *Hub) Replay(now time.Time, prefix string, within time.Duration) (out runs.Dead, err error) {
	if within == 0 {
		within = replayWithin
	}
	if within < 0 || within > replayWithinMax {
		return out, protocol.Errorf(protocol.CodeBadInput, "replay: within %v, want up to %v", within,
			replayWithinMax)
	}
	err = h.Operate(func(tx *store.Tx) error {
		if out, err = runs.GetDead(tx, prefix); err != nil {
			return err
		}
		out.State, out.Reason, out.Expires = runs.DeadOrdered, "", now.Add(within)
		out.Order = max(out.Order+1, uint64(now.UnixNano()))
		agent, err := fleet.Get(tx, out.Agent)
		if err != nil {
			return err
		}
		order, err := h.replayOf(tx, &agent, &out)
		if err != nil {
			return err
		}
		if n := len(protocol.MustMarshal(order)); n > protocol.MessageMax {
			return protocol.Errorf(protocol.CodeLimit,
				"replay: event and results are %d bytes, limit MessageMax %d", n,
				protocol.MessageMax)
		}
		if agent.Presence.Online {
			h.send(agent.Address, protocol.DownReplay, order)
		}
		h.replays = nil
		return runs.SetDead(tx, &out)
	})
	return out, err
}

// replayOf makes the order for a dead letter, when its agent still has the workflow.
func (h *Hub) replayOf(tx *store.Tx, agent *fleet.Agent, d *runs.Dead) (o protocol.ReplayOrder, err error) {
	if o, err = d.Replay(tx); err != nil {
		return o, err
	}
	o.Epoch, o.ID, o.Expires = agent.Epoch, d.Order, d.Expires.UnixMilli()
	deployments, err := h.deployments(tx)
	if err != nil {
		return o, err
	}
	for i := range deployments {
		held := deployments[i].For(d.Agent)
		if held == nil || held.Workflow.Name != d.Workflow {
			continue
		}
		steps := held.Workflow.StepsInOrder()[1:]
		var names []protocol.StepName
		same := len(steps) == len(o.Steps)
		for _, s := range steps {
			names = append(names, s.Name)
			same = same && slices.Contains(o.Steps, s.Name)
		}
		if !same {
			return o, protocol.Errorf(protocol.CodeStale, "replay: workflow %q has the steps %q now, the run had %q",
				d.Workflow, names, o.Steps)
		}
		return o, nil
	}
	return o, protocol.Errorf(protocol.CodeNotFound, "replay: workflow %q is not deployed any more on agent %q",
		d.Workflow, d.Agent)
}

// sayReplays tells an agent that came back what it is to run again, and gives up what is too
// late or cannot be any more.
func (h *Hub) sayReplays(tx *store.Tx, now time.Time, agent *fleet.Agent) error {
	if h.replays != nil && !h.replays[agent.Address.Agent] {
		return nil
	}
	if err := h.readReplays(tx); err != nil {
		return err
	}
	all, err := runs.Ordered(tx, agent.Address.Agent)
	for i := 0; err == nil && i < len(all); i++ {
		d := &all[i]
		order, no := h.replayOf(tx, agent, d)
		switch {
		case now.After(d.Expires):
			err = h.endReplay(tx, d, protocol.Errorf(protocol.CodeDeadline,
				"expired: the agent was not there in time"))
		case no != nil:
			err = h.endReplay(tx, d, no)
		default:
			h.send(agent.Address, protocol.DownReplay, order)
		}
	}
	return err
}

// readReplays notes which agents have orders open, so that the others are not looked up
// whenever they connect.
func (h *Hub) readReplays(tx *store.Tx) error {
	all, err := runs.Ordered(tx, "")
	h.replays = map[protocol.AgentName]bool{}
	for i := range all {
		h.replays[all[i].Agent] = true
	}
	return err
}

func (h *Hub) endReplay(tx *store.Tx, d *runs.Dead, no error) error {
	d.State, d.Reason = runs.DeadTaken, ""
	if no != nil {
		d.State, d.Reason = runs.DeadRefused, no.Error()
	}
	return runs.SetDead(tx, d)
}

// replayAnswer takes an agent's word on an order.
func (h *Hub) replayAnswer(from protocol.Address, in protocol.ReplayAnswer) error {
	return h.write(func(tx *store.Tx) error {
		agent, err := known(tx, from)
		if err != nil {
			return err
		}
		if in.Epoch != agent.Epoch {
			return protocol.Errorf(protocol.CodeStale, "replay: answer of enrolment %d, it is %d",
				in.Epoch, agent.Epoch)
		}
		all, err := runs.Ordered(tx, from.Agent)
		for i := range all {
			if all[i].Order != in.ID {
				continue
			}
			if in.Error != nil {
				return h.endReplay(tx, &all[i], in.Error)
			}
			return h.endReplay(tx, &all[i], nil)
		}
		return err // one that was ordered anew meanwhile, or dropped
	})
}

func (s *server) listDeadLetters(r *http.Request) (any, error) {
	q := r.URL.Query()
	limit, err := strconv.Atoi(q.Get("limit"))
	if err != nil || limit < 1 || limit > runsMax {
		limit = 50
	}
	return view(s, r, func(tx *store.Tx) (out api.DeadLetters, err error) {
		out.Letters, err = listed(runs.DeadLetters(tx, runs.Filter{
			Workflow: protocol.WorkflowName(q.Get("workflow")), Agent: protocol.AgentName(q.Get("agent")),
			Limit: limit,
		}))
		out.Lost = runs.DeadGone(tx)
		return out, err
	})
}

func (s *server) showDeadLetter(r *http.Request) (any, error) {
	return view(s, r, func(tx *store.Tx) (out api.DeadLetter, err error) {
		if out.Letter, err = runs.GetDead(tx, r.PathValue("x")); err == nil {
			out.Run, err = runs.Get(tx, out.Letter.Run)
		}
		return out, err
	})
}

func (s *server) replay(r *http.Request) (out any, err error) {
	in, err := body[api.Replay](r)
	if err != nil {
		return nil, err
	}
	err = s.ask(r.Context(), func(now time.Time) (err error) {
		out, err = s.hub.Replay(now, r.PathValue("x"), in.Within)
		return err
	})
	return out, err
}

func (s *server) dropDeadLetter(r *http.Request) (any, error) {
	return struct{}{}, s.operate(r.Context(), func(tx *store.Tx) error {
		d, err := runs.GetDead(tx, r.PathValue("x"))
		if err != nil {
			return err
		}
		return runs.DropDead(tx, &d)
	})
}
