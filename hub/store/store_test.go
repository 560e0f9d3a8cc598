package store

import (
	"context"
	"path/filepath"
	"testing"
)

func TestOpenSmoke(t *testing.T) {
	for _, path := range []string{Memory, filepath.Join(t.TempDir(), "hub 100%?#.db")} {
		s, err := Open(context.Background(), path)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Update(context.Background(), func(tx *Tx) error {
			return tx.PutEntry(Entry{Book: "b", Key: "k", Value: []byte("v")})
		}); err != nil {
			t.Fatal(err)
		}
		if err := s.View(context.Background(), func(tx *Tx) error {
			v, err := tx.Entry("b", "k")
			if string(v) != "v" {
				t.Errorf("got %q", v)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if err := s.Check(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
