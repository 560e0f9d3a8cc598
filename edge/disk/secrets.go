package disk

import (
	"crypto/ecdh"
	"errors"
	"os"
	"path/filepath"

	"github.com/stavily/stavily/protocol"
)

const nameSecretsKey = "secrets.key"

// SecretsKey returns the key that this device's secrets are sealed to, X25519, and makes it
// when there is none. It is apart from the identity's key: one key, one use. The file has
// mode 0600 and is never written over.
func (i *Identity) SecretsKey() (*ecdh.PrivateKey, error) {
	path := filepath.Join(i.dir, nameSecretsKey)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		key, err := protocol.NewSecretsKey()
		if err != nil {
			return nil, protocol.Errorf(protocol.CodeInternal, "make secrets key: %w", err)
		}
		return key, i.putKey(path, key.Bytes())
	}
	if err != nil {
		return nil, storage("read secrets key", err)
	}
	key, err := ecdh.X25519().NewPrivateKey(b)
	if err != nil {
		return nil, storage("read secrets key "+path, err)
	}
	return key, nil
}
