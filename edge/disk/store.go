// Package disk is an agent's flash: its small values in one bbolt file, its documents
// and artifacts as files named by digest, and its identity in a directory of its own
// that nothing which is deployed can touch.
//
// Under a state directory there are
//
//	state.db     keys and values; set aside as state.db.bad when it cannot be read
//	files/       <64 hex digits> whole files, .part those on their way in, .bad rotten ones
//	identity/    who this agent is; see Identity
//
// Every method returns only when what it changed survives a power cut: the file is
// synced, then renamed, then its directory is synced.
package disk

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// checkMax is the size in bytes up to which the whole database is checked when it is
// opened. A larger one is only looked into: opening must not wait for a backlog.
const checkMax = 4 << 20

// lockWait is how long Open waits for another process to let go of the directory: as
// long as a service manager's restart may overlap.
const lockWait = time.Second

const (
	nameDB    = "state.db"
	nameFiles = "files"
	suffixBad = ".bad"
)

var bucket = []byte("kv")

// Store is the edge.Store of one state directory. Only one process holds it. Its
// methods may be called from any goroutine.
type Store struct {
	db    *bbolt.DB
	files string
	log   *slog.Logger
}

// Open opens the state directory dir, and makes it with mode 0700 if it is not there. A
// database that cannot be read is set aside and an empty one begun; the files and the
// identity stay. The error has CodeUnavailable when another process has the directory,
// else CodeStorage.
func Open(dir string, log *slog.Logger) (*Store, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Store{files: filepath.Join(dir, nameFiles), log: log}
	if err := os.MkdirAll(s.files, 0o700); err != nil {
		return nil, storage("open state directory", err)
	}
	path := filepath.Join(dir, nameDB)
	db, err := openDB(path)
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, protocol.Errorf(protocol.CodeUnavailable,
			"state directory %s is in use by another stavily-edge", dir)
	}
	if err != nil && rotten(err) {
		log.Error("database not readable: set aside, beginning with an empty one",
			slog.String("path", path+suffixBad), slog.String("error", err.Error()))
		if err := os.Rename(path, path+suffixBad); err != nil {
			return nil, storage("set database aside", err)
		}
		db, err = openDB(path)
	}
	if err != nil {
		return nil, storage("open database", err)
	}
	s.db = db
	if err := errors.Join(syncDir(dir), s.mend()); err != nil {
		return nil, errors.Join(storage("open state directory", err), db.Close())
	}
	return s, nil
}

// Close lets go of the state directory.
func (s *Store) Close() error { return s.db.Close() }

// rotten reports whether err is the database's own fault: what the system refuses,
// such as memory, room or permission, is no reason to set it aside.
func rotten(err error) bool {
	var path *os.PathError
	var syscall *os.SyscallError
	return !errors.As(err, &path) && !errors.As(err, &syscall)
}

// openDB opens a database and looks whether it can be read.
func openDB(path string) (db *bbolt.DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // a file shorter than it says
	defer func() {
		if defect := recover(); defect != nil {
			err = fmt.Errorf("database: %v", defect)
		}
		if err != nil && db != nil {
			err = errors.Join(err, db.Close())
			db = nil
		}
	}()
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockWait, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, err
	}
	if err := db.View(sound); err != nil {
		return db, err
	}
	return db, db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	})
}

// sound checks a database: all of a small one, and of any one that the file is not cut
// off and the ends of its keys can be read.
func sound(tx *bbolt.Tx) error {
	info, err := os.Stat(tx.DB().Path())
	if err != nil {
		return err
	}
	if info.Size() < tx.Size() {
		return fmt.Errorf("database: %d bytes, want %d or more", info.Size(), tx.Size())
	}
	if tx.Size() <= checkMax {
		var all error
		for err := range tx.Check() {
			all = errors.Join(all, err)
		}
		return all
	}
	if b := tx.Bucket(bucket); b != nil {
		c := b.Cursor()
		c.First()
		c.Last()
	}
	return nil
}

// Get returns the value of key, nil when there is none.
func (s *Store) Get(key string) (value []byte, err error) {
	err = s.view(func(b *bbolt.Bucket) {
		if v := b.Get([]byte(key)); v != nil {
			value = append([]byte{}, v...)
		}
	})
	return value, err
}

// Scan yields the keys with prefix, not below from, in order.
func (s *Store) Scan(prefix, from string, yield func(key string, value []byte) bool) error {
	return s.view(func(b *bbolt.Bucket) {
		c := b.Cursor()
		for k, v := c.Seek([]byte(max(prefix, from))); k != nil; k, v = c.Next() {
			if !bytes.HasPrefix(k, []byte(prefix)) || !yield(string(k), v) {
				return
			}
		}
	})
}

// Apply makes all changes, in order, or none.
func (s *Store) Apply(changes []edge.Change) error {
	return s.guard("write", func() error {
		return s.db.Update(func(tx *bbolt.Tx) error {
			b := tx.Bucket(bucket)
			for _, c := range changes {
				if err := change(b, c); err != nil {
					return fmt.Errorf("key %q: %w", c.Key, err)
				}
			}
			return nil
		})
	})
}

func change(b *bbolt.Bucket, c edge.Change) error {
	if c.Value == nil {
		return b.Delete([]byte(c.Key))
	}
	return b.Put([]byte(c.Key), c.Value)
}

func (s *Store) view(f func(b *bbolt.Bucket)) error {
	return s.guard("read", func() error {
		return s.db.View(func(tx *bbolt.Tx) error {
			f(tx.Bucket(bucket))
			return nil
		})
	})
}

// guard makes an error with a code of whatever goes wrong in f; a page that has
// rotted under a running agent makes the database panic.
func (s *Store) guard(op string, f func() error) (err error) {
	defer func() {
		if defect := recover(); defect != nil {
			err = protocol.Errorf(protocol.CodeStorage, "%s state: %v", op, defect)
		}
	}()
	if err := f(); err != nil {
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			err = fmt.Errorf("%w: %w", edge.ErrFull, err)
		}
		return storage(op+" state", err)
	}
	return nil
}

func storage(op string, err error) error {
	return protocol.Errorf(protocol.CodeStorage, "%s: %w", op, err)
}

// Remove deletes the database and the files of the state directory dir, and leaves
// the identity. No process may have it open.
func Remove(dir string) error {
	for _, name := range []string{nameDB, nameDB + suffixBad, nameFiles} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return storage("remove state", err)
		}
	}
	return syncDir(dir)
}

// syncDir makes the names in a directory survive a power cut.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// isHex reports whether name is a digest as files are named.
func isHex(name string) bool { return len(name) == 64 && strings.Trim(name, "0123456789abcdef") == "" }

var _ edge.Store = (*Store)(nil)
