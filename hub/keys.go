package hub

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/stavily/stavily/hub/secret"
	"github.com/stavily/stavily/protocol"
)

// Keys are the hub's seal keys, one role each, the keyring that agents believe, and the
// safe for operators' secrets.
type Keys struct {
	Root    protocol.PublicKey
	Release protocol.SealKey
	Desired protocol.SealKey
	Ring    protocol.Keyring
	Sealed  []byte // Ring, sealed by the root key
	Safe    *secret.Safe
}

// OpenKeys reads the seal keys from dir and makes those of a new hub. The private
// root key is needed only to seal a keyring: it may be moved away from the hub once
// keyring.cbor is there.
func OpenKeys(dir string) (*Keys, error) {
	release, err := openSealKey(dir, protocol.RoleRelease)
	if err != nil {
		return nil, err
	}
	desired, err := openSealKey(dir, protocol.RoleDesired)
	if err != nil {
		return nil, err
	}
	safe, err := openSafe(dir)
	if err != nil {
		return nil, err
	}
	k := &Keys{Release: release, Desired: desired, Safe: safe}
	if err := k.openRing(dir); err != nil {
		return nil, err
	}
	return k, nil
}

// openRing reads the sealed keyring and the public root key, or makes both.
func (k *Keys) openRing(dir string) error {
	ringPath, rootPath := filepath.Join(dir, "keyring.cbor"), filepath.Join(dir, "root.pub")
	sealed, err := os.ReadFile(ringPath)
	if errors.Is(err, fs.ErrNotExist) {
		return k.makeRing(dir, ringPath, rootPath)
	}
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	root, err := os.ReadFile(rootPath)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	k.Root = protocol.PublicKey{Role: protocol.RoleRoot, Key: root}
	k.Sealed = sealed
	k.Ring, err = OpenKeyring(root, sealed)
	if err != nil {
		return fmt.Errorf("keys: %s: %w", ringPath, err)
	}
	return nil
}

func (k *Keys) makeRing(dir, ringPath, rootPath string) error {
	root, err := openSealKey(dir, protocol.RoleRoot)
	if err != nil {
		return err
	}
	k.Root = root.Public()
	k.Ring = protocol.Keyring{Version: 1, Keys: []protocol.PublicKey{k.Release.Public(), k.Desired.Public()}}
	k.Sealed, err = protocol.Seal(protocol.ContextKeyring, root, protocol.MustMarshal(k.Ring))
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	// A hub that was cut off here before has the file already.
	if have, err := os.ReadFile(rootPath); err != nil || !bytes.Equal(have, k.Root.Key) {
		if err := writeSecret(rootPath, k.Root.Key); err != nil {
			return err
		}
	}
	return writeSecret(ringPath, k.Sealed)
}

// OpenKeyring opens a sealed keyring with the public root key that a party pinned.
func OpenKeyring(root, sealed []byte) (protocol.Keyring, error) {
	pinned := protocol.Keyring{Keys: []protocol.PublicKey{{Role: protocol.RoleRoot, Key: root}}}
	var ring protocol.Keyring
	payload, err := protocol.Open(protocol.ContextKeyring, pinned, sealed)
	if err != nil {
		return ring, err
	}
	return ring, protocol.UnmarshalExact(payload, &ring)
}

func openSealKey(dir string, role protocol.Role) (protocol.SealKey, error) {
	path := filepath.Join(dir, role.String()+".key")
	key, err := openKey(path, func() (crypto.PrivateKey, error) {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	})
	if err != nil {
		return protocol.SealKey{}, err
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return protocol.SealKey{}, fmt.Errorf("keys: %s: want an Ed25519 key, got %T", path, key)
	}
	return protocol.SealKey{Role: role, Private: private}, nil
}

// openKey reads a private key in PKCS #8 PEM from path, or makes one and keeps it.
func openKey(path string, generate func() (crypto.PrivateKey, error)) (crypto.PrivateKey, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(path, generate)
	}
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("keys: %s: no PEM block in it", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("keys: %s: %w", path, err)
	}
	return key, nil
}

func makeKey(path string, generate func() (crypto.PrivateKey, error)) (crypto.PrivateKey, error) {
	key, err := generate()
	if err != nil {
		return nil, fmt.Errorf("keys: %s: %w", path, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("keys: %s: %w", path, err)
	}
	return key, writeSecret(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// writeSecret makes a file that only the hub's user may read and that is there whole
// or, after a power cut, not at all; it never replaces one.
func writeSecret(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(content); err != nil {
		return fmt.Errorf("keys: %w", errors.Join(err, f.Close()))
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	if err := os.Link(f.Name(), path); err != nil { // a rename would replace
		return fmt.Errorf("keys: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}
