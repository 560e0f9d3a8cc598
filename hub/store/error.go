package store

import (
	"errors"
	"path/filepath"

	"github.com/stavily/stavily/protocol"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// storageError gives err a code that tells the caller what to do: CodeUnavailable to
// try again, CodeExists for a row that is there already, CodeStorage for the rest. An
// error that has a code keeps it.
func storageError(op string, err error) error {
	var coded *protocol.Error
	if errors.As(err, &coded) {
		return err
	}
	switch sqliteCode(err) & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return protocol.Errorf(protocol.CodeUnavailable, "store: %s: %w", op, err)
	case sqlite3.SQLITE_CONSTRAINT:
		return protocol.Errorf(protocol.CodeExists, "store: %s: %w", op, err)
	default:
		return protocol.Errorf(protocol.CodeStorage, "store: %s: %w", op, err)
	}
}

// openError says what is wrong with the file at path in words that an operator can act
// upon.
func openError(path string, err error) error {
	var coded *protocol.Error
	if errors.As(err, &coded) && sqliteCode(err) == 0 {
		return err
	}
	switch sqliteCode(err) & 0xff {
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return protocol.Errorf(protocol.CodeStorage,
			"open store %q: the file is damaged or is no store: %w; put a backup in its place", path, err)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return protocol.Errorf(protocol.CodeUnavailable, "open store %q: another program holds it: %w", path, err)
	case sqlite3.SQLITE_CANTOPEN:
		return protocol.Errorf(protocol.CodeStorage, "open store %q: cannot open or make it in %q: %w",
			path, filepath.Dir(path), err)
	default:
		return protocol.Errorf(protocol.CodeStorage, "open store %q: %w", path, err)
	}
}

// sqliteCode returns SQLite's code in err's chain, 0 for none.
func sqliteCode(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}
