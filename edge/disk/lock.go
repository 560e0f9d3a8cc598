//go:build unix

package disk

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/stavily/stavily/protocol"
)

// lockWait is how long Open waits for another process to let go of the directory: as
// long as a service manager's restart may overlap.
const lockWait = time.Second

// lock takes the file at path for this process, until the file is closed. The error has
// CodeUnavailable while another process has it.
func lock(path string, flag int) (*os.File, error) {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err
	}
	const step = 20 * time.Millisecond
	for waited := time.Duration(0); ; waited += step {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) || waited >= lockWait {
			break
		}
		time.Sleep(step) //nolint:forbidigo // another process is waited for
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = protocol.Errorf(protocol.CodeUnavailable, "%s: another process has it", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Held reports whether a process has the state directory dir, as a running agent does. A
// directory that is not there is held by nobody.
func Held(dir string) bool {
	f, err := os.OpenFile(filepath.Join(dir, nameLock), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close() // and with it goes the lock
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}
