package edge

import (
	"errors"

	"github.com/stavily/stavily/protocol"
)

// Store is an agent's flash: small values under keys, and files by digest. Every
// method returns only when what it changed survives a power cut. Errors have
// CodeStorage, or the code that is named. One caller at a time; ReadFile may be called
// from any goroutine.
type Store interface {
	// Get returns the value of key, nil when there is none.
	Get(key string) ([]byte, error)
	// Scan yields the keys that begin with prefix and are not below from, in ascending
	// order of their bytes, until yield returns false. Key and value are the caller's
	// only until yield returns.
	Scan(prefix, from string, yield func(key string, value []byte) bool) error
	// Apply makes all changes, in order, or none. The error wraps ErrFull when the disk has
	// no room for them.
	Apply(changes []Change) error

	// Chunks returns which chunks of a file of size bytes are here, and whether the file is
	// whole and verified. What is here of one with another size is none of it.
	Chunks(d protocol.Digest, size int64) (have protocol.Bitmap, whole bool, err error)
	// AddChunk keeps chunk index of a file of size bytes, in any order; one that is here
	// already is not written again. After the last one the whole file is checked against d:
	// CodeDigest, and nothing is kept, when it is another.
	AddChunk(d protocol.Digest, index uint32, size int64, data []byte) error
	// ReadChunk returns a chunk of a whole file and the size of the file, not checked
	// against d: CodeNotFound, or CodeBadMessage for an index that the file does not have.
	ReadChunk(d protocol.Digest, index uint32) (data []byte, size int64, err error)
	// ReadFile returns a whole file, checked against d once more: CodeNotFound, or
	// CodeDigest when the flash has changed under it; then the file is set aside, so
	// that it is fetched again.
	ReadFile(d protocol.Digest) ([]byte, error)
	// KeepFiles removes every file, whole or not, that is not in keep.
	KeepFiles(keep []protocol.Digest) error
}

// Change is one key with its new value; a nil Value removes the key.
type Change struct {
	Key   string
	Value []byte
}

// ErrFull is wrapped by the error of a Store without room. The agent then makes room.
var ErrFull = errors.New("disk full")
