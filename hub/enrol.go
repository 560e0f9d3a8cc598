package hub

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/runs"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// NewToken makes a join token. The hub keeps the digest of its secret; the token itself
// is shown once.
func (h *Hub) NewToken(now time.Time, wish api.NewToken) (t protocol.JoinToken, err error) {
	err = h.Operate(func(tx *store.Tx) error {
		t, err = fleet.NewToken(tx, fleet.TokenSpec{
			Site: wish.Site, Agent: wish.Agent, Count: wish.Count, TTL: wish.TTL, Gateway: wish.Gateway,
		}, rand.Reader, now)
		t.CA = h.ca.Digest()
		return err
	})
	return t, err
}

// Join decides on a request to join or to renew. old is the client certificate that
// the request came with, nil for none. A refusal changes nothing and spends no token.
func (h *Hub) Join(now time.Time, req protocol.JoinRequest,
	old *x509.Certificate,
) (reply protocol.JoinReply) {
	err := h.Operate(func(tx *store.Tx) (err error) {
		if req.Renew {
			reply, err = h.renew(tx, now, req, old)
		} else {
			reply, err = h.enrol(tx, now, req)
		}
		return err
	})
	if err != nil {
		return protocol.JoinReply{Error: protocol.AsError(err), Time: now.UnixMilli()}
	}
	reply.CA, reply.Root, reply.Keyring = h.ca.Certificate.Raw, h.keys.Root.Key, h.keys.Sealed
	reply.Time = now.UnixMilli()
	return reply
}

// enrol spends a token on a new agent and plans for it.
func (h *Hub) enrol(tx *store.Tx, now time.Time, req protocol.JoinRequest) (protocol.JoinReply, error) {
	none := protocol.JoinReply{}
	token, err := fleet.UseToken(tx, req.TokenID, req.Secret, now)
	if err != nil {
		return none, err
	}
	a, err := addressFor(token, req.Address)
	if err != nil {
		return none, err
	}
	cert, err := h.ca.issue(req.CSR, a, now, token.Gateway)
	if err != nil {
		return none, err
	}
	back, err := fleet.IsGone(tx, a, fingerprint(cert))
	if err != nil {
		return none, err
	}
	epoch, err := fleet.Enrol(tx, fleet.Enrolment{
		Address: a, Device: req.Device, Identity: identityOf(cert),
		Time: now, Gateway: token.Gateway,
	})
	if err != nil {
		return none, err
	}
	if back {
		if err := h.replanGateways(tx, now, a.Site); err != nil {
			return none, err
		}
	}
	if err := h.replanOne(tx, now, a.Agent); err != nil {
		return none, err
	}
	return protocol.JoinReply{Address: a, Epoch: epoch, Certificate: cert.Raw}, nil
}

// addressFor returns where the agent that asks is to live, if the token says so too.
func addressFor(token fleet.Token, asked protocol.Address) (protocol.Address, error) {
	a := protocol.Address{Site: token.Site, Agent: asked.Agent}
	switch {
	case asked.Site != "" && asked.Site != token.Site:
		return a, protocol.Errorf(protocol.CodeRefused, "join: the token is for site %s, the agent says site %s",
			token.Site, asked.Site)
	case a.Agent == "":
		a.Agent = token.Agent
	case token.Agent != "" && token.Agent != a.Agent:
		return a, protocol.Errorf(protocol.CodeRefused, "join: the token is for agent %s, this one says it is %s",
			token.Agent, a.Agent)
	}
	return a, a.Check()
}

