package hub

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// carries is what the hub knows of gateways beside its books. It is for one run of the hub:
// whoever is carried says anew that it is online, as everybody does.
type carries struct {
	// by is the gateway by which an agent said last that it is online; none for its own line.
	by map[protocol.Address]protocol.AgentName
	// gateways are those that were asked for, and whether the books have them as such.
	gateways map[protocol.Address]bool
}

func newCarries() carries {
	return carries{by: map[protocol.Address]protocol.AgentName{}, gateways: map[protocol.Address]bool{}}
}

func (c *carries) forget(a protocol.Address) {
	delete(c.by, a)
	delete(c.gateways, a)
}

// way returns m as it goes to the agent it is for: by itself, or by the agent's gateway. A
// retained message is for the agent's own line too, but the broker keeps only one of them: the
// agent gets it when it says that it is online there.
func (c *carries) way(to protocol.Address, m protocol.Message) protocol.Message {
	if len(c.by) == 0 {
		return m
	}
	by, carried := c.by[to]
	if !carried {
		return m
	}
	_, kind, err := protocol.ParseTopic(m.Topic)
	if err != nil || !protocol.MayCarry(kind) {
		return m
	}
	return protocol.Message{
		Topic:   protocol.Topic(protocol.Address{Site: to.Site, Agent: by}, protocol.DownCarried),
		Payload: protocol.MustMarshal(protocol.Carried{Agent: to.Agent, Kind: kind, Payload: m.Payload}),
	}
}

// carried takes what an agent says by a gateway of its site.
func (h *Hub) carried(now time.Time, gateway protocol.Address, c protocol.Carried) error {
	if err := c.Check(true); err != nil {
		return err
	}
	from := protocol.Address{Site: gateway.Site, Agent: c.Agent}
	if err := h.mayCarry(gateway, from); err != nil {
		return err
	}
	if _, told := h.carries.by[from]; !told && c.Kind != protocol.UpPresence {
		h.carries.by[from] = gateway.Agent // this hub has started since it said that it is online
	}
	if c.Kind != protocol.UpPresence {
		return h.handle(now, from, c.Kind, c.Payload)
	}
	return decoded(c.Payload, func(p protocol.Presence) error {
		return h.presence(from, fleet.Said{Presence: p, Via: gateway.Agent, At: now})
	})
}

// mayCarry says whether the books have the one as a gateway and the other as an agent of its
// site. The error has CodeRefused or CodeNotFound.
func (h *Hub) mayCarry(gateway, from protocol.Address) error {
	may, asked := h.carries.gateways[gateway]
	if !asked {
		err := h.write(func(tx *store.Tx) (err error) {
			may, err = fleet.IsGateway(tx, gateway)
			return err
		})
		if err != nil {
			return err
		}
		h.carries.gateways[gateway] = may
	}
	if !may || gateway == from {
		return protocol.Errorf(protocol.CodeRefused, "carried for %s: agent %s is no gateway for it: see "+
			"stavily agent gateway", from, gateway)
	}
	_, err := h.epochAt(from)
	return err
}

// goesBy notes by whom an agent is connected from now on. A gateway that goes takes along all
// that are connected by it.
func (h *Hub) goesBy(tx *store.Tx, from protocol.Address, p fleet.Said) error {
	switch {
	case p.Online && p.Via != "":
		h.carries.by[from] = p.Via
	case p.Online:
		delete(h.carries.by, from)
	case p.Via == "":
		for a, by := range h.carries.by { // each alone: order does not matter
			if by == from.Agent && a.Site == from.Site {
				delete(h.carries.by, a)
			}
		}
		return fleet.OfflineBy(tx, from, p.At)
	}
	return nil
}

// SetGateway makes an agent a gateway of its site, or takes that from it: what it carries is
// passed over from then on. Its certificate says so from its next renewal on.
func (h *Hub) SetGateway(now time.Time, name protocol.AgentName, on bool) (out fleet.Agent, err error) {
	err = h.Operate(func(tx *store.Tx) error {
		if err := fleet.SetGateway(tx, name, on); err != nil {
			return err
		}
		if out, err = fleet.Get(tx, name); err != nil {
			return err
		}
		delete(h.carries.gateways, out.Address)
		if err := h.replanOne(tx, now, name); err != nil { // whom it is to turn away
			return err
		}
		if on {
			return nil
		}
		return h.goesBy(tx, out.Address, fleet.Said{At: now})
	})
	if err == nil {
		h.log.Info("gateway", slog.String("agent", out.Address.String()), slog.Bool("on", on))
	}
	return out, err
}

func (s *server) setGateway(r *http.Request) (out any, err error) {
	in, err := body[api.Gateway](r)
	if err != nil {
		return nil, err
	}
	err = s.ask(r.Context(), func(now time.Time) (err error) {
		out, err = s.hub.SetGateway(now, protocol.AgentName(r.PathValue("x")), in.On)
		return err
	})
	return out, err
}
