// Package secret keeps what operators hand to plugins by name: each value encrypted in the
// books under a key of the hub's home, with the part of the fleet that it is for. Values
// go in and are sealed to devices; nothing gives one back to a person.
package secret

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// KeySize is the size of the hub's key for secrets in bytes.
const KeySize = 32

const (
	book = "secret"
	// countMax bounds the values that a hub keeps, over all names and targets.
	countMax = 4096
)

// Target is the part of the fleet that a value is for. At most one field is set; none
// means every agent.
type Target struct {
	Agent protocol.AgentName `json:"agent,omitempty"`
	Site  protocol.Site      `json:"site,omitempty"`
	Label string             `json:"label,omitempty"` // key=value
}

// Info is what may be said of a secret.
type Info struct {
	Name   protocol.SecretName `json:"name"`
	Target Target              `json:"target"`
	// Digest tells two values apart and nothing else of them: it is keyed by the hub's own
	// key, so that a guess cannot be tried against it.
	Digest  string    `json:"digest"`
	Changed time.Time `json:"changed"`
}

// Safe encrypts and decrypts what the books hold.
type Safe struct {
	aead  cipher.AEAD
	names []byte // keys the digests
}

// entry is one value in the books.
type entry struct {
	Name    protocol.SecretName `cbor:"1,keyasint"`
	Agent   protocol.AgentName  `cbor:"2,keyasint,omitempty"`
	Site    protocol.Site       `cbor:"3,keyasint,omitempty"`
	Label   string              `cbor:"4,keyasint,omitempty"`
	Box     []byte              `cbor:"5,keyasint"`
	Digest  []byte              `cbor:"6,keyasint"`
	Changed int64               `cbor:"7,keyasint"` // ms since 1970
}

// NewSafe returns a safe with a key of KeySize bytes. The error has CodeBadInput.
func NewSafe(key []byte) (*Safe, error) {
	if len(key) != KeySize {
		return nil, protocol.Errorf(protocol.CodeBadInput, "secrets: key of %d bytes, want %d", len(key), KeySize)
	}
	block, err := aes.NewCipher(derived(key, "values"))
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeInternal, "secrets: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeInternal, "secrets: %w", err)
	}
	return &Safe{aead: aead, names: derived(key, "digests")}, nil
}

// derived makes a key for one use.
func derived(key []byte, use string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("stavily secrets: " + use))
	return mac.Sum(nil)
}

// Set keeps a value in place of the one of the same name and target. Errors: CodeBadName,
// CodeBadInput for a target that says two things or a bad one, CodeLimit.
func (s *Safe) Set(tx *store.Tx, one protocol.Secret, to Target, now time.Time) (Info, error) {
	e := entry{
		Name: one.Name, Agent: to.Agent, Site: to.Site, Label: to.Label, Changed: store.Millis(now),
		Digest: s.digest(one.Value),
	}
	if err := one.Check(); err != nil {
		return Info{}, err
	}
	if err := to.Check(); err != nil {
		return Info{}, err
	}
	all, err := tx.Entries(book)
	if err != nil {
		return Info{}, err
	}
	if len(all) >= countMax {
		return Info{}, protocol.Errorf(protocol.CodeLimit, "secrets: %d kept, limit %d", len(all), countMax)
	}
	e.Box = s.aead.Seal(nil, nil, one.Value, []byte(e.key())) //nolint:gosec // G407: it draws its own nonce
	return e.info(), tx.PutEntry(store.Entry{Book: book, Key: e.key(), Value: protocol.MustMarshal(e)})
}

// Remove forgets the value of a name for a target; CodeNotFound when there is none.
func (s *Safe) Remove(tx *store.Tx, name protocol.SecretName, to Target) error {
	e := entry{Name: name, Agent: to.Agent, Site: to.Site, Label: to.Label}
	err := tx.DropEntry(book, e.key())
	if protocol.CodeOf(err) == protocol.CodeNotFound {
		return protocol.Errorf(protocol.CodeNotFound, "secret %q for %s: not found", name, to)
	}
	return err
}

// List returns what may be said of all secrets, by name and target.
func (s *Safe) List(tx *store.Tx) ([]Info, error) {
	all, err := entries(tx)
	out := make([]Info, 0, len(all))
	for i := range all {
		out = append(out, all[i].info())
	}
	return out, err
}

