package protocol

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"strings"
)

// The bounds of secrets. A set of them travels as one message.
const (
	// SecretMax bounds the value of one secret in bytes: a key or certificate in PEM fits.
	SecretMax = 16 << 10
	// SecretsMax bounds the secrets of one agent.
	SecretsMax = 128
	// SecretSetMax bounds the secrets of one agent together, encoded, in bytes.
	SecretSetMax = 96 << 10

	_ uint = MessageMax - SecretSetMax - 4096 // a set and its envelopes fit a message
)

// SecretName names a secret within one hub: 1 to 64 characters of [a-z0-9-], beginning and
// ending with a letter or digit.
type SecretName string

// Check returns an error that names the first character or length at fault.
func (n SecretName) Check() error { return checkName("secret name", string(n), PluginNameMax) }

// SecretsWish is how an agent asks for its secrets, on every connection while a step of it
// may use one, and when a set did not serve it. Proof shows that the device which holds the
// certificate's key made Key, whoever carried the message.
type SecretsWish struct {
	Epoch uint64 `cbor:"1,keyasint" json:"epoch"`
	// Key is what secrets are sealed to: X25519, 32 bytes, made on the device.
	Key      []byte `cbor:"2,keyasint" json:"key"`
	Identity []byte `cbor:"3,keyasint" json:"-"` // the public key of the certificate, PKIX
	Proof    []byte `cbor:"4,keyasint" json:"-"` // Identity's ECDSA signature of SecretsClaim, ASN.1
	// Held and Revision are of the set on the device; zero for none.
	Held     Digest `cbor:"5,keyasint" json:"held"`
	Revision uint64 `cbor:"6,keyasint" json:"revision"`
}

// SecretsReply brings an agent's secrets: the answer to a SecretsWish, and what the hub
// sends by itself when they changed.
type SecretsReply struct {
	Epoch uint64 `cbor:"1,keyasint" json:"epoch"`
	// Sealed is a SecretSet, sealed with ContextSecrets; empty when the agent holds the
	// newest, or there is nothing for it.
	Sealed []byte `cbor:"2,keyasint,omitempty" json:"-"`
}

// SecretSet is all secrets of one agent. An agent takes it only when the address is its
// own, the epoch that of its enrolment, and the revision above that of the set it holds. It
// is no part of the desired document: another value needs no new generation.
type SecretSet struct {
	Address  Address `cbor:"1,keyasint"`
	Epoch    uint64  `cbor:"2,keyasint"`
	Revision uint64  `cbor:"3,keyasint"` // from 1; never reset within an epoch
	Key      []byte  `cbor:"4,keyasint"` // public, that Box is sealed to
	Box      []byte  `cbor:"5,keyasint"` // a SecretList, by BoxSecrets
}

// SecretList is what a SecretSet holds, by name, ascending.
type SecretList struct {
	Secrets []Secret `cbor:"1,keyasint"`
}

// Secret is one value under its name.
type Secret struct {
	Name  SecretName `cbor:"1,keyasint"`
	Value []byte     `cbor:"2,keyasint"`
}

// SecretsClaim returns what a device signs to show that key is its own.
func SecretsClaim(a Address, epoch uint64, key []byte) []byte {
	return MustMarshal([]any{"stavily-secrets-key/1", string(a.Site), string(a.Agent), epoch, key})
}

// CheckProof verifies that whoever holds the key in w.Identity, which the caller must know
// to be the agent's, claims w.Key as the key of the agent at a. The error has CodeRefused.
func (w *SecretsWish) CheckProof(a Address) error {
	refuse := func(why string) error {
		return Errorf(CodeRefused, "secrets of %s: key not taken: %s", a, why)
	}
	if _, err := ecdh.X25519().NewPublicKey(w.Key); err != nil {
		return refuse("it is no X25519 key")
	}
	public, err := x509.ParsePKIXPublicKey(w.Identity)
	if err != nil {
		return refuse("the identity is not readable")
	}
	identity, ok := public.(*ecdsa.PublicKey)
	if !ok {
		return refuse("the identity is no ECDSA key")
	}
	sum := sha256.Sum256(SecretsClaim(a, w.Epoch, w.Key))
	if !ecdsa.VerifyASN1(identity, sum[:], w.Proof) {
		return refuse("it is not signed by the identity")
	}
	return nil
}

