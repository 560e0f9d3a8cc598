// Package store keeps the hub's books in SQL: one SQLite file, one writer, a few
// readers, and migrations from the first day.
//
// The registry, the fleet and the runs stand on it, each with tables of its own; the
// hub keeps its small documents in the table that document.go describes. Nothing is
// acknowledged to anybody before Commit has returned, because Commit is the fsync.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"github.com/stavily/stavily/protocol"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// Memory is the path of a store that lives and dies with its process, for tests. It
// has one connection, so a View inside an Update waits for ever.
const Memory = ":memory:"

const (
	// readersMax bounds how many Views go on at once.
	readersMax = 4
	// busyMS is how long a statement waits for another process, such as a backup tool.
	busyMS = 5000
	// cacheKB bounds the page cache of one connection.
	cacheKB = 8 << 10
)

// Store is an open store. Its methods may be called from any goroutine.
type Store struct {
	path    string
	db      *sql.DB
	lock    *os.File
	writer  chan *session // of one
	readers chan *session // of readersMax; the writer's channel when in memory
	closed  chan struct{}
	once    sync.Once // closes closed
}

// Open opens the store at path, makes it when it is missing, and brings its schema up
// to this hub's; before that, an existing file is copied to path.v<version>.bak. It
// refuses, with CodeUnavailable, a home that another hub uses; with CodeIncompatible,
// a file of a newer hub; with CodeStorage, a file that is damaged or not a hub's.
func Open(ctx context.Context, path string) (*Store, error) {
	s := &Store{path: path, closed: make(chan struct{}), writer: make(chan *session, 1)}
	s.readers = s.writer
	if path != Memory {
		s.readers = make(chan *session, readersMax)
		lock, err := lockHome(path)
		if err != nil {
			return nil, err
		}
		s.lock = lock
	}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.release())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	db, err := sql.Open("sqlite", dsn(s.path))
	if err != nil {
		return fmt.Errorf("open store %q: %w", s.path, err)
	}
	s.db = db
	db.SetMaxOpenConns(1) // while the schema changes; and for ever when in memory
	if err := s.recognise(ctx); err != nil {
		return openError(s.path, err)
	}
	if err := s.migrate(ctx); err != nil {
		return openError(s.path, err)
	}
	writer, err := newSession(ctx, db, false)
	if err != nil {
		return openError(s.path, err)
	}
	s.writer <- writer
	if s.path == Memory {
		return nil
	}
	db.SetMaxOpenConns(1 + readersMax)
	for range readersMax {
		reader, err := newSession(ctx, db, true)
		if err != nil {
			return openError(s.path, err)
		}
		s.readers <- reader
	}
	return nil
}

// Path returns where the store is.
func (s *Store) Path() string { return s.path }

// Close waits for the transactions under way, then closes the file and lets the home
// go. It is idempotent; transactions begun after it fail with CodeUnavailable.
func (s *Store) Close() error {
	var err error
	s.once.Do(func() {
		close(s.closed)
		(<-s.writer).close()
		if s.path != Memory {
			for range readersMax {
				(<-s.readers).close()
			}
		}
		err = s.release()
	})
	return err
}

func (s *Store) release() error {
	var err error
	if s.db != nil {
		err = s.db.Close()
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return err
}

// Check reads the whole file and returns an error, with CodeStorage, that says what is
// wrong with it. It takes seconds per gigabyte.
func (s *Store) Check(ctx context.Context) error {
	return s.View(ctx, func(tx *Tx) error {
		var verdict string
		if err := tx.QueryRow("PRAGMA integrity_check(1)").Scan(&verdict); err != nil {
			return openError(s.path, err)
		}
		if verdict != "ok" {
			return protocol.Errorf(protocol.CodeStorage, "check store %q: %s", s.path, verdict)
		}
		var table string
		err := tx.QueryRow("SELECT \"table\" FROM pragma_foreign_key_check LIMIT 1").Scan(&table)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return openError(s.path, err)
		}
		return protocol.Errorf(protocol.CodeStorage, "check store %q: table %q points at rows that are not there",
			s.path, table)
	})
}

// Backup writes a whole and consistent copy to path, which must not exist, while the
// hub goes on. The directory must exist.
func (s *Store) Backup(ctx context.Context, path string) error {
	reader, err := s.take(ctx, s.readers)
	if err != nil {
		return err
	}
	defer func() { s.readers <- reader }()
	err = reader.exec("PRAGMA query_only = 0") // SQLite counts the copy as writing
	if err == nil {
		err = backup(ctx, reader.conn, path)
	}
	if s.path != Memory {
		err = errors.Join(err, reader.exec("PRAGMA query_only = 1"))
	}
	if err != nil {
		return protocol.Errorf(protocol.CodeStorage, "back up store %q: %w", s.path, err)
	}
	return nil
}

// dsn returns the driver's name for path with every setting that a connection needs.
func dsn(path string) string {
	q := url.Values{}
	for _, p := range []string{
		fmt.Sprintf("busy_timeout(%d)", busyMS), "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
		fmt.Sprintf("cache_size(-%d)", cacheKB), "temp_store(MEMORY)", "journal_size_limit(67108864)",
	} {
		q.Add("_pragma", p)
	}
	if path == Memory {
		return "file::memory:?" + q.Encode()
	}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()}).String() +
		"?" + q.Encode()
}
