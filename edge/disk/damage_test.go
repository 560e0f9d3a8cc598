package disk_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/disk"
	"github.com/stavily/stavily/protocol"
)

// outKey is the key of a record of the event lane.
func outKey(n int) string { return fmt.Sprintf("out/1/%016x/%016x", 1, n) }

// fill writes n records and with each a small key, enough for some segments.
func fill(t *testing.T, dir string, n int) {
	t.Helper()
	s := open(t, dir)
	for i := 1; i <= n; i++ {
		err := s.ApplyLater([]edge.Change{
			{Key: outKey(i), Value: bytes.Repeat([]byte{byte(i)}, 3000)},
			{Key: fmt.Sprint("small/", i%10), Value: fmt.Append(nil, i)},
		})
		if i%100 == 0 && err == nil {
			err = s.Sync() // each frame behind it proves that this was durable
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// segments returns the paths of the journal's segments, oldest first.
func segments(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "journal", "????????????????"))
	if err != nil || len(all) == 0 {
		t.Fatalf("segments: %v, %v", all, err)
	}
	return all
}

// Whatever the flash does to a segment, the agent starts: what cannot be read is set aside
// and counted, all else is there, and the identity stays (D-8, complaint 14).
func TestDamage(t *testing.T) {
	const records = 1500
	for _, c := range []struct {
		name  string
		spoil func(segments []string) (path string, b []byte)
		lost  int // records at most
	}{
		{"a byte in the oldest", func(all []string) (string, []byte) { return flip(all[0], 500_000) }, 1},
		{"the beginning of the oldest", func(all []string) (string, []byte) { return zero(all[0], 0, 64<<10) }, 25},
		{"a page in the one before the last", func(all []string) (string, []byte) {
			return zero(all[len(all)-2], 400<<10, 404<<10)
		}, 3},
		{"the snapshot of the last", func(all []string) (string, []byte) { return flip(all[len(all)-1], 40) }, 0},
		{"a page behind the snapshot of the last", func(all []string) (string, []byte) {
			return zero(all[len(all)-1], 40<<10, 44<<10)
		}, 3},
		{"all of one", func(all []string) (string, []byte) { return zero(all[1], 0, 2<<20) }, 360},
		{"one gone", func(all []string) (string, []byte) { return all[1], nil }, 360},
		{"one of other content", func(all []string) (string, []byte) {
			return all[1], bytes.Repeat([]byte("no segment "), 90_000)
		}, 360},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			id, err := disk.OpenIdentity(dir)
			if err != nil {
				t.Fatal(err)
			}
			want := disk.Enrolment{Address: protocol.Address{Site: "s", Agent: "a"}, Epoch: 3}
			if err := id.Enrol(want); err != nil {
				t.Fatal(err)
			}
			fill(t, dir, records)
			path, b := c.spoil(segments(t, dir))
			if err = os.Remove(path); err == nil && b != nil {
				err = os.WriteFile(path, b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			s := open(t, dir)
			n := 0
			err = s.Scan("out/1/", "", func(key string, value []byte) bool {
				i, _ := strconv.ParseUint(key[len(key)-16:], 16, 64)
				if !bytes.Equal(value, bytes.Repeat([]byte{byte(i)}, 3000)) {
					t.Errorf("record %q is another", key)
				}
				n++
				return true
			})
			if err != nil || n < records-c.lost || c.lost > 0 && n == records {
				t.Fatalf("%d records, %v; want %d but for %d", n, err, records, c.lost)
			}
			for i := range 10 {
				if v, err := s.Get(fmt.Sprint("small/", i)); err != nil || v == nil || c.lost < 3 && string(v) < "1490" {
					t.Fatalf("small key %d: %q, %v", i, v, err)
				}
			}
			if b != nil && s.Damage().Parts == 0 {
				t.Fatal("nobody is told")
			}
			if err := s.Apply([]edge.Change{{Key: "k", Value: []byte("v")}}); err != nil {
				t.Fatalf("write after it: %v", err)
			}
			if got, err := id.Enrolment(); err != nil || got.Epoch != want.Epoch || got.Address != want.Address {
				t.Fatalf("identity: %+v, %v", got, err)
			}
		})
	}
}

func flip(path string, at int) (string, []byte) {
	b, _ := os.ReadFile(path)
	b[at] ^= 1
	return path, b
}

func zero(path string, from, to int) (string, []byte) {
	b, _ := os.ReadFile(path)
	clear(b[min(from, len(b)):min(to, len(b))])
	return path, b
}

// The state of an agent of before comes along, with all of its records.
func TestOldState(t *testing.T) {
	for _, c := range []struct {
		name    string
		records int
		spoil   int // a page is empty there; 0: all is whole
	}{{"none", 0, 0}, {"few", 7, 0}, {"many", 5000, 0}, {"a page is lost", 5000, 100 * 4096}} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			old := filepath.Join(dir, "state.db")
			oldState(t, old, c.records)
			if c.spoil > 0 {
				path, b := zero(old, c.spoil, c.spoil+4096)
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				s := open(t, dir)
				if v, err := s.Get("boot"); string(v) != "7" || err != nil {
					t.Fatalf("boot: %q, %v", v, err)
				}
				n := 0
				if err := s.Scan("out/1/", "", func(key string, value []byte) bool {
					n++
					return key == outKey(n) && string(value) == fmt.Sprint("record ", n, string(make([]byte, 200)))
				}); err != nil || n != c.records && (c.spoil == 0 || n < 100) {
					t.Fatalf("%d records, %v, want %d", n, err, c.records)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := os.Stat(old); err == nil {
				t.Fatal("the old state is still there")
			}
			if _, err := os.Stat(old + ".bad"); (err == nil) != (c.spoil > 0) {
				t.Fatalf("what was not readable: %v", err)
			}
		})
	}
}

func oldState(t *testing.T, path string, records int) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte("kv"))
		if err == nil {
			err = b.Put([]byte("boot"), []byte("7"))
		}
		for n := 1; n <= records && err == nil; n++ {
			err = b.Put([]byte(outKey(n)), fmt.Append(nil, "record ", n, string(make([]byte, 200))))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
