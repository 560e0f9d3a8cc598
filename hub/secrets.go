package hub

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/secret"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// bookSealed holds, by agent, the set of secrets that was sealed for it last.
const bookSealed = "secret-sealed"

// sealedSet is what the hub knows of an agent's secrets. There is none before the agent
// has shown its key.
type sealedSet struct {
	Epoch    uint64          `cbor:"1,keyasint"`
	Key      []byte          `cbor:"2,keyasint"` // the device's
	Revision uint64          `cbor:"3,keyasint"`
	Content  protocol.Digest `cbor:"4,keyasint"` // secret.Safe.Content of what is sealed
	Sealed   []byte          `cbor:"5,keyasint"` // empty while there is nothing for the agent
}

func (s *sealedSet) digest() protocol.Digest {
	if len(s.Sealed) == 0 {
		return protocol.Digest{}
	}
	return protocol.DigestOf(s.Sealed)
}

// openSafe opens the safe with the key in dir, or makes the key of a new hub.
func openSafe(dir string) (*secret.Safe, error) {
	path := filepath.Join(dir, "secrets.key")
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key = make([]byte, secret.KeySize)
		if _, err = rand.Read(key); err == nil {
			err = writeSecret(path, key)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	safe, err := secret.NewSafe(key)
	if err != nil {
		return nil, fmt.Errorf("keys: %s: %w", path, err)
	}
	return safe, nil
}

// SetSecret keeps a secret and sends it to the agents that it is for. The error has
// CodeLimit when an agent would have more than it can hold; then nothing changed.
func (h *Hub) SetSecret(now time.Time, one protocol.Secret, to secret.Target) (out api.SecretSet, err error) {
	err = h.Operate(func(tx *store.Tx) (err error) {
		if out.Info, err = h.keys.Safe.Set(tx, one, to, now); err == nil {
			out.Agents, err = h.resealAll(tx)
		}
		return err
	})
	return out, err
}

// RemoveSecret forgets a secret and takes it away from the agents.
func (h *Hub) RemoveSecret(name protocol.SecretName, to secret.Target) (out api.SecretSet, err error) {
	out.Name, out.Target = name, to
	err = h.Operate(func(tx *store.Tx) (err error) {
		if err = h.keys.Safe.Remove(tx, name, to); err == nil {
			out.Agents, err = h.resealAll(tx)
		}
		return err
	})
	return out, err
}

// resealAll seals anew what changed and sends it. It returns the agents that get something
// new.
func (h *Hub) resealAll(tx *store.Tx) (names []protocol.AgentName, err error) {
	all, err := fleet.List(tx)
	for i := 0; err == nil && i < len(all); i++ {
		var news bool
		if news, err = h.reseal(tx, &all[i]); news {
			names = append(names, all[i].Address.Agent)
		}
	}
	return names, err
}

// reseal seals an agent's secrets anew if they changed, and sends them. An agent that has
// not shown its key gets them when it asks.
func (h *Hub) reseal(tx *store.Tx, a *fleet.Agent) (news bool, err error) {
	set, err := sealedOf(tx, a)
	if err != nil || set.Key == nil {
		return false, err
	}
	if news, err = h.sealSecrets(tx, a, &set); news && err == nil {
		h.send(a.Address, protocol.DownSecrets, protocol.SecretsReply{Epoch: a.Epoch, Sealed: set.Sealed})
	}
	return news, err
}

// resealed is reseal where a failure is no fault of what the agent said.
func (h *Hub) resealed(tx *store.Tx, a *fleet.Agent) {
	if _, err := h.reseal(tx, a); err != nil {
		h.log.Error("secrets not sealed", slog.String("agent", a.Address.String()),
			slog.String("error", err.Error()))
	}
}

// sealedOf reads what was sealed for an agent in its enrolment of now.
func sealedOf(tx *store.Tx, a *fleet.Agent) (set sealedSet, err error) {
	b, err := tx.Entry(bookSealed, string(a.Address.Agent))
	if protocol.CodeOf(err) == protocol.CodeNotFound {
		return sealedSet{Epoch: a.Epoch}, nil
	}
	if err == nil {
		err = protocol.UnmarshalExact(b, &set)
	}
	if set.Epoch != a.Epoch {
		set = sealedSet{Epoch: a.Epoch}
	}
	return set, err
}

// sealSecrets makes set what the agent is to hold, one revision up, if that is something
// else than before. A set of none is sealed too: it takes the last secret away.
func (h *Hub) sealSecrets(tx *store.Tx, a *fleet.Agent, set *sealedSet) (news bool, err error) {
	list, err := h.keys.Safe.For(tx, a)
	if err != nil {
		return false, err
	}
	signer := h.keys.Desired.Public().ID()
	content := h.keys.Safe.Content(list, set.Key, signer[:], []byte(a.Address.String()))
	if content == set.Content || len(list.Secrets) == 0 && set.Revision == 0 {
		return false, nil
	}
	out := protocol.SecretSet{Address: a.Address, Epoch: a.Epoch, Revision: set.Revision + 1, Key: set.Key}
	if err := out.BoxSecrets(list); err != nil {
		return false, err
	}
	sealed, err := protocol.Seal(protocol.ContextSecrets, h.keys.Desired, protocol.MustMarshal(out))
	if err != nil {
		return false, err
	}
	set.Revision, set.Content, set.Sealed = out.Revision, content, sealed
	return true, tx.PutEntry(store.Entry{
		Book: bookSealed, Key: string(a.Address.Agent), Value: protocol.MustMarshal(set),
	})
}

// wish answers an agent that asks for its secrets. The key that it shows must be signed by
// the key that it is enrolled with, so that no one on the way can put in another.
func (h *Hub) wish(from protocol.Address, w protocol.SecretsWish) error {
	return h.write(func(tx *store.Tx) error {
		agent, err := known(tx, from)
		if err != nil {
			return err
		}
		if w.Epoch != agent.Epoch {
			return protocol.Errorf(protocol.CodeStale, "secrets of %s: enrolment %d, the agent of that name is "+
				"enrolment %d", from, w.Epoch, agent.Epoch)
		}
		identity := sha256.Sum256(w.Identity)
		if hex.EncodeToString(identity[:]) != agent.Identity.KeyFingerprint {
			return protocol.Errorf(protocol.CodeRefused, "secrets of %s: key not taken: shown by another device", from)
		}
		if err := w.CheckProof(from); err != nil {
			return err
		}
		return h.grantWish(tx, &agent, w)
	})
}

// grantWish seals for the key that the agent showed, above what it holds.
func (h *Hub) grantWish(tx *store.Tx, agent *fleet.Agent, w protocol.SecretsWish) error {
	set, err := sealedOf(tx, agent)
	if err != nil {
		return err
	}
	fresh := !bytes.Equal(set.Key, w.Key)
	lost := w.Revision > set.Revision || w.Revision == set.Revision && w.Held != set.digest()
	if fresh || lost && w.Revision < revisionMax {
		// The books were put back, or the device has a new key: go above both.
		set.Key, set.Content = w.Key, protocol.Digest{}
		set.Revision = max(set.Revision, min(w.Revision, revisionMax))
		set.Sealed = nil
		if err := tx.PutEntry(store.Entry{
			Book: bookSealed, Key: string(agent.Address.Agent), Value: protocol.MustMarshal(set),
		}); err != nil {
			return err
		}
	}
	if _, err := h.sealSecrets(tx, agent, &set); err != nil {
		return err
	}
	reply := protocol.SecretsReply{Epoch: agent.Epoch}
	if set.digest() != w.Held {
		reply.Sealed = set.Sealed
	}
	h.send(agent.Address, protocol.DownSecrets, reply)
	return nil
}

// holdsSecrets compares what an agent says it holds with what it is to hold, and sends
// that again when it is another: whole sets are compared, never differences.
func (h *Hub) holdsSecrets(tx *store.Tx, a *fleet.Agent, held protocol.Digest) error {
	set, err := sealedOf(tx, a)
	if err == nil && len(set.Sealed) > 0 && set.digest() != held {
		h.send(a.Address, protocol.DownSecrets, protocol.SecretsReply{Epoch: a.Epoch, Sealed: set.Sealed})
	}
	return err
}

// forgetSecrets drops what was sealed for an agent that is removed.
func forgetSecrets(tx *store.Tx, name protocol.AgentName) error {
	err := tx.DropEntry(bookSealed, string(name))
	if protocol.CodeOf(err) == protocol.CodeNotFound {
		return nil
	}
	return err
}

// saidSecrets looks at the secrets that an agent reports. A failure is no fault of the
// report, which is kept all the same.
func (h *Hub) saidSecrets(tx *store.Tx, before, now *fleet.Agent, held protocol.Digest) {
	if !sameDevice(before, now) {
		h.resealed(tx, now) // its labels may say which secrets it gets
	}
	if err := h.holdsSecrets(tx, now, held); err != nil {
		h.log.Error("secrets not compared", slog.String("agent", now.Address.String()),
			slog.String("error", err.Error()))
	}
}
