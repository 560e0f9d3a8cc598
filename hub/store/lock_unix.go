//go:build unix

package store

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/stavily/stavily/protocol"

	"golang.org/x/sys/unix"
)

// lockHome takes the home of the store at path for this process alone. The lock goes
// with the returned file, or with the process, however that ends; the lock file stays,
// because removing it would let two hubs lock two files of one name.
func lockHome(path string) (*os.File, error) {
	home := filepath.Dir(path)
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeStorage, "open store %q: lock: %w", path, err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close() // nothing was written
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, protocol.Errorf(protocol.CodeUnavailable, "open store: home %q is used by another hub", home)
	}
	return nil, protocol.Errorf(protocol.CodeStorage, "open store %q: lock: %w", path, err)
}
