package disk

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/stavily/stavily/protocol"
)

const (
	dirIdentity   = "identity"
	nameKey       = "key.pem"
	nameEnrolment = "enrolment.cbor"
	suffixOld     = ".old"
	suffixNew     = ".new"
	pemKey        = "EC PRIVATE KEY"
)

// Enrolment is what a hub gave this agent when it joined, and may give it again when
// it renews.
type Enrolment struct {
	Hub         string           `cbor:"1,keyasint"` // mqtts://host:port
	Address     protocol.Address `cbor:"2,keyasint"`
	Epoch       uint64           `cbor:"3,keyasint"`
	Certificate []byte           `cbor:"4,keyasint"` // DER
	CA          []byte           `cbor:"5,keyasint"` // DER
	Root        []byte           `cbor:"6,keyasint"` // root seal key
	Keyring     []byte           `cbor:"7,keyasint"` // sealed
	Time        int64            `cbor:"8,keyasint"` // ms since 1970, by the hub's clock
	// Labels and Allow are what the device was joined with: its own labels, and what
	// its policy allows beyond the default.
	Labels map[string]string `cbor:"9,keyasint,omitempty"`
	Allow  []string          `cbor:"10,keyasint,omitempty"`
}

// Identity is the directory that says who an agent is: its key, made here and never
// sent, and its enrolment. It is apart from all that a deployment writes (D-8).
type Identity struct{ dir string }

// OpenIdentity returns the identity in the state directory dir; the directory is made
// with mode 0700 if it is not there.
func OpenIdentity(dir string) (*Identity, error) {
	i := &Identity{dir: filepath.Join(dir, dirIdentity)}
	if err := os.MkdirAll(i.dir, 0o700); err != nil {
		return nil, storage("open identity", err)
	}
	return i, nil
}

// Enrolment reads the enrolment: CodeNotFound when this agent never joined. One that
// cannot be read is replaced by the one before it.
func (i *Identity) Enrolment() (Enrolment, error) {
	e, err := i.read(nameEnrolment)
	if err == nil {
		return e, nil
	}
	if old, oldErr := i.read(nameEnrolment + suffixOld); oldErr == nil {
		return old, nil
	}
	if errors.Is(err, os.ErrNotExist) {
		return e, protocol.Errorf(protocol.CodeNotFound, "identity: this agent has not joined a hub yet")
	}
	return e, storage("read identity", err)
}

func (i *Identity) read(name string) (e Enrolment, err error) {
	b, err := os.ReadFile(filepath.Join(i.dir, name))
	if err != nil {
		return e, err
	}
	return e, protocol.UnmarshalExact(b, &e)
}

// Enrol replaces the enrolment; the one before it is kept beside it. At every moment
// one of both is whole.
func (i *Identity) Enrol(e Enrolment) error {
	path := filepath.Join(i.dir, nameEnrolment)
	b, err := protocol.Marshal(e)
	if err != nil {
		return storage("write identity", err)
	}
	if _, err := i.read(nameEnrolment); err == nil {
		_ = os.Remove(path + suffixOld)
		if err := os.Link(path, path+suffixOld); err != nil {
			return storage("write identity", err)
		}
	}
	if err := WriteFile(path, b); err != nil {
		return storage("write identity", err)
	}
	return nil
}

// Key returns the agent's key, P-256, and makes it when there is none. The key file has
// mode 0600 and is never written over.
func (i *Identity) Key() (*ecdsa.PrivateKey, error) {
	path := filepath.Join(i.dir, nameKey)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return i.makeKey(path)
	}
	if err != nil {
		return nil, storage("read key", err)
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != pemKey {
		return nil, protocol.Errorf(protocol.CodeStorage, "read key %s: want a PEM block %q", path, pemKey)
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, storage("read key "+path, err)
	}
	return key, nil
}

// makeKey writes the key whole under another name first: a cut must not leave half a
// key under the right one.
func (i *Identity) makeKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeInternal, "make key: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeInternal, "make key: %w", err)
	}
	return key, i.putKey(path, pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}))
}

// putKey writes a key to path, where there must be none.
func (i *Identity) putKey(path string, b []byte) error {
	temporary := path + suffixNew
	_ = os.Remove(temporary)
	if err := writeSynced(temporary, b); err != nil {
		return storage("write key", err)
	}
	if err := os.Link(temporary, path); err != nil { // refuses when another has made one
		return storage("write key", err)
	}
	if err := errors.Join(os.Remove(temporary), syncDir(i.dir)); err != nil {
		return storage("write key", err)
	}
	return nil
}

// WriteFile replaces the file at path by b, whole or not at all, mode 0600.
func WriteFile(path string, b []byte) error {
	temporary := path + suffixNew
	if err := os.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := writeSynced(temporary, b); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// writeSynced makes a file that must not be there yet.
func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}