// renew gives the agent that an old certificate names a new one, if it is still one of
// the fleet.
func (h *Hub) renew(tx *store.Tx, now time.Time, req protocol.JoinRequest,
	old *x509.Certificate,
) (protocol.JoinReply, error) {
	none := protocol.JoinReply{}
	a, err := h.ca.checkRenewal(old, now)
	if err != nil {
		return none, err
	}
	agent, err := fleet.Get(tx, a.Agent)
	if err != nil {
		return none, err
	}
	if agent.Address != a || agent.Revoked {
		return none, protocol.Errorf(protocol.CodeRefused, "renew: agent %s: not enrolled with this hub any more",
			a)
	}
	// Its key never changes: another key's certificate is that of a device that had the
	// name before.
	if fingerprint(old) != agent.Identity.KeyFingerprint {
		return none, protocol.Errorf(protocol.CodeRefused, "renew: agent %s: the certificate is of another "+
			"device; join again with a token", a)
	}
	cert, err := h.ca.issue(req.CSR, a, now, agent.Gateway)
	if err != nil {
		return none, err
	}
	return protocol.JoinReply{Address: a, Epoch: agent.Epoch, Certificate: cert.Raw},
		fleet.SetIdentity(tx, a.Agent, identityOf(cert))
}

func identityOf(cert *x509.Certificate) fleet.Identity {
	return fleet.Identity{
		KeyFingerprint: fingerprint(cert), Serial: cert.SerialNumber.Text(16), NotAfter: cert.NotAfter,
	}
}

func fingerprint(cert *x509.Certificate) string {
	key := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(key[:])
}

// Label changes an agent's labels and plans again; an empty value removes a label.
func (h *Hub) Label(now time.Time, name protocol.AgentName, labels map[string]string) (out fleet.Agent,
	err error,
) {
	keys := make([]string, 0, len(labels))
	for k := range labels {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	err = h.Operate(func(tx *store.Tx) error {
		for _, k := range keys {
			if err := fleet.SetLabel(tx, name, k, labels[k]); err != nil {
				return err
			}
		}
		if err := h.admitOne(tx, name); err != nil {
			return err
		}
		if err := h.replanOne(tx, now, name); err != nil {
			return err
		}
		if out, err = fleet.Get(tx, name); err == nil {
			h.resealed(tx, &out) // labels say which secrets it gets
		}
		return err
	})
	return out, err
}

// Remove forgets an agent. Its certificate is refused from now on; its name is free.
func (h *Hub) Remove(now time.Time, name protocol.AgentName) (gone fleet.Agent, err error) {
	err = h.Operate(func(tx *store.Tx) error {
		if gone, err = fleet.Get(tx, name); err != nil {
			return err
		}
		h.forget(gone.Address)
		delete(h.epochs, gone.Address)
		h.carries.forget(gone.Address)
		h.intake.Reset() // it remembers the lanes; nothing waits in it while an operator's wish is done
		if err := errors.Join(fleet.Remove(tx, name), runs.Forget(tx, name), forgetSecrets(tx, name),
			forgetRecording(tx, name)); err != nil {
			return err
		}
		return h.replanGateways(tx, now, gone.Address.Site) // and others who may have counted on it
	})
	return gone, err
}

// replanGateways plans for those who turn away agents of a site that are gone, and for whom else
// a change there means something.
func (h *Hub) replanGateways(tx *store.Tx, now time.Time, site protocol.Site) error {
	gateways, err := fleet.Gateways(tx, site)
	if err == nil {
		_, err = h.plan(tx, now, gateways, "")
	}
	return err
}

// forget takes the hint back that the broker keeps for an agent.
func (h *Hub) forget(a protocol.Address) {
	empty := protocol.Message{Topic: protocol.Topic(a, protocol.DownHint), Retained: true}
	h.after = append(h.after, func() {
		if err := h.link.Send(empty); err != nil {
			h.log.Debug("hint stays", slog.String("agent", a.String()), slog.String("error", err.Error()))
		}
	})
}

// Admitted returns who may connect: every agent of the fleet, with the fingerprint of
// the one key that it may connect with. An agent that was removed is not among them,
// however long its certificate still lasts, nor is the device that had a name before.
func (h *Hub) Admitted() (keys map[protocol.Address]string, err error) {
	err = h.Operate(func(tx *store.Tx) error {
		all, err := fleet.List(tx)
		keys = make(map[protocol.Address]string, len(all))
		for i := range all {
			if !all[i].Revoked {
				keys[all[i].Address] = all[i].Identity.KeyFingerprint
			}
		}
		return err
	})
	return keys, err
}
