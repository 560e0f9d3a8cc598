package protocol

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
)

var aList = SecretList{Secrets: []Secret{{"api-key", []byte("hunter2")}, {"pin", []byte{0, 255}}}}

// A set opens with the key, for the agent, enrolment and revision that it was made for, and
// with no other.
func TestSecretsBox(t *testing.T) {
	key, err := NewSecretsKey()
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewSecretsKey()
	if err != nil {
		t.Fatal(err)
	}
	set := SecretSet{Address: berlin, Epoch: 2, Revision: 7, Key: key.PublicKey().Bytes()}
	if err := set.BoxSecrets(aList); err != nil {
		t.Fatal(err)
	}
	got, err := set.OpenBox(key)
	if err != nil || !bytes.Equal(MustMarshal(got), MustMarshal(aList)) {
		t.Fatalf("got %+v, %v", got, err)
	}
	if bytes.Contains(set.Box, []byte("hunter2")) {
		t.Error("the box is open")
	}
	for name, change := range map[string]func(s *SecretSet) *ecdh.PrivateKey{
		"another key":      func(*SecretSet) *ecdh.PrivateKey { return other },
		"another agent":    func(s *SecretSet) *ecdh.PrivateKey { s.Address.Agent = "gw-2"; return key },
		"another epoch":    func(s *SecretSet) *ecdh.PrivateKey { s.Epoch = 3; return key },
		"another revision": func(s *SecretSet) *ecdh.PrivateKey { s.Revision = 8; return key },
		"flipped":          func(s *SecretSet) *ecdh.PrivateKey { s.Box = flipLast(s.Box); return key },
		"cut":              func(s *SecretSet) *ecdh.PrivateKey { s.Box = s.Box[:20]; return key },
		"nothing":          func(s *SecretSet) *ecdh.PrivateKey { s.Box = nil; return key },
	} {
		changed := set
		changed.Box = slices.Clone(set.Box)
		with := change(&changed)
		if list, err := changed.OpenBox(with); CodeOf(err) != CodeBadSeal || len(list.Secrets) > 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSecretsBounds(t *testing.T) {
	key, err := NewSecretsKey()
	if err != nil {
		t.Fatal(err)
	}
	set := SecretSet{Address: berlin, Epoch: 1, Revision: 1, Key: key.PublicKey().Bytes()}
	big := SecretList{Secrets: slices.Repeat([]Secret{{"a", make([]byte, SecretMax)}}, 6)}
	many := SecretList{Secrets: slices.Repeat([]Secret{{"a", []byte("b")}}, SecretsMax+1)}
	for _, list := range []SecretList{big, many} {
		if err := set.BoxSecrets(list); CodeOf(err) != CodeLimit {
			t.Errorf("%d secrets: %v", len(list.Secrets), err)
		}
	}
	set.Key = []byte("short")
	if err := set.BoxSecrets(aList); CodeOf(err) != CodeBadInput {
		t.Errorf("a bad key: %v", err)
	}
	for _, s := range []Secret{{"A", []byte("x")}, {"", []byte("x")}, {"a", nil}, {"a", make([]byte, SecretMax+1)}} {
		if err := s.Check(); err == nil {
			t.Errorf("%q with %d bytes is good", s.Name, len(s.Value))
		}
	}
	sealed, err := Seal(ContextSecrets, testDesired, make([]byte, SecretSetMax+1024))
	if reply := MustMarshal(SecretsReply{Epoch: 1 << 60, Sealed: sealed}); err != nil || len(reply) > MessageMax {
		t.Errorf("the largest reply has %d bytes, %v", len(reply), err)
	}
}

// Only the device whose certificate the hub knows can say which key is its own.
func TestSecretsProof(t *testing.T) {
	identity, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := NewSecretsKey()
	if err != nil {
		t.Fatal(err)
	}
	wish := SecretsWish{Epoch: 3, Key: key.PublicKey().Bytes()}
	sum := sha256.Sum256(SecretsClaim(berlin, 3, wish.Key))
	if wish.Proof, err = ecdsa.SignASN1(rand.Reader, identity, sum[:]); err != nil {
		t.Fatal(err)
	}
	if wish.Identity, err = x509.MarshalPKIXPublicKey(&identity.PublicKey); err != nil {
		t.Fatal(err)
	}
	if err := wish.CheckProof(berlin); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(w *SecretsWish){
		"another key":  func(w *SecretsWish) { w.Key = flipLast(w.Key) },
		"no key":       func(w *SecretsWish) { w.Key = nil },
		"epoch":        func(w *SecretsWish) { w.Epoch = 4 },
		"proof":        func(w *SecretsWish) { w.Proof = flipLast(w.Proof) },
		"no proof":     func(w *SecretsWish) { w.Proof = nil },
		"no identity":  func(w *SecretsWish) { w.Identity = nil },
		"cut identity": func(w *SecretsWish) { w.Identity = w.Identity[:40] },
	} {
		other := wish
		change(&other)
		if err := other.CheckProof(berlin); CodeOf(err) != CodeRefused {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := wish.CheckProof(Address{Site: "berlin", Agent: "gw-2"}); CodeOf(err) != CodeRefused {
		t.Errorf("another agent: %v", err)
	}
}

// Scopes of secrets meet by what they mean: a name is wider than the name for a destination.
func TestSecretScopes(t *testing.T) {
	grant := func(s string) []Grant { return []Grant{{Capability: CapSecret, Scopes: []string{s}}} }
	for _, c := range []struct{ a, b, want string }{
		{"k", "k", "k"},
		{"k", "k@a.example:443", "k@a.example:443"},
		{"k@*.example:443", "k@a.example:*", "k@a.example:443"},
		{"k@10.0.0.0/8:80", "k@10.1.0.0/16:80", "k@10.1.0.0/16:80"},
		{"k@a.example:443", "l@a.example:443", ""},
		{"k@a.example:443", "k@b.example:443", ""},
		{"k", "l", ""},
		{"k", "K@a.example:443", ""},
		{"k@", "k", ""},
	} {
		for _, swap := range []bool{false, true} {
			a, b := c.a, c.b
			if swap {
				a, b = b, a
			}
			got := ""
			for _, g := range Effective(Intersect(grant(a), grant(b))) {
				got = strings.Join(g.Scopes, " ")
			}
			if got != c.want {
				t.Errorf("%q and %q: %q, want %q", a, b, got, c.want)
			}
		}
	}
}

func FuzzSecretScope(f *testing.F) {
	for _, s := range []string{"", "k", "k@a:1", "@", "k@", "a-b@*.x:443"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, to, err := ParseSecretScope(s)
		if err != nil {
			return
		}
		again := string(name)
		if to != "" {
			again += secretTarget + to
		}
		if again != s {
			t.Errorf("%q is read as %q", s, again)
		}
	})
}

// sampleSecretsKey is the key of 32 bytes 05.
func sampleSecretsKey() *ecdh.PrivateKey {
	key, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{5}, 32))
	if err != nil {
		panic(err)
	}
	return key
}

// sampleBox was made once by BoxSecrets: HPKE draws a key for each.
const sampleBox = "368967d436ad537375ee9bc3804d2e8ad811a61e4dfa60a6ed286a0775aa692cd11c93030667f457e9170c1ed16fa59b96fb" +
	"a1c6f438400e1baf418c2a92859bd3c1cff25aa0f9fb5d13393eb87a8e91"

func sampleSecretSet() SecretSet {
	box, err := hex.DecodeString(sampleBox)
	if err != nil {
		panic(err)
	}
	return SecretSet{Address: berlin, Epoch: 2, Revision: 7, Key: sampleSecretsKey().PublicKey().Bytes(), Box: box}
}

// The vector's box opens, and not for another revision: whoever writes HPKE for a device
// holds it to this one.
func TestSecretsVector(t *testing.T) {
	set := sampleSecretSet()
	list, err := set.OpenBox(sampleSecretsKey())
	if err != nil || !bytes.Equal(MustMarshal(list), MustMarshal(aList)) {
		t.Errorf("got %+v, %v", list, err)
	}
	set.Revision++
	if _, err := set.OpenBox(sampleSecretsKey()); CodeOf(err) != CodeBadSeal {
		t.Errorf("another revision: %v", err)
	}
}
