package edge_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// safe is a world whose one step may use secrets.
func safe(t *testing.T) *world {
	w := newWorld(t)
	w.cfg.Policy.Allow = append(w.cfg.Policy.Allow, protocol.Grant{Capability: protocol.CapSecret, Scopes: []string{"door@a.example:443"}})
	w.vault = newVault(t)
	return w
}

func newVault(t *testing.T) *edge.DeviceVault {
	t.Helper()
	key, err := protocol.NewSecretsKey()
	if err != nil {
		t.Fatal(err)
	}
	identity, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return edge.NewDeviceVault(key, identity)
}

// mayUse is a document whose action asks for a secret.
func (w *world) mayUse(revision uint64) protocol.Desired {
	of := w.hub.workflow("w")
	of.Actions[0].Grants = []protocol.Grant{{Capability: protocol.CapSecret, Scopes: []string{"door@a.example:443"}}}
	return w.hub.desired(revision, of)
}

// box seals a set for the newest wish's key.
func (h *hubSide) box(set protocol.SecretSet, value string) []byte {
	h.t.Helper()
	set.Key = h.wishes[len(h.wishes)-1].Key
	list := protocol.SecretList{Secrets: []protocol.Secret{{Name: "door", Value: []byte(value)}}}
	if err := set.BoxSecrets(list); err != nil {
		h.t.Fatal(err)
	}
	sealed, err := protocol.Seal(protocol.ContextSecrets, h.keys[protocol.RoleDesired], protocol.MustMarshal(set))
	if err != nil {
		h.t.Fatal(err)
	}
	return sealed
}

func (w *world) wants(value string) {
	w.t.Helper()
	if got, _ := w.vault.Secret("door"); string(got) != value {
		w.t.Errorf("the vault has %q, want %q", got, value)
	}
}

// An agent asks for secrets only when a step may use one, until it is answered; what comes
// is on the disk only as it was sealed, and is there again after a power cut.
func TestSecretsComeAndStay(t *testing.T) {
	w := safe(t)
	w.hub.standard()
	w.boot()
	w.online()
	w.pass(time.Minute)
	if n := len(w.hub.wishes); n != 0 {
		t.Fatalf("%d wishes of an agent without secrets", n)
	}
	w.hub.deploy(w.mayUse(1))
	w.pass(time.Second)
	if n := len(w.hub.wishes); n != 1 {
		t.Fatalf("%d wishes, want 1", n)
	}
	if err := w.hub.wishes[0].CheckProof(here); err != nil {
		t.Error(err)
	}
	if err := w.hub.wishes[0].CheckProof(protocol.Address{Site: "plant", Agent: "a2"}); protocol.CodeOf(err) != protocol.CodeRefused {
		t.Errorf("the proof serves another agent: %v", err)
	}
	w.pass(time.Minute)
	if n := len(w.hub.wishes); n < 2 || n > 4 {
		t.Errorf("%d wishes in a minute without an answer", n)
	}
	first := w.hub.box(protocol.SecretSet{Address: here, Epoch: 1, Revision: 1}, "first value")
	w.hub.say(protocol.DownSecrets, protocol.SecretsReply{Epoch: 1, Sealed: first})
	w.pass(time.Hour)
	w.wants("first value")
	asked := len(w.hub.wishes)
	if r := w.hub.reports[len(w.hub.reports)-1]; r.Secrets != protocol.DigestOf(first) {
		t.Errorf("reports %s", r.Secrets.Short())
	}
	w.offline()
	w.vault.Use(protocol.SecretList{})
	w.boot()
	w.wants("first value")
	w.online()
	w.pass(time.Second)
	if n := len(w.hub.wishes); n != asked+1 || w.hub.wishes[asked].Held != protocol.DigestOf(first) || w.hub.wishes[asked].Revision != 1 {
		t.Errorf("%d wishes, want %d; %+v", n, asked+1, w.hub.wishes[n-1])
	}
	for _, key := range []string{"secrets"} {
		if b, err := w.disk.Get(key); err != nil || !bytes.Equal(b, first) || bytes.Contains(b, []byte("first value")) {
			t.Errorf("%s on the disk: %d bytes, %v", key, len(b), err)
		}
	}
}

// What is not for this agent, or older, or of another hand changes nothing.
func TestSecretsRefused(t *testing.T) {
	w := safe(t)
	w.hub.standard()
	w.boot()
	w.online()
	w.hub.deploy(w.mayUse(1))
	w.pass(time.Second)
	reply := func(epoch uint64, sealed []byte) {
		w.hub.say(protocol.DownSecrets, protocol.SecretsReply{Epoch: epoch, Sealed: sealed})
		w.pass(time.Second)
	}
	reply(1, w.hub.box(protocol.SecretSet{Address: here, Epoch: 1, Revision: 5}, "value five"))
	w.wants("value five")
	flipped := w.hub.box(protocol.SecretSet{Address: here, Epoch: 1, Revision: 6}, "value six")
	flipped[len(flipped)-1] ^= 1
	release := w.hub.keys[protocol.RoleDesired]
	forged, err := protocol.Seal(protocol.ContextDesired, release, []byte{0xa0})
	if err != nil {
		t.Fatal(err)
	}
	for name, sealed := range map[string][]byte{
		"older":   w.hub.box(protocol.SecretSet{Address: here, Epoch: 1, Revision: 4}, "value four"),
		"another": w.hub.box(protocol.SecretSet{Address: protocol.Address{Site: "plant", Agent: "a2"}, Epoch: 1, Revision: 7}, "x"),
		"epoch":   w.hub.box(protocol.SecretSet{Address: here, Epoch: 2, Revision: 7}, "x"),
		"flipped": flipped, "another seal": forged, "no seal": []byte("nothing"),
	} {
		reply(1, sealed)
		if got, _ := w.vault.Secret("door"); string(got) != "value five" {
			t.Errorf("%s: taken: %q", name, got)
		}
	}
	reply(2, w.hub.box(protocol.SecretSet{Address: here, Epoch: 1, Revision: 9}, "of another enrolment"))
	w.wants("value five")
	reply(1, nil) // nothing is owed now
	before := len(w.hub.wishes)
	reply(1, w.hub.box(protocol.SecretSet{Address: here, Epoch: 1, Revision: 3}, "value three"))
	if n := len(w.hub.wishes); n != before+1 || w.hub.wishes[before].Revision != 5 {
		t.Errorf("an older set is not answered by what is held: %d wishes, before %d", n, before)
	}
	other := newVault(t) // a set for another key
	w.hub.wishes = append(w.hub.wishes, must(other.Claim(here, 1)))
	reply(1, w.hub.box(protocol.SecretSet{Address: here, Epoch: 1, Revision: 10}, "for another key"))
	w.wants("value five")
	reply(1, nil)
	w.wants("value five")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
