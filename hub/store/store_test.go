package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stavily/stavily/protocol"
)

func mustOpen(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func put(s *Store, key, value string) error {
	return s.Update(context.Background(), func(tx *Tx) error {
		return tx.PutEntry(Entry{Book: "test", Key: key, Value: []byte(value)})
	})
}

func get(s *Store, key string) (value string, err error) {
	err = s.View(context.Background(), func(tx *Tx) error {
		b, err := tx.Entry("test", key)
		value = string(b)
		return err
	})
	return value, err
}

func TestKeepsOverReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hub 100%?#&'.db") // nothing in a path may reach the driver's syntax
	s := mustOpen(t, path)
	if err := put(s, "k", "v"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil { // Close is idempotent
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the store lies elsewhere: %v", err)
	}
	if _, err := s.Begin(context.Background()); protocol.CodeOf(err) != protocol.CodeUnavailable {
		t.Errorf("begin after close: %v", err)
	}
	s = mustOpen(t, path)
	if v, err := get(s, "k"); v != "v" || err != nil {
		t.Errorf("got %q, %v", v, err)
	}
	if err := s.Check(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestEntries(t *testing.T) {
	s := mustOpen(t, Memory)
	for _, key := range []string{"b", "a"} {
		if err := errors.Join(put(s, key, "1"), put(s, key, key)); err != nil {
			t.Fatal(err)
		}
	}
	err := s.Update(context.Background(), func(tx *Tx) error {
		all, err := tx.Entries("test")
		if err != nil || len(all) != 2 || all[0].Key != "a" || string(all[1].Value) != "b" {
			t.Errorf("got %+v, %v", all, err)
		}
		if err := tx.PutEntry(Entry{Book: "test", Key: "nil"}); err != nil {
			t.Error(err)
		}
		if err := tx.DropEntry("test", "a"); err != nil {
			t.Error(err)
		}
		if err := tx.DropEntry("test", "a"); protocol.CodeOf(err) != protocol.CodeNotFound {
			t.Errorf("drop twice: %v", err)
		}
		if _, err := tx.Entry("test", "a"); protocol.CodeOf(err) != protocol.CodeNotFound {
			t.Errorf("after drop: %v", err)
		}
		err = tx.PutEntry(Entry{Book: "test", Key: "big", Value: make([]byte, documentMax+1)})
		if protocol.CodeOf(err) != protocol.CodeLimit {
			t.Errorf("too big: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestUpdateIsAllOrNothing(t *testing.T) {
	for _, path := range []string{Memory, filepath.Join(t.TempDir(), "hub.db")} {
		s := mustOpen(t, path)
		stop := errors.New("stop")
		err := s.Update(context.Background(), func(tx *Tx) error {
			return errors.Join(tx.PutEntry(Entry{Book: "test", Key: "k"}), stop)
		})
		if !errors.Is(err, stop) {
			t.Errorf("%s: got %v", path, err)
		}
		func() {
			defer func() { _ = recover() }()
			_ = s.Update(context.Background(), func(tx *Tx) error {
				_ = tx.PutEntry(Entry{Book: "test", Key: "k"})
				panic("f's own")
			})
		}()
		if _, err := get(s, "k"); protocol.CodeOf(err) != protocol.CodeNotFound {
			t.Errorf("%s: undone, but got %v", path, err)
		}
		if err := put(s, "k", "v"); err != nil { // the writer's place is free again
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestTransactionEnds(t *testing.T) {
	s := mustOpen(t, Memory)
	tx, err := s.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Begin(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("second writer: %v", err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	tx.Rollback() // does nothing
	if err := tx.Commit(); err == nil {
		t.Error("committed twice")
	}
	if _, err := tx.Exec("SELECT 1"); err == nil {
		t.Error("used after its end")
	}
	if err := tx.QueryRow("SELECT 1").Scan(new(int)); err == nil || errors.Is(err, sql.ErrNoRows) {
		t.Errorf("used after its end: %v", err)
	}
}

func TestViewSeesOnePictureAndCannotWrite(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "hub.db"))
	if err := put(s, "k", "old"); err != nil {
		t.Fatal(err)
	}
	err := s.View(context.Background(), func(tx *Tx) error {
		if _, err := tx.Entry("test", "k"); err != nil {
			return err
		}
		if err := put(s, "k", "new"); err != nil { // the writer goes on meanwhile
			return err
		}
		if v, err := tx.Entry("test", "k"); string(v) != "old" || err != nil {
			t.Errorf("got %q, %v, want old", v, err)
		}
		if err := tx.PutEntry(Entry{Book: "test", Key: "x"}); err == nil {
			t.Error("a view wrote")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := get(s, "k"); v != "new" || err != nil {
		t.Errorf("got %q, %v, want new", v, err)
	}
}

func TestManyAtOnce(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "hub.db"))
	if err := put(s, "n", ""); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 10 {
				err := s.Update(context.Background(), func(tx *Tx) error {
					b, err := tx.Entry("test", "n")
					return errors.Join(err, tx.PutEntry(Entry{Book: "test", Key: "n", Value: append(b, '.')}))
				})
				if _, viewErr := get(s, "n"); err != nil || viewErr != nil {
					t.Error(err, viewErr)
				}
			}
		}()
	}
	wg.Wait()
	if v, err := get(s, "n"); len(v) != 80 || err != nil {
		t.Errorf("%d updates kept, want 80 (%v)", len(v), err)
	}
}

func TestOneHubPerHome(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hub.db")
	s := mustOpen(t, path)
	_, err := Open(context.Background(), path)
	if protocol.CodeOf(err) != protocol.CodeUnavailable || !strings.Contains(err.Error(),
		"is used by another hub") {
		t.Errorf("got %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, path)
}

func TestRefusesWhatIsNoStore(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other.db")
	db, err := sql.Open("sqlite", other)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("CREATE TABLE t (a)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(dir, "text.db")
	if err := os.WriteFile(text, bytes.Repeat([]byte("no store "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(dir, "cut.db")
	whole := mustOpen(t, cut)
	if err := errors.Join(put(whole, "k", "v"), whole.Close()); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(cut, 4096); err != nil { // the header says more
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		other: "not a hub's", text: "damaged or is no store", cut: "damaged or is no store",
		filepath.Join(dir, "none", "hub.db"): "no such file", dir: dir,
	} {
		s, err := Open(context.Background(), path)
		if err == nil {
			err = errors.Join(errors.New("opened"), s.Close())
		}
		if protocol.CodeOf(err) != protocol.CodeStorage || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", filepath.Base(path), err, want)
		}
	}
}

func TestCheckFindsDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hub.db")
	s := mustOpen(t, path)
	for i := range 200 {
		if err := put(s, fmt.Sprint(i), strings.Repeat("x", 3000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(b[len(b)/2:], bytes.Repeat([]byte{0xa5}, 8192))
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, path)
	if err := s.Check(context.Background()); protocol.CodeOf(err) != protocol.CodeStorage {
		t.Errorf("got %v", err)
	}
}

// openAt opens a store with only the first migrations, as an older hub would have.
func openAt(t *testing.T, path string, steps fs.FS) *Store {
	t.Helper()
	db, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	s := &Store{path: path, db: db}
	if err := errors.Join(s.recognise(context.Background()), s.migrateWith(context.Background(),
		steps)); err != nil {
		t.Fatal(err)
	}
	return s
}

// migrations returns the files of the first n migrations.
func migrations(t *testing.T, n int) fstest.MapFS {
	t.Helper()
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil || len(names) < 2 {
		t.Fatalf("migrations %v, %v", names, err)
	}
	some := fstest.MapFS{}
	for _, name := range names[:min(n, len(names))] {
		b, err := migrationFiles.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		some[filepath.Base(name)] = &fstest.MapFile{Data: b}
	}
	return some
}

func TestMigratesFromEveryVersion(t *testing.T) {
	total := len(migrations(t, 1000))
	for version := 1; version < total; version++ {
		path := filepath.Join(t.TempDir(), "hub.db")
		old := openAt(t, path, migrations(t, version))
		_, err := old.db.Exec(`INSERT INTO plugin (name, type, repository, credential, allowed_signers,
			description, added)
			VALUES ('kept', 'action', 'r', '', '', '', 1)`)
		if err := errors.Join(err, old.db.Close()); err != nil {
			t.Fatal(err)
		}
		s := mustOpen(t, path)
		if err := put(s, "k", "v"); err != nil { // the last migration's table
			t.Errorf("from version %d: %v", version, err)
		}
		if err := errors.Join(s.Close()); err != nil {
			t.Fatal(err)
		}
		// The backup is the store as it was, and an older hub may go on with it.
		backup := openAt(t, backupName(path, int64(version)), migrations(t, version))
		var name string
		if err := backup.db.QueryRow("SELECT name FROM plugin").Scan(&name); err != nil || name != "kept" {
			t.Errorf("backup of version %d: %q, %v", version, name, err)
		}
		if err := backup.db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRefusesNewerSchema(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hub.db")
	newer := migrations(t, 1000)
	newer["09999_future.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE future (a TEXT);\n")}
	if err := openAt(t, path, newer).db.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(context.Background(), path)
	if protocol.CodeOf(err) != protocol.CodeIncompatible || !strings.Contains(err.Error(), "of a newer hub") {
		t.Errorf("got %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("a refused store was changed (%v)", err)
	}
}

// A migration that fails leaves the store as it was, with the backup beside it.
func TestFailedMigrationChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hub.db")
	s := openAt(t, path, migrations(t, 1))
	bad := migrations(t, 1)
	bad["00002_bad.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE half (a TEXT);\nNONSENSE;\n")}
	err := s.migrateWith(context.Background(), bad)
	if err == nil || !strings.Contains(err.Error(), "from version 1 to 2") {
		t.Fatalf("got %v", err)
	}
	var n int
	if err := s.db.QueryRow("SELECT count(*) FROM sqlite_schema WHERE name = 'half'").Scan(&n); err != nil || n != 0 {
		t.Errorf("half a migration stays (%v)", err)
	}
	if _, err := os.Stat(backupName(path, 1)); err != nil {
		t.Error(err)
	}
	if err := s.db.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, path)
}

func TestMigrationsGoDownAgain(t *testing.T) {
	s := openAt(t, Memory, migrations(t, 1000))
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for i := len(names) - 1; i >= 0; i-- {
		b, err := migrationFiles.ReadFile(names[i])
		if err != nil {
			t.Fatal(err)
		}
		_, down, ok := strings.Cut(string(b), "-- +goose Down")
		if !ok {
			t.Fatalf("%s has no way down", names[i])
		}
		if _, err := s.db.Exec(down); err != nil {
			t.Errorf("%s: %v", names[i], err)
		}
	}
	var left int
	err = s.db.QueryRow(`SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'goose%' AND name NOT LIKE
		'sqlite%'`).
		Scan(&left)
	if err := errors.Join(err, s.db.Close()); err != nil || left != 0 {
		t.Errorf("%d tables left (%v)", left, err)
	}
}

func TestBackup(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, filepath.Join(dir, "hub.db"))
	if err := put(s, "k", "v"); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(dir, "it's a copy.db")
	if err := s.Backup(context.Background(), to); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(context.Background(), to); err == nil {
		t.Error("a backup wrote over another")
	}
	if v, err := get(mustOpen(t, to), "k"); v != "v" || err != nil {
		t.Errorf("got %q, %v", v, err)
	}
}

func TestColumns(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_123).UTC()
	if got := Time(Millis(now)); !got.Equal(now) {
		t.Errorf("time %v, want %v", got, now)
	}
	if !Time(Millis(time.Time{})).IsZero() {
		t.Error("the zero time does not come back")
	}
	if got := Unsigned(Signed(1<<64 - 1)); got != 1<<64-1 {
		t.Errorf("counter %d", got)
	}
	want := protocol.DigestOf([]byte("x"))
	var got protocol.Digest
	if err := (DigestColumn{&got}).Scan(DigestBytes(want)); err != nil || got != want {
		t.Errorf("digest %s, %v", got.Short(), err)
	}
	if err := (DigestColumn{&got}).Scan(DigestBytes(protocol.Digest{})); err != nil || !got.IsZero() {
		t.Errorf("zero digest %s, %v", got.Short(), err)
	}
	if err := (DigestColumn{&got}).Scan([]byte{1}); err == nil {
		t.Error("a short digest was taken")
	}
}
