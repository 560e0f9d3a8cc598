package store

import (
	"context"
	"database/sql"
	"fmt"
)

// statementsMax bounds the prepared statements that one session keeps. The hub has
// fewer than a hundred texts; only a caller that builds texts comes near it.
const statementsMax = 512

// session is one connection with the statements prepared on it. It is owned by one
// transaction at a time.
type session struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
}

func newSession(ctx context.Context, db *sql.DB, readOnly bool) (*session, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	if readOnly {
		if _, err := conn.ExecContext(ctx, "PRAGMA query_only = 1"); err != nil {
			return nil, fmt.Errorf("set a reader up: %w", err)
		}
	}
	return &session{conn: conn, stmts: map[string]*sql.Stmt{}}, nil
}

// prepared returns the statement of query. It takes no context: the driver starts a
// goroutine for every call whose context can end, which costs more than the call.
func (s *session) prepared(query string) (*sql.Stmt, error) {
	if stmt, ok := s.stmts[query]; ok {
		return stmt, nil
	}
	if len(s.stmts) >= statementsMax {
		for _, stmt := range s.stmts {
			_ = stmt.Close() // it holds nothing that is not prepared again
		}
		clear(s.stmts)
	}
	stmt, err := s.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	s.stmts[query] = stmt
	return stmt, nil
}

func (s *session) exec(query string) error {
	stmt, err := s.prepared(query)
	if err != nil {
		return err
	}
	_, err = stmt.Exec()
	return err
}

func (s *session) close() {
	for _, stmt := range s.stmts {
		_ = stmt.Close() // closing the connection frees whatever is left
	}
	_ = s.conn.Close()
}
