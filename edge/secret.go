package edge

import (
	"log/slog"
	"slices"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// keySecrets is where the newest set of secrets stands, sealed as it came.
const keySecrets = "secrets"

// Vault opens and keeps an agent's secrets in memory, for its plugins. Agent calls it from
// its one loop; Vault's implementation answers plugins from others.
type Vault interface {
	// Claim returns the device's key with the proof that it is the device's: Key, Identity
	// and Proof of a SecretsWish.
	Claim(a protocol.Address, epoch uint64) (protocol.SecretsWish, error)
	// Open decrypts a set whose seal was checked. Errors: CodeBadSeal for another key.
	Open(set *protocol.SecretSet) (protocol.SecretList, error)
	// Use makes list what plugins get from now on.
	Use(list protocol.SecretList)
}

// HeldSecrets says which set of secrets an agent holds.
type HeldSecrets struct {
	Wanted   bool            `json:"wanted"` // a step may use one
	Digest   protocol.Digest `json:"digest"` // of the sealed set, zero for none
	Revision uint64          `json:"revision"`
}

// secrets is what an agent knows of its set.
type secrets struct {
	HeldSecrets
	owed  bool      // the hub is to be asked
	at    time.Time // not before
	tries int
}

func (s *secrets) due() time.Time {
	if !s.owed {
		return time.Time{}
	}
	return s.at
}

// ask has the hub asked at once.
func (s *secrets) ask() { s.owed, s.at, s.tries = s.Wanted, time.Time{}, 0 }

// wantSecrets notes whether a step of the works may use a secret, after this device's
// policy. An agent whose steps use none never speaks of them.
func (a *Agent) wantSecrets() {
	may := func(l Load) bool {
		_, granted := wasmhost.Grants(l.Step.Grants).Scopes(protocol.CapSecret)
		return granted
	}
	ofWork := func(w *work) bool { return slices.ContainsFunc(w.loads, may) }
	ofHost := func(h *hosting) bool { return may(h.load) }
	ofEnding := func(e *ending) bool { return ofWork(e.work) }
	wanted := a.vault != nil && (slices.ContainsFunc(a.works, ofWork) ||
		slices.ContainsFunc(a.endings, ofEnding) || slices.ContainsFunc(a.hosts, ofHost))
	if wanted != a.secrets.Wanted {
		a.secrets.Wanted = wanted
		a.secrets.ask()
	}
}

// readSecrets gives the plugins the set that is on the disk.
func (a *Agent) readSecrets() {
	if a.vault == nil {
		return
	}
	sealed, err := a.store.Get(keySecrets)
	if err == nil && sealed != nil {
		err = a.openSecrets(slices.Clone(sealed), func(list protocol.SecretList) { a.vault.Use(list) })
	}
	if err != nil {
		a.log.Error("secrets not readable: asked for again", slog.String("error", err.Error()))
	}
}

// sayWish asks the hub for this agent's secrets until it has answered.
func (a *Agent) sayWish() {
	s := &a.secrets
	if !s.owed || a.now.Before(s.at) {
		return
	}
	wish, err := a.claim()
	if err != nil {
		a.log.Error("no key for secrets", slog.String("error", err.Error()))
		s.owed = false
		return
	}
	a.send(protocol.UpSecrets, protocol.MustMarshal(wish))
	s.at = a.now.Add(doubled(a.cfg.AckWait, s.tries, max(a.cfg.AckWait, a.cfg.PauseMax)))
	s.tries++
}

// claim returns the wish of this agent, with the proof that its key is this device's.
func (a *Agent) claim() (protocol.SecretsWish, error) {
	return a.secrets.claim(a.vault, a.cfg.Address, a.cfg.Epoch)
}

func (s *HeldSecrets) claim(v Vault, at protocol.Address, epoch uint64) (protocol.SecretsWish, error) {
	wish, err := v.Claim(at, epoch)
	wish.Epoch, wish.Held, wish.Revision = epoch, s.Digest, s.Revision
	return wish, err
}

// secretsCame takes the hub's answer, or what it sent by itself.
func (a *Agent) secretsCame(payload []byte) error {
	var in protocol.SecretsReply
	if err := protocol.Unmarshal(payload, &in); err != nil {
		return err
	}
	if a.vault == nil || in.Epoch != a.cfg.Epoch {
		return nil
	}
	digest := protocol.DigestOf(in.Sealed)
	if len(in.Sealed) == 0 || digest == a.secrets.Digest {
		a.secrets.owed = false
		return nil
	}
	err := a.openSecrets(in.Sealed, func(list protocol.SecretList) {
		a.after(func() { a.vault.Use(list) })
	})
	if err != nil {
		if protocol.CodeOf(err) == protocol.CodeStale && !a.secrets.owed {
			a.secrets.ask() // the hub learns what is held, and goes above it
		}
		return err
	}
	a.change(Change{Key: keySecrets, Value: in.Sealed})
	a.secrets.owed = false
	a.report.touch(a.now)
	a.log.Info("secrets changed", slog.Uint64("revision", a.secrets.Revision))
	return nil
}

// openSecrets checks and decrypts a sealed set, hands out what is in it, and makes it the
// one held. An older one is CodeStale, another agent's CodeNotMine.
func (a *Agent) openSecrets(sealed []byte, use func(protocol.SecretList)) error {
	payload, err := protocol.Open(protocol.ContextSecrets, a.cfg.Keyring, sealed)
	if err != nil {
		return err
	}
	var set protocol.SecretSet
	if err := protocol.UnmarshalExact(payload, &set); err != nil {
		return err
	}
	switch {
	case set.Address != a.cfg.Address || set.Epoch != a.cfg.Epoch:
		return protocol.Errorf(protocol.CodeNotMine, "secrets for %s, enrolment %d", set.Address, set.Epoch)
	case set.Revision <= a.secrets.Revision:
		return protocol.Errorf(protocol.CodeStale, "secrets: revision %d, held is %d", set.Revision,
			a.secrets.Revision)
	}
	list, err := a.vault.Open(&set)
	if err != nil {
		return err
	}
	a.secrets.Digest, a.secrets.Revision = protocol.DigestOf(sealed), set.Revision
	use(list)
	return nil
}
