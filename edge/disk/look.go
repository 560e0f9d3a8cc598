package disk

import (
	"encoding/hex"
	"os"
	"path/filepath"

	"github.com/stavily/stavily/protocol"
)

// Look is a state directory whose files are read beside the process that holds it: nothing in
// it is changed.
type Look string

// ReadFile returns a whole file, checked against its digest. The error has CodeNotFound,
// CodeDigest or CodeStorage.
func (l Look) ReadFile(d protocol.Digest) ([]byte, error) {
	b, err := os.ReadFile(l.path(d))
	if err != nil {
		return nil, unread(d, err)
	}
	if got := protocol.DigestOf(b); got != d {
		return nil, protocol.Errorf(protocol.CodeDigest, "read %s: file is %s", d.Short(), got.Short())
	}
	return b, nil
}

// Has reports whether a whole file is there; it is not read.
func (l Look) Has(d protocol.Digest) bool {
	_, err := os.Stat(l.path(d))
	return err == nil
}

func (l Look) path(d protocol.Digest) string {
	return filepath.Join(string(l), nameFiles, hex.EncodeToString(d[:]))
}
