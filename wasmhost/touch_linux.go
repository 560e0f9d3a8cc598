//go:build amd64 || arm64

package wasmhost

import "syscall"

const (
	// populate is MADV_POPULATE_WRITE, which package syscall does not name.
	populate = 23
	// hugeFrom is from how many bytes on large pages are asked for: all of the code is touched,
	// so that they cost no memory.
	hugeFrom = 4 << 20
)

// touch has the system give the pages of fresh memory at once, which is many times cheaper
// than one at a time. Where it cannot, they come one at a time.
func touch(p []byte) {
	if len(p) >= hugeFrom {
		_ = syscall.Madvise(p, syscall.MADV_HUGEPAGE)
	}
	_ = syscall.Madvise(p, populate)
}
