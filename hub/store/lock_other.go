//go:build !unix

package store

import (
	"os"

	"github.com/stavily/stavily/protocol"
)

// lockHome opens the lock file. These systems have no flock: that a home serves one hub
// is the operator's to see to, and SQLite's own locks keep the file whole.
func lockHome(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeStorage, "open store %q: lock: %w", path, err)
	}
	return f, nil
}
