package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/stavily/stavily/protocol"
)

// Tx is a transaction: all of it or nothing. It is used by one goroutine, and its
// statements end with it; queries have ? for arguments. Every text is prepared once
// per connection, so texts are constants and values are arguments.
type Tx struct {
	home    chan *session // where the session goes back to
	session *session
}

// Begin waits for the one writer's place, or until ctx ends or the store is closed, and
// begins a transaction. Commit or Rollback must follow.
func (s *Store) Begin(ctx context.Context) (*Tx, error) {
	return s.begin(ctx, s.writer, "BEGIN IMMEDIATE")
}

func (s *Store) begin(ctx context.Context, from chan *session, how string) (*Tx, error) {
	session, err := s.take(ctx, from)
	if err != nil {
		return nil, err
	}
	if err := session.exec(how); err != nil {
		from <- session
		return nil, storageError("begin", err)
	}
	return &Tx{home: from, session: session}, nil
}

// take waits for a session of from, which the caller gives back.
func (s *Store) take(ctx context.Context, from chan *session) (*session, error) {
	select {
	case <-s.closed: // first of all: a free session may still lie there
		return nil, protocol.Errorf(protocol.CodeUnavailable, "begin: store %q is closed", s.path)
	default:
	}
	select {
	case <-s.closed:
		return nil, protocol.Errorf(protocol.CodeUnavailable, "begin: store %q is closed", s.path)
	case <-ctx.Done():
		return nil, fmt.Errorf("begin: store %q: %w", s.path, ctx.Err())
	case session := <-from:
		return session, nil
	}
}

// Update runs f in a transaction: committed when f returns nil, undone otherwise, also
// when f panics. f's error comes back as it is.
func (s *Store) Update(ctx context.Context, f func(*Tx) error) error {
	tx, err := s.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// View runs f on one unchanging picture of the store, beside the writer. Statements
// that write fail in a file and are undone in memory.
func (s *Store) View(ctx context.Context, f func(*Tx) error) error {
	tx, err := s.begin(ctx, s.readers, "BEGIN")
	if err != nil {
		return err
	}
	defer tx.Rollback()
	return f(tx)
}

// Exec runs a statement that gives no rows.
func (tx *Tx) Exec(query string, args ...any) (sql.Result, error) {
	stmt, err := tx.prepared(query)
	if err != nil {
		return nil, err
	}
	res, err := stmt.Exec(args...)
	if err != nil {
		return nil, storageError("write", err)
	}
	return res, nil
}

// Query runs a statement that gives rows. They must be closed before Commit; Collect
// does it.
func (tx *Tx) Query(query string, args ...any) (*sql.Rows, error) {
	stmt, err := tx.prepared(query)
	if err != nil {
		return nil, err
	}
	rows, err := stmt.Query(args...)
	if err != nil {
		return nil, storageError("read", err)
	}
	return rows, nil
}

// QueryRow runs a statement that gives at most one row. Scan's error is sql.ErrNoRows
// when there is none.
func (tx *Tx) QueryRow(query string, args ...any) Row {
	stmt, err := tx.prepared(query)
	if err != nil {
		return Row{err: err}
	}
	return Row{row: stmt.QueryRow(args...)}
}

// Commit makes the transaction last: when it returns nil, the changes survive a power
// cut. When it fails, the transaction is undone.
func (tx *Tx) Commit() error {
	if tx.session == nil {
		return protocol.Errorf(protocol.CodeInternal, "commit: the transaction has ended before")
	}
	if err := tx.session.exec("COMMIT"); err != nil {
		tx.Rollback()
		return storageError("commit", err)
	}
	tx.end()
	return nil
}

// Rollback undoes the transaction. After Commit it does nothing, so it may be deferred.
func (tx *Tx) Rollback() {
	if tx.session == nil {
		return
	}
	_ = tx.session.exec("ROLLBACK") // fails only when SQLite has undone it by itself, as on a full disk
	tx.end()
}

func (tx *Tx) end() {
	tx.home <- tx.session
	tx.session = nil
}

func (tx *Tx) prepared(query string) (*sql.Stmt, error) {
	if tx.session == nil {
		return nil, protocol.Errorf(protocol.CodeInternal, "query: the transaction has ended before")
	}
	stmt, err := tx.session.prepared(query)
	if err != nil {
		return nil, storageError("prepare", err)
	}
	return stmt, nil
}

// Row is the answer of QueryRow.
type Row struct {
	row *sql.Row
	err error
}

// Scan copies the row's columns.
func (r Row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	err := r.row.Scan(dest...)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return storageError("read", err)
	}
	return err
}

var _ Scanner = Row{}
