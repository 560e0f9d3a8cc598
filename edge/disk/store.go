// Package disk is an agent's flash: its keys and values in a journal, its documents and
// artifacts as files named by digest, and its identity in a directory of its own that
// nothing which is deployed can touch.
//
// Under a state directory there are
//
//	journal/     keys and values, in segments; parts that cannot be read are kept as .bad;
//	             headroom keeps room for what must go on when the disk is full
//	files/       <64 hex digits> whole files, .part those on their way in, .bad rotten ones
//	identity/    who this agent is; see Identity
//	lock         which process has the directory
//
// Every method but ApplyLater returns only when what it changed survives a power cut. The
// state.db of agents of before is taken into the journal when it is met.
package disk

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

const (
	nameDB      = "state.db" // of agents of before
	nameJournal = "journal"
	nameFiles   = "files"
	nameLock    = "lock"
	suffixBad   = ".bad"
)

// Store is the edge.Store of one state directory. Only one process holds it. Its
// methods may be called from any goroutine.
type Store struct {
	*files
	journal *journal
	lock    *os.File
	log     *slog.Logger
}

// Open opens the state directory dir, and makes it with mode 0700 if it is not there.
// What the flash has lost of the journal is set aside, and the rest is there; see Damage.
// The error has CodeUnavailable when another process has the directory, else CodeStorage.
func Open(dir string, log *slog.Logger) (*Store, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Store{files: newFiles(osFS{}, filepath.Join(dir, nameFiles)), log: log}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, storage("open state directory", err)
	}
	var err error
	s.lock, err = lock(filepath.Join(dir, nameLock), os.O_RDWR|os.O_CREATE)
	if protocol.CodeOf(err) == protocol.CodeUnavailable {
		return nil, protocol.Errorf(protocol.CodeUnavailable,
			"state directory %s is in use by another stavily-edge", dir)
	}
	if err == nil {
		err = s.open(dir)
	}
	if err != nil {
		return nil, errors.Join(storage("open state directory", err), s.Close())
	}
	return s, nil
}

func (s *Store) open(dir string) error {
	in := filepath.Join(dir, nameJournal)
	if err := s.migrate(dir, in); err != nil {
		return err
	}
	if err := os.MkdirAll(in, 0o700); err != nil {
		return err
	}
	j, err := openJournal(osFS{}, in, s.log, segmentSize)
	if err != nil {
		return err
	}
	s.journal = j
	return errors.Join(syncDir(dir), s.mend())
}

// Close lets go of the state directory. What ApplyLater took is on the disk then.
func (s *Store) Close() error {
	var err error
	if s.journal != nil {
		err = s.journal.close()
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	s.lock = nil
	if err != nil {
		return storage("close state", err)
	}
	return nil
}

// Get returns the value of key, nil when there is none.
func (s *Store) Get(key string) ([]byte, error) { return s.journal.get(key), nil }

// Scan yields the keys with prefix, not below from, in order. Records that ApplyLater took
// come only after the next Sync: what is sent must not be lost by a cut.
func (s *Store) Scan(prefix, from string, yield func(key string, value []byte) bool) error {
	s.journal.scan(prefix, from, yield)
	return nil
}

// Apply makes all changes, in order, or none.
func (s *Store) Apply(changes []edge.Change) error { return s.applied(s.journal.apply(changes, true)) }

// ApplyLanes is Apply. The values are the Store's from then on.
func (s *Store) ApplyLanes(changes []edge.LaneChange) error {
	return s.applied(s.journal.applyLanes(changes, true))
}

// ApplyLater is Apply for who fills a disk with much in a row: the changes survive a power cut
// only when the next Apply or Sync has returned, and never without those before them. An agent
// holds back what may wait itself.
func (s *Store) ApplyLater(changes []edge.Change) error {
	return s.applied(s.journal.apply(changes, false))
}

// Sync returns when everything that was applied survives a power cut.
func (s *Store) Sync() error { return s.applied(s.journal.sync()) }

func (s *Store) applied(err error) error {
	if err != nil {
		return storage("write state", err)
	}
	return nil
}

// Damage returns what of the journal could not be read since Open.
func (s *Store) Damage() Damage {
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	return s.journal.damage
}

func storage(op string, err error) error {
	return protocol.Errorf(protocol.CodeStorage, "%s: %w", op, err)
}

// Remove deletes the journal and the files of the state directory dir, and leaves
// the identity. No process may have it open.
func Remove(dir string) error {
	for _, name := range []string{nameDB, nameDB + suffixBad, nameJournal, nameJournal + suffixNew, nameFiles} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return storage("remove state", err)
		}
	}
	return syncDir(dir)
}

// isHex reports whether name is a digest as files are named.
func isHex(name string) bool { return len(name) == 64 && strings.Trim(name, "0123456789abcdef") == "" }

var _ edge.LaneStore = (*Store)(nil)
