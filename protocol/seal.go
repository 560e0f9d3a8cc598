package protocol

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/veraison/go-cose"
)

// Role is what a seal key may sign. One key has one role.
type Role uint8

// The roles (the roles and rules follow The Update Framework, the encoding is COSE).
const (
	RoleRoot    Role = 1 // signs keyrings; may be kept away from the hub
	RoleRelease Role = 2 // signs releases
	RoleDesired Role = 3 // signs desired documents and sets of secrets
)

var roleNames = map[Role]string{RoleRoot: "root", RoleRelease: "release", RoleDesired: "desired"}

// String returns the role's name.
func (r Role) String() string {
	if name, ok := roleNames[r]; ok {
		return name
	}
	return fmt.Sprintf("role-%d", uint8(r))
}

// Context is what a sealed document is. It is signed along, so that a signature made
// for one purpose never serves another.
type Context string

// The contexts.
const (
	ContextKeyring Context = "application/stavily-keyring+cbor"
	ContextRelease Context = "application/stavily-release+cbor"
	ContextDesired Context = "application/stavily-desired+cbor"
	ContextMoment  Context = "application/stavily-moment+cbor"
	ContextSecrets Context = "application/stavily-secrets+cbor"
	ContextAcks    Context = "application/stavily-acks+cbor"
)

var roleOf = map[Context]Role{
	ContextKeyring: RoleRoot, ContextRelease: RoleRelease, ContextDesired: RoleDesired,
	ContextSecrets: RoleDesired, ContextMoment: RoleDesired, ContextAcks: RoleDesired,
}

// headerType is the COSE header parameter "typ" (RFC 9596).
const headerType = int64(16)

// KeyID names a seal key: the first 8 bytes of the SHA-256 of its public half.
type KeyID [8]byte

// PublicKey is the public half of a seal key.
type PublicKey struct {
	Role Role   `cbor:"1,keyasint" json:"role"`
	Key  []byte `cbor:"2,keyasint" json:"key"` // 32 bytes, Ed25519
}

// ID returns the key's name.
func (k PublicKey) ID() KeyID {
	sum := sha256.Sum256(k.Key)
	return KeyID(sum[:8])
}

// SealKey signs documents of one role.
type SealKey struct {
	Role    Role
	Private ed25519.PrivateKey
}

// Public returns the public half.
func (k SealKey) Public() PublicKey {
	pub, _ := k.Private.Public().(ed25519.PublicKey)
	return PublicKey{Role: k.Role, Key: pub}
}

// Keyring is the set of keys that an agent believes, itself sealed by the root key
// that the agent pinned when it joined. Version only rises.
type Keyring struct {
	Version uint64      `cbor:"1,keyasint" json:"version"`
	Keys    []PublicKey `cbor:"2,keyasint" json:"keys"`
}

// Seal signs payload as context says: a tagged COSE_Sign1 (RFC 9052) with EdDSA; alg,
// kid and typ in the protected header, context as external data. The same input gives
// the same bytes. It fails when key has another role than context asks for.
func Seal(context Context, key SealKey, payload []byte) ([]byte, error) {
	if want := roleOf[context]; want == 0 || want != key.Role {
		return nil, Errorf(CodeBadSeal, "seal %s: want a %s key, got a %s key", context, want, key.Role)
	}
	signer, err := cose.NewSigner(cose.AlgorithmEdDSA, key.Private)
	if err != nil {
		return nil, Errorf(CodeBadSeal, "seal %s: %w", context, err)
	}
	id := key.Public().ID()
	msg := cose.NewSign1Message()
	msg.Headers.Protected.SetAlgorithm(cose.AlgorithmEdDSA)
	msg.Headers.Protected[cose.HeaderLabelKeyID] = id[:]
	msg.Headers.Protected[headerType] = string(context)
	msg.Payload = payload
	if err := msg.Sign(nil, []byte(context), signer); err != nil {
		return nil, Errorf(CodeBadSeal, "seal %s: %w", context, err)
	}
	sealed, err := msg.MarshalCBOR()
	if err != nil {
		return nil, Errorf(CodeBadSeal, "seal %s: %w", context, err)
	}
	if len(sealed) > DocumentMax {
		return nil, Errorf(CodeLimit, "seal %s: %d bytes, limit %d", context, len(sealed), DocumentMax)
	}
	return sealed, nil
}

// Open checks that sealed is what context says and signed by a key of ring that may
// sign it, and returns the payload. Errors have CodeBadSeal or CodeLimit and name the
// first thing that is wrong. Trailing bytes, unprotected headers and a second
// encoding of the same document are refused.
func Open(context Context, ring Keyring, sealed []byte) ([]byte, error) {
	if len(sealed) > DocumentMax {
		return nil, Errorf(CodeLimit, "open %s: %d bytes, limit %d", context, len(sealed), DocumentMax)
	}
	var msg cose.Sign1Message
	if err := msg.UnmarshalCBOR(sealed); err != nil {
		return nil, Errorf(CodeBadSeal, "open %s: %w", context, err)
	}
	if again, err := msg.MarshalCBOR(); err != nil || !bytes.Equal(again, sealed) {
		return nil, Errorf(CodeBadSeal, "open %s: not in deterministic encoding", context)
	}
	key, err := signerOf(context, ring, &msg)
	if err != nil {
		return nil, err
	}
	verifier, err := cose.NewVerifier(cose.AlgorithmEdDSA, ed25519.PublicKey(key.Key))
	if err != nil {
		return nil, Errorf(CodeBadSeal, "open %s: key %x: %w", context, key.ID(), err)
	}
	if err := msg.Verify([]byte(context), verifier); err != nil {
		return nil, Errorf(CodeBadSeal, "open %s: key %x: %w", context, key.ID(), err)
	}
	return msg.Payload, nil
}

// signerOf returns the key of ring that msg names, if it may sign context.
func signerOf(context Context, ring Keyring, msg *cose.Sign1Message) (PublicKey, error) {
	none := PublicKey{}
	if len(msg.Headers.Unprotected) > 0 || len(msg.Headers.Protected) != 3 {
		return none, Errorf(CodeBadSeal, "open %s: want alg, kid and typ in the protected header only", context)
	}
	if alg, err := msg.Headers.Protected.Algorithm(); err != nil || alg != cose.AlgorithmEdDSA {
		return none, Errorf(CodeBadSeal, "open %s: algorithm %v, want EdDSA", context, alg)
	}
	if typ := msg.Headers.Protected[headerType]; typ != string(context) {
		return none, Errorf(CodeBadSeal, "open %s: sealed as %q", context, typ)
	}
	kid, _ := msg.Headers.Protected[cose.HeaderLabelKeyID].([]byte)
	i := slices.IndexFunc(ring.Keys, func(k PublicKey) bool {
		id := k.ID()
		return bytes.Equal(id[:], kid)
	})
	if i < 0 {
		return none, Errorf(CodeBadSeal, "open %s: key %x is not in keyring version %d", context, kid, ring.Version)
	}
	key := ring.Keys[i]
	if want := roleOf[context]; key.Role != want || want == 0 {
		return none, Errorf(CodeBadSeal, "open %s: key %x is a %s key, want %s", context, kid, key.Role, want)
	}
	if len(key.Key) != ed25519.PublicKeySize {
		return none, Errorf(CodeBadSeal, "open %s: key %x has %d bytes", context, kid, len(key.Key))
	}
	return key, nil
}
