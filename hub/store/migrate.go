package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/stavily/stavily/protocol"

	"github.com/pressly/goose/v3"
)

// migrationFiles are the steps of the schema. A step that was in a release is never
// changed; the next change is a new file.
//
//go:embed migrations/*.sql
var migrationFiles embed.FS

// applicationID stands in the header of every store ("stav").
const applicationID = 0x73746176

// recognise refuses a file that is not a hub's, before anything is written to it.
func (s *Store) recognise(ctx context.Context) error {
	var id, tables int
	if err := s.db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return err
	}
	if err := s.db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return err
	}
	switch {
	case id == applicationID:
		return nil
	case tables > 0:
		return protocol.Errorf(protocol.CodeStorage, "open store %q: a SQLite file, but not a hub's", s.path)
	}
	_, err := s.db.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", applicationID))
	return err
}

// migrate brings the schema up to date, after a backup when there is something to lose.
func (s *Store) migrate(ctx context.Context) error {
	steps, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return err
	}
	return s.migrateWith(ctx, steps)
}

func (s *Store) migrateWith(ctx context.Context, steps fs.FS) error {
	// The provider is not closed: that would close s.db.
	provider, err := goose.NewProvider(goose.DialectSQLite3, s.db, steps, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	have, want, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the schema's version: %w", err)
	}
	switch {
	case have > want:
		return protocol.Errorf(protocol.CodeIncompatible,
			"open store %q: schema version %d is of a newer hub, this one has %d; run that hub, or put back %q",
			s.path, have, want, backupName(s.path, want))
	case have == want:
		return nil
	case have > 0 && s.path != Memory:
		if err := replaceBackup(ctx, s.db, backupName(s.path, have)); err != nil {
			return fmt.Errorf("back up before migrating: %w", err)
		}
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate from version %d to %d: %w", have, want, err)
	}
	return nil
}

func backupName(path string, version int64) string { return fmt.Sprintf("%s.v%d.bak", path, version) }

// replaceBackup writes the backup beside its place and moves it there, so that an
// older one of the same name is lost only when the new one is whole.
func replaceBackup(ctx context.Context, db *sql.DB, path string) error {
	temp := path + ".new"
	if err := os.Remove(temp); err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := backup(ctx, db, temp); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return syncPath(filepath.Dir(path))
}

// backup writes a consistent copy of the whole store to path and waits for the disk.
func backup(ctx context.Context, db execer, path string) error {
	quoted := "'" + strings.ReplaceAll(path, "'", "''") + "'"
	if _, err := db.ExecContext(ctx, "VACUUM INTO "+quoted); err != nil {
		return err
	}
	return syncPath(path)
}

// execer is a connection or all of them.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
