package hub

import (
	"bytes"
	"log/slog"
	"maps"
	"time"

	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// standingMax bounds the agents whose last report is remembered: 300 bytes each.
const standingMax = 50_000

// standing is what an agent said last when nothing followed from it: it is the device that
// the books know, holds the document that it is to hold, and the secrets. Nothing follows
// either when it says so again, and the books are not asked.
type standing struct {
	epoch   uint64
	mark    protocol.Mark
	device  []byte // encoded
	held    protocol.Digest
	secrets protocol.Digest

	newest fleet.Repeated // that the books do not have
	untold bool
}

// same reports whether r says, later, what the agent said before.
func (s *standing) same(r *protocol.Reported, device []byte) bool {
	return r.Epoch == s.epoch && protocol.Mark{Boot: r.Boot, Sequence: r.Sequence}.After(s.mark) &&
		r.Digest == s.held && r.Secrets == s.secrets && bytes.Equal(device, s.device)
}

// reported takes a report; payload is its bytes.
func (h *Hub) reported(now time.Time, from protocol.Address, payload []byte, r *protocol.Reported) error {
	mark, device := protocol.Mark{Boot: r.Boot, Sequence: r.Sequence}, protocol.MustMarshal(r.Device)
	if s := h.standing[from]; s != nil && s.same(r, device) {
		s.mark = mark
		s.newest = fleet.Repeated{Agent: from.Agent, Mark: mark, Seen: now, Payload: payload}
		if !s.untold {
			s.untold = true
			h.untold = append(h.untold, s)
		}
		return nil
	}
	tx, err := h.told()
	if err != nil {
		return err
	}
	effects := len(h.after)
	delete(h.standing, from)
	before, agent, err := fleet.Report(tx, from, *r, now)
	if err != nil {
		return err
	}
	same := sameDevice(&before, &agent)
	h.saidSecrets(tx, &before, &agent, r.Secrets)
	if same {
		h.compare(now, r, &before, &agent)
	} else {
		h.changed(tx, now, &agent)
	}
	switch {
	case !same:
		clear(h.standing) // there may be a new plan for any of them
	case len(h.after) > effects: // it is told the same again the next time
	case agent.Reported != before.Reported && r.Digest == agent.Desired.Digest && len(h.standing) < standingMax:
		h.standing[from] = &standing{
			epoch: r.Epoch, mark: mark, device: device, held: r.Digest, secrets: r.Secrets,
		}
	}
	return nil
}

// compare holds what the agent says that it holds against what it is to hold. Whole documents
// are compared, never differences: an agent that holds another one is told again, whatever it
// was told before.
func (h *Hub) compare(now time.Time, r *protocol.Reported, before, agent *fleet.Agent) {
	switch {
	case r.Digest == agent.Desired.Digest:
	case agent.Ahead():
		if !before.Ahead() {
			h.log.Warn("books older than the fleet", slog.String("error", ahead(agent).Text))
		}
	default:
		h.hint(now, agent)
	}
}

// sameDevice reports whether nothing changed of what a plan follows from.
func sameDevice(a, b *fleet.Agent) bool {
	of := planned([]fleet.Agent{*a, *b})
	return maps.Equal(of[0].Labels, of[1].Labels) && of[0].SameMachine(&of[1])
}

// changed plans again after an agent said that it is another than before. When that
// goes wrong it is not the fault of the report, which is kept all the same.
func (h *Hub) changed(tx *store.Tx, now time.Time, agent *fleet.Agent) {
	changes, err := h.plan(tx, now, []fleet.Agent{*agent}, "")
	if err != nil {
		h.log.Error("not planned again", slog.String("agent", agent.Address.String()),
			slog.String("error", err.Error()))
	}
	if len(changes) == 0 {
		h.hint(now, agent) // a change was hinted at already
	}
}

// told returns the transaction that the next Flush commits, in which is what agents said.
func (h *Hub) told() (*store.Tx, error) {
	tx, err := h.begin()
	if err != nil {
		return nil, err
	}
	return tx, keepSaid(tx, h.said())
}

// said returns what agents said anew since it was asked last, which goes into the books.
func (h *Hub) said() (all []fleet.Repeated) {
	for _, s := range h.untold {
		all = append(all, s.newest)
		s.newest, s.untold = fleet.Repeated{}, false
	}
	h.untold = h.untold[:0]
	return all
}

func keepSaid(tx *store.Tx, all []fleet.Repeated) error {
	for i := range all {
		if err := fleet.KeepRepeated(tx, &all[i]); err != nil {
			return err
		}
	}
	return nil
}
