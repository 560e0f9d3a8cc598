package edge

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"sync"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// DeviceVault is the Vault of a device: its keys, and the secrets in memory only. Its
// methods may be called from any goroutine.
type DeviceVault struct {
	key      *ecdh.PrivateKey
	identity *ecdsa.PrivateKey

	mu     sync.Mutex // guards the field below
	values map[protocol.SecretName][]byte
}

// NewDeviceVault returns an empty vault: key is what secrets are sealed to, identity the
// key of the device's certificate, which vouches for it.
func NewDeviceVault(key *ecdh.PrivateKey, identity *ecdsa.PrivateKey) *DeviceVault {
	return &DeviceVault{key: key, identity: identity}
}

// Claim is Vault.Claim. The error has CodeInternal.
func (v *DeviceVault) Claim(a protocol.Address, epoch uint64) (protocol.SecretsWish, error) {
	wish := protocol.SecretsWish{Key: v.key.PublicKey().Bytes()}
	sum := sha256.Sum256(protocol.SecretsClaim(a, epoch, wish.Key))
	var err error
	if wish.Proof, err = ecdsa.SignASN1(rand.Reader, v.identity, sum[:]); err != nil {
		return wish, protocol.Errorf(protocol.CodeInternal, "secrets: sign the key: %w", err)
	}
	if wish.Identity, err = x509.MarshalPKIXPublicKey(&v.identity.PublicKey); err != nil {
		return wish, protocol.Errorf(protocol.CodeInternal, "secrets: identity: %w", err)
	}
	return wish, nil
}

// Open is Vault.Open.
func (v *DeviceVault) Open(set *protocol.SecretSet) (protocol.SecretList, error) {
	return set.OpenBox(v.key)
}

// Use is Vault.Use.
func (v *DeviceVault) Use(list protocol.SecretList) {
	values := make(map[protocol.SecretName][]byte, len(list.Secrets))
	for _, s := range list.Secrets {
		values[s.Name] = s.Value
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.values = values
}

// Secret returns what plugins may use now.
func (v *DeviceVault) Secret(name protocol.SecretName) (value []byte, found bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	value, found = v.values[name]
	return value, found
}

var (
	_ Vault            = (*DeviceVault)(nil)
	_ wasmhost.Secrets = (*DeviceVault)(nil)
)
