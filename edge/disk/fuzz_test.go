package disk

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// FuzzSegment opens a journal whose segments hold anything, the last a good frame of
// anything: it opens, reads to an end, and keeps what is written to it then.
func FuzzSegment(f *testing.F) {
	story := newStory(newCutFS(rand.New(rand.NewPCG(1, 1))), 1)
	if err := story.tell(40); err != nil {
		f.Fatal(err)
	}
	for name, n := range story.fs.files {
		var number uint64
		if len(filepath.Base(name)) == 16 {
			number, _ = strconv.ParseUint(filepath.Base(name), 16, 64)
			length := lengthOf(n.data, place{segment: number})
			f.Add(number, n.data, n.data[headerSize:headerSize+length])
			f.Add(number, n.data, n.data[min(2*headerSize+length, len(n.data)):])
		}
	}
	f.Add(uint64(1), []byte{}, []byte{1})
	f.Fuzz(func(t *testing.T, number uint64, first, last []byte) {
		number = max(number, 1) % (1 << 62)
		fs := newCutFS(rand.New(rand.NewPCG(1, 1)))
		j := &journal{dir: "j"}
		sealed := append(make([]byte, headerSize), last...)
		seal(sealed, place{segment: number + 2<<32})
		for i, b := range [][]byte{first, last, sealed} {
			n := &inode{data: b, durable: b}
			name := j.path(number + uint64(i)<<32)
			fs.files[name], fs.durable[name] = n, n
		}
		j, err := openJournal(fs, "j", quiet, storySegment)
		if err != nil {
			t.Fatalf("open: %v", err)
		}
		was := dump(j)
		keep := edge.Change{Key: edge.RecordKey(1, protocol.Mark{Boot: 1 << 63, Sequence: 1}), Value: []byte("kept")}
		if err := j.apply([]edge.Change{{Key: "kept", Value: []byte("too")}, keep}, true); err != nil {
			t.Fatalf("write: %v", err)
		}
		if j, err = openJournal(fs.survive(leavesNone), "j", quiet, storySegment); err != nil {
			t.Fatalf("open again: %v", err)
		}
		if got := j.get("kept"); string(got) != "too" {
			t.Fatalf("what was written is %q; before it there was %q", got, was)
		}
	})
}

// FuzzBolt reads anything as the state of an agent of before: it ends, with an error or
// without.
func FuzzBolt(f *testing.F) {
	f.Add([]byte("no database"))
	path := filepath.Join(f.TempDir(), "state.db")
	for _, n := range []int{0, 3, 300} {
		f.Add(boltFile(f, path, n))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		in, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		n := 0
		_ = readBolt(in, "kv", func(_, _ []byte) error {
			if n++; n > 1_000_000 {
				t.Fatal("more keys than the file has bytes for")
			}
			return nil
		})
	})
}

// boltFile returns a bbolt file with n keys.
func boltFile(tb testing.TB, path string, n int) []byte {
	tb.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true, PageSize: 1024})
	if err != nil {
		tb.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte("kv"))
		for i := 0; i < n && err == nil; i++ {
			err = b.Put(fmt.Append(nil, "key ", i), make([]byte, i))
		}
		return err
	})
	if err = errors.Join(err, db.Close()); err != nil {
		tb.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		tb.Fatal(err)
	}
	return b
}