// boxInfo binds a box to the agent, the enrolment and the revision that it is for.
func (s *SecretSet) boxInfo() []byte {
	return MustMarshal([]any{
		"stavily-secrets/1", string(s.Address.Site), string(s.Address.Agent), s.Epoch, s.Revision,
	})
}

// BoxSecrets encrypts list to s.Key as s.Box: HPKE (RFC 9180) in base mode with
// DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and ChaCha20Poly1305. The other fields of s must
// be set. The error has CodeBadInput for a bad key, CodeLimit for too many secrets or bytes.
func (s *SecretSet) BoxSecrets(list SecretList) error {
	plain := MustMarshal(list)
	if len(list.Secrets) > SecretsMax || len(plain) > SecretSetMax {
		return Errorf(CodeLimit, "secrets of %s: %d with %d bytes together, limits SecretsMax %d, SecretSetMax %d",
			s.Address, len(list.Secrets), len(plain), SecretsMax, SecretSetMax)
	}
	public, err := ecdh.X25519().NewPublicKey(s.Key)
	if err != nil {
		return Errorf(CodeBadInput, "secrets of %s: key: %w", s.Address, err)
	}
	to, err := hpke.NewDHKEMPublicKey(public)
	if err != nil {
		return Errorf(CodeBadInput, "secrets of %s: key: %w", s.Address, err)
	}
	s.Box, err = hpke.Seal(to, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), s.boxInfo(), plain)
	if err != nil {
		return Errorf(CodeInternal, "secrets of %s: seal: %w", s.Address, err)
	}
	return nil
}

// OpenBox decrypts s.Box with the device's key. Errors: CodeBadSeal for another key or
// other bytes, CodeBadMessage or CodeLimit for what is no SecretList in its bounds.
func (s *SecretSet) OpenBox(key *ecdh.PrivateKey) (SecretList, error) {
	var list SecretList
	with, err := hpke.NewDHKEMPrivateKey(key)
	if err != nil {
		return list, Errorf(CodeInternal, "secrets of %s: key: %w", s.Address, err)
	}
	plain, err := hpke.Open(with, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), s.boxInfo(), s.Box)
	if err != nil {
		return list, Errorf(CodeBadSeal, "secrets of %s: revision %d does not open with this device's key",
			s.Address, s.Revision)
	}
	if err := UnmarshalExact(plain, &list); err != nil {
		return list, err
	}
	if len(list.Secrets) > SecretsMax {
		return list, Errorf(CodeLimit, "secrets of %s: %d, limit SecretsMax %d", s.Address, len(list.Secrets),
			SecretsMax)
	}
	for _, one := range list.Secrets {
		if err := one.Check(); err != nil {
			return list, err
		}
	}
	return list, nil
}

// Check returns an error for a bad name, an empty value or one over SecretMax; it does not
// repeat the value.
func (s *Secret) Check() error {
	if err := s.Name.Check(); err != nil {
		return err
	}
	if len(s.Value) == 0 || len(s.Value) > SecretMax {
		return Errorf(CodeLimit, "secret %q: value of %d bytes, want 1 to %d", s.Name, len(s.Value), SecretMax)
	}
	return nil
}

// NewSecretsKey makes the key that a device's secrets are sealed to.
func NewSecretsKey() (*ecdh.PrivateKey, error) { return ecdh.X25519().GenerateKey(rand.Reader) }

// secretTarget stands between a secret's name and where it may go.
const secretTarget = "@"

// ParseSecretScope reads a scope of secret.use: "name" gives the value to the plugin,
// "name@host:port" only lets the host put it into requests to that destination, which is a
// scope of http.request. The error has CodeBadInput.
func ParseSecretScope(scope string) (name SecretName, destination string, err error) {
	text, destination, bound := strings.Cut(scope, secretTarget)
	name = SecretName(text)
	if name.Check() != nil || bound && destination == "" {
		return "", "", Errorf(CodeBadInput, "scope %q: want NAME@HOST:PORT, or NAME to tell the plugin the value",
			clip(scope))
	}
	return name, destination, nil
}

// commonSecret is for "name" and "name@destination".
func commonSecret(a, b string) (string, bool) {
	nameA, toA, errA := ParseSecretScope(a)
	nameB, toB, errB := ParseSecretScope(b)
	switch {
	case errA != nil || errB != nil || nameA != nameB:
		return "", false
	case toA == "":
		return b, true
	case toB == "":
		return a, true
	}
	to, ok := commonDestination(toA, toB)
	return string(nameA) + secretTarget + to, ok
}