// For returns the secrets of an agent, by name. Of several values of one name the most
// closely aimed holds: the agent's, or else a label's, the site's, everybody's; of two
// labels the first in the order of the alphabet. The error has CodeStorage when the books
// do not belong to this safe's key.
func (s *Safe) For(tx *store.Tx, a *fleet.Agent) (protocol.SecretList, error) {
	var list protocol.SecretList
	all, err := entries(tx)
	if err != nil {
		return list, err
	}
	best := map[protocol.SecretName]*entry{}
	for i := range all {
		e := &all[i]
		if was := best[e.Name]; e.fits(a) && (was == nil || e.rank() > was.rank()) {
			best[e.Name] = e
		}
	}
	for i := range all {
		e := &all[i]
		if best[e.Name] != e {
			continue
		}
		value, err := s.aead.Open(nil, nil, e.Box, []byte(e.key()))
		if err != nil {
			return list, protocol.Errorf(protocol.CodeStorage, "secret %q: does not open with the key in this hub's "+
				"home: put keys/secrets.key back, or set the secret again", e.Name)
		}
		list.Secrets = append(list.Secrets, protocol.Secret{Name: e.Name, Value: value})
	}
	return list, nil
}

// Content names what an agent is to hold, so that it is sealed again only when something
// changed.
func (s *Safe) Content(list protocol.SecretList, more ...[]byte) protocol.Digest {
	mac := hmac.New(sha256.New, s.names)
	mac.Write(protocol.MustMarshal(more))
	mac.Write(protocol.MustMarshal(list))
	return protocol.Digest(mac.Sum(nil))
}

func (s *Safe) digest(value []byte) []byte {
	mac := hmac.New(sha256.New, s.names)
	mac.Write(value)
	return mac.Sum(nil)
}

func entries(tx *store.Tx) ([]entry, error) {
	stored, err := tx.Entries(book)
	all := make([]entry, len(stored))
	for i := 0; err == nil && i < len(stored); i++ {
		err = protocol.UnmarshalExact(stored[i].Value, &all[i])
	}
	slices.SortStableFunc(all, func(a, b entry) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return all, err
}

// key is where the entry stands, and what its box is bound to.
func (e *entry) key() string { return string(e.Name) + " " + e.target().String() }

func (e *entry) info() Info {
	return Info{
		Name: e.Name, Target: e.target(), Digest: hex.EncodeToString(e.Digest[:6]), Changed: store.Time(e.Changed),
	}
}

func (e *entry) target() Target { return Target{Agent: e.Agent, Site: e.Site, Label: e.Label} }

// fits reports whether the entry is for an agent.
func (e *entry) fits(a *fleet.Agent) bool { return e.target().fits(a) }

func (t Target) fits(a *fleet.Agent) bool {
	switch {
	case t.Agent != "":
		return t.Agent == a.Address.Agent
	case t.Label != "":
		key, value, _ := strings.Cut(t.Label, "=")
		got, has := a.Label(key)
		return has && got == value
	case t.Site != "":
		return t.Site == a.Address.Site
	}
	return true
}

// Rank says how closely the target is aimed at an agent: everybody 0, its site 1, a label of
// it 2, itself 3; -1 when it is not meant.
func (t Target) Rank(a *fleet.Agent) int {
	if !t.fits(a) {
		return -1
	}
	return t.closeness()
}

func (t Target) closeness() int {
	return slices.Index([]bool{t.Site != "", t.Label != "", t.Agent != ""}, true) + 1
}

// rank says how closely the entry is aimed.
func (e *entry) rank() int { return e.target().closeness() }

// Check returns an error with CodeBadInput for a target that says two things, or a bad one.
func (t Target) Check() error {
	said := 0
	for _, part := range []string{string(t.Agent), string(t.Site), t.Label} {
		if part != "" {
			said++
		}
	}
	if said > 1 {
		return protocol.Errorf(protocol.CodeBadInput, "target %s: want one of agent, site and label", t)
	}
	key, _, pair := strings.Cut(t.Label, "=")
	switch {
	case t.Agent != "":
		return t.Agent.Check()
	case t.Site != "":
		return t.Site.Check()
	case t.Label != "" && (!pair || key == "" || len(t.Label) > 256):
		return protocol.Errorf(protocol.CodeBadInput, "target label %q: want key=value", t.Label)
	}
	return nil
}

// String returns the target as people read it.
func (t Target) String() string {
	var out bytes.Buffer
	parts := [][2]string{{"agent ", string(t.Agent)}, {"site ", string(t.Site)}, {"label ", t.Label}}
	for _, part := range parts {
		if part[1] != "" {
			out.WriteString(part[0] + part[1])
		}
	}
	if out.Len() == 0 {
		return "every agent"
	}
	return out.String()
}
