package disk

import (
	"errors"
	"syscall"
)

// Sync writes the file's bytes out, and of what is known about it only what reading them
// needs.
func (f osFile) Sync() error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func (f osFile) reserve(size int64) error {
	for size > 0 { // of nothing it is an error
		err := syscall.Fallocate(int(f.Fd()), 0, 0, size)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.ENOSYS):
			return nil // then the room is found when it is written
		}
		return err
	}
	return nil
}
