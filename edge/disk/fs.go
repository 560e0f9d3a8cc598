package disk

import (
	"errors"
	"io"
	"os"
	"slices"
)

// fileSystem is what a journal asks of the system, so that a test can cut the power at
// any of it. A name that was made, given or taken away survives a cut once its directory
// is synced, the bytes of a file once the file is.
type fileSystem interface {
	open(name string, flag int) (file, error)
	names(dir string) ([]string, error) // ascending
	rename(from, to string) error
	remove(name string) error
	syncDir(dir string) error
}

// file is an open file.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	// Sync returns when the bytes that were written survive a cut, and the size with them.
	Sync() error
	// reserve makes the file size bytes long at least and takes the room for them, where
	// the system can. Without room the error is ENOSPC.
	reserve(size int64) error
	size() (int64, error)
}

// osFS is the real one.
type osFS struct{}

func (osFS) open(name string, flag int) (file, error) {
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names, nil
}

func (osFS) rename(from, to string) error { return os.Rename(from, to) }
func (osFS) remove(name string) error     { return os.Remove(name) }

// syncDir makes the names in a directory survive a power cut.
func (osFS) syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func syncDir(dir string) error { return osFS{}.syncDir(dir) }

type osFile struct{ *os.File }

func (f osFile) size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

var (
	_ fileSystem = osFS{}
	_ file       = osFile{}
)
