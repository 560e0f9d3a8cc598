//go:build linux || darwin || freebsd

package wasmhost

import "syscall"

// reserve returns size bytes of address space that cost memory only where they are
// written, and how to give them back.
func reserve(size int) (b []byte, free func(), err error) {
	b, err = syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, nil, err
	}
	return b, func() { _ = syscall.Munmap(b) }, nil
}
