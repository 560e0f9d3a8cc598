package store

import (
	"database/sql"
	"errors"
	"time"

	"github.com/stavily/stavily/protocol"
)

// Scanner is a row, alone or among others.
type Scanner interface {
	Scan(dest ...any) error
}

// Collect reads all rows with scan and closes them. It takes what Query returns:
//
//	rows, err := tx.Query(...)
//	return store.Collect(rows, err, scanAgent)
func Collect[T any](rows *sql.Rows, err error, scan func(Scanner) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, storageError("read", err)
		}
		all = append(all, one)
	}
	if err := rows.Err(); err != nil {
		return nil, storageError("read", err)
	}
	return all, nil
}

// None reports whether err says that a row is not there.
func None(err error) bool { return errors.Is(err, sql.ErrNoRows) }

// Changed returns how many rows a statement changed. It takes what Exec returns.
func Changed(res sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, storageError("write", err)
	}
	return n, nil
}

// Millis returns t as the books hold it, in ms since 1970; 0 for the zero time.
func Millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// Time returns what Millis was made of, in UTC and whole milliseconds.
func Time(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// Signed and Unsigned carry a counter of 64 bits through a column, which is signed.
// The largest half of the counters sorts first in SQL; Go compares them rightly.
func Signed(n uint64) int64 { return int64(n) }

// Unsigned returns what Signed was made of.
func Unsigned(n int64) uint64 { return uint64(n) }

// DigestColumn lets a digest be scanned from its column of 32 bytes, or of none for the
// zero digest.
type DigestColumn struct{ To *protocol.Digest }

// Scan takes the column's value.
func (c DigestColumn) Scan(v any) error {
	b, _ := v.([]byte)
	switch {
	case len(b) == 0:
		*c.To = protocol.Digest{}
	case len(b) == len(c.To):
		copy(c.To[:], b)
	default:
		return protocol.Errorf(protocol.CodeStorage, "digest column: %d bytes, want %d", len(b), len(c.To))
	}
	return nil
}

// DigestBytes returns d for its column: nil for the zero digest.
func DigestBytes(d protocol.Digest) []byte {
	if d.IsZero() {
		return nil
	}
	return d[:]
}

var _ sql.Scanner = DigestColumn{}
