package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// Run holds a store to the promises of edge.Store. open returns the store of one
// disk, empty at first; each later call returns it as a new process would find it.
func Run(t *testing.T, fresh func(t *testing.T) (open func() edge.Store)) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(t *testing.T, open func() edge.Store)
	}{
		{"values", testValues},
		{"order", testOrder},
		{"scan", testScan},
		{"many", testMany},
		{"chunks", testChunks},
		{"wrong file", testWrongFile},
		{"other size", testOtherSize},
		{"keep", testKeep},
		{"lane", testLane},
		{"lanes", testLanes},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, fresh(t)) })
	}
}

func testValues(t *testing.T, open func() edge.Store) {
	s := open()
	if v, err := s.Get("none"); v != nil || err != nil {
		t.Fatalf("get of no key: %q, %v", v, err)
	}
	apply(t, s, edge.Change{Key: "a", Value: []byte("1")}, edge.Change{Key: "b", Value: []byte{}})
	s = open()
	if v, err := s.Get("a"); string(v) != "1" || err != nil {
		t.Fatalf("get: %q, %v", v, err)
	}
	if v, err := s.Get("b"); v == nil || len(v) != 0 || err != nil {
		t.Fatalf("get of an empty value: %v, %v", v, err)
	}
	apply(t, s, edge.Change{Key: "a"}, edge.Change{Key: "none"})
	if v, err := open().Get("a"); v != nil || err != nil {
		t.Fatalf("get of a removed key: %q, %v", v, err)
	}
}

func testOrder(t *testing.T, open func() edge.Store) {
	s := open()
	apply(t, s, edge.Change{Key: "k", Value: []byte("1")}, edge.Change{Key: "k", Value: []byte("2")},
		edge.Change{Key: "gone", Value: []byte("1")}, edge.Change{Key: "gone"})
	if v, _ := s.Get("k"); string(v) != "2" {
		t.Fatalf("k is %q: changes were not made in order", v)
	}
	if v, _ := s.Get("gone"); v != nil {
		t.Fatalf("gone is %q: changes were not made in order", v)
	}
}

func testScan(t *testing.T, open func() edge.Store) {
	s := open()
	var changes []edge.Change
	for _, key := range []string{"b/2", "a/9", "b/10", "b/1", "c", "b"} {
		changes = append(changes, edge.Change{Key: key, Value: []byte("v" + key)})
	}
	apply(t, s, changes...)
	for _, c := range []struct {
		prefix, from string
		most         int
		want         []string
	}{
		{"b/", "", 9, []string{"b/1", "b/10", "b/2"}},
		{"b/", "b/10", 9, []string{"b/10", "b/2"}},
		{"b/", "b/10\x00", 9, []string{"b/2"}},
		{"b/", "", 1, []string{"b/1"}},
		{"d", "", 9, nil},
		{"b/", "b/3", 9, nil},
		{"", "", 9, []string{"a/9", "b", "b/1", "b/10", "b/2", "c"}},
	} {
		var got []string
		err := s.Scan(c.prefix, c.from, func(key string, value []byte) bool {
			if string(value) != "v"+key {
				t.Errorf("scan: %q has %q", key, value)
			}
			got = append(got, key)
			return len(got) < c.most
		})
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("scan %q from %q: %q, %v, want %q", c.prefix, c.from, got, err, c.want)
		}
	}
}

func testMany(t *testing.T, open func() edge.Store) {
	s := open()
	for i := range 50 {
		var changes []edge.Change
		for j := range 20 {
			changes = append(changes, edge.Change{
				Key: fmt.Sprintf("k/%03d/%03d", i, j), Value: bytes.Repeat([]byte{byte(i)}, 300),
			})
		}
		apply(t, s, changes...)
	}
	n, last := 0, ""
	if err := open().Scan("k/", "", func(key string, _ []byte) bool {
		if key <= last {
			t.Fatalf("scan: %q after %q", key, last)
		}
		n, last = n+1, key
		return true
	}); err != nil || n != 1000 {
		t.Fatalf("scan: %d keys, %v, want 1000", n, err)
	}
}

// file returns a file of some chunks and a bit.
func file(chunks int) (protocol.Digest, []byte) {
	b := bytes.Repeat([]byte("stavily "), chunks*protocol.ChunkSize/8)
	b = append(b, "tail"...)
	return protocol.DigestOf(b), b
}

func chunkOf(b []byte, i int) []byte {
	return b[i*protocol.ChunkSize : min((i+1)*protocol.ChunkSize, len(b))]
}

// testChunks has them come in any order, and twice, with a new start after each.
func testChunks(t *testing.T, open func() edge.Store) {
	d, b := file(3)
	size := int64(len(b))
	want := held{}
	for _, i := range []uint32{2, 0, 3, 1} {
		s := open() // a cut after each chunk
		wantChunks(t, s, protocol.File{Digest: d, Size: size}, want)
		if _, err := s.ReadFile(d); protocol.CodeOf(err) != protocol.CodeNotFound {
			t.Fatalf("read of a file that is not whole: %v", err)
		}
		if _, _, err := s.ReadChunk(d, i); protocol.CodeOf(err) != protocol.CodeNotFound {
			t.Fatalf("read of a chunk of a file that is not whole: %v", err)
		}
		if err := s.AddChunk(d, i, size, chunkOf(b, int(i))[1:]); err == nil {
			t.Fatal("a short chunk was taken")
		}
		for range 2 {
			if err := s.AddChunk(d, i, size, chunkOf(b, int(i))); err != nil {
				t.Fatal(err)
			}
		}
		want.chunks = want.chunks.Set(i)
	}
	s := open()
	wantChunks(t, s, protocol.File{Digest: d, Size: size}, held{whole: true})
	if got, err := s.ReadFile(d); err != nil || !bytes.Equal(got, b) {
		t.Fatalf("read: %d bytes, %v, want %d", len(got), err, len(b))
	}
	for i := range 4 {
		if got, n, err := s.ReadChunk(d, uint32(i)); err != nil || n != size || !bytes.Equal(got, chunkOf(b, i)) {
			t.Fatalf("read chunk %d: %d bytes of %d, %v", i, len(got), n, err)
		}
	}
	if _, _, err := s.ReadChunk(d, 4); protocol.CodeOf(err) != protocol.CodeBadMessage {
		t.Fatalf("read of a chunk that the file does not have: %v", err)
	}
}

// testOtherSize has a file begun with a size that it does not have.
func testOtherSize(t *testing.T, open func() edge.Store) {
	d, b := file(2)
	size := int64(len(b))
	if err := open().AddChunk(d, 1, size+9, chunkOf(b, 1)); err != nil {
		t.Fatal(err)
	}
	wantChunks(t, open(), protocol.File{Digest: d, Size: size}, held{})
	s := open()
	for i := range 3 {
		if err := s.AddChunk(d, uint32(i), size, chunkOf(b, i)); err != nil {
			t.Fatal(err)
		}
	}
	wantChunks(t, open(), protocol.File{Digest: d, Size: size}, held{whole: true})
}

func testWrongFile(t *testing.T, open func() edge.Store) {
	s := open()
	d, b := file(1)
	b[3] ^= 1
	if err := s.AddChunk(d, 0, int64(len(b)), chunkOf(b, 0)); err != nil {
		t.Fatal(err)
	}
	if err := s.AddChunk(d, 1, int64(len(b)), chunkOf(b, 1)); protocol.CodeOf(err) != protocol.CodeDigest {
		t.Fatalf("last chunk of a file with another digest: %v", err)
	}
	wantChunks(t, open(), protocol.File{Digest: d, Size: int64(len(b))},
		held{}) // nothing is kept: it can be fetched again
}

func testKeep(t *testing.T, open func() edge.Store) {
	s := open()
	var all []protocol.Digest
	for _, name := range []string{"one", "two", "three"} {
		d := protocol.DigestOf([]byte(name))
		all = append(all, d)
		if err := s.AddChunk(d, 0, int64(len(name)), []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	partial, b := file(2)
	if err := s.AddChunk(partial, 0, int64(len(b)), chunkOf(b, 0)); err != nil {
		t.Fatal(err)
	}
	if err := s.KeepFiles(all[1:2]); err != nil {
		t.Fatal(err)
	}
	s = open()
	wantChunks(t, s, protocol.File{Digest: all[0], Size: 3}, held{})
	wantChunks(t, s, protocol.File{Digest: all[1], Size: 3}, held{whole: true})
	wantChunks(t, s, protocol.File{Digest: all[2], Size: 5}, held{})
	wantChunks(t, s, protocol.File{Digest: partial, Size: int64(len(b))}, held{})
}

// held is what is here of a file.
type held struct {
	chunks protocol.Bitmap // of one that is not whole
	whole  bool
}

func wantChunks(t *testing.T, s edge.Store, f protocol.File, want held) {
	t.Helper()
	have, whole, err := s.Chunks(f.Digest, f.Size)
	if whole != want.whole || err != nil || !whole && !bytes.Equal(have, want.chunks) {
		t.Fatalf("chunks of %s: %08b, whole %v, %v; want %08b, whole %v", f.Digest.Short(), have, whole, err,
			want.chunks,
			want.whole)
	}
}

func apply(t *testing.T, s edge.Store, changes ...edge.Change) {
	t.Helper()
	if err := s.Apply(changes); err != nil {
		t.Fatal(err)
	}
}

func outKey(n int) string { return fmt.Sprintf("out/1/%016x/%016x", 1+n/100, n) }

// testLane adds records at the end of a lane and lets them go at its beginning, now and
// then one in its middle, over many starts.
func testLane(t *testing.T, open func() edge.Store) {
	var want []string
	n := 0
	for round := range 30 {
		s := open()
		var changes []edge.Change
		for range 20 {
			n++
			want = append(want, outKey(n))
			changes = append(changes, edge.Change{Key: outKey(n), Value: fmt.Appendf(nil, "v%s", outKey(n))})
		}
		apply(t, s, changes...)
		changes = nil
		for _, key := range want[:min(len(want), 1+round)] {
			changes = append(changes, edge.Change{Key: key})
		}
		want = slices.Delete(want, 0, len(changes))
		if middle := len(want) / 2; middle < len(want) {
			changes = append(changes, edge.Change{Key: want[middle]})
			want = slices.Delete(want, middle, middle+1)
		}
		apply(t, s, changes...)
		wantLane(t, s, "", want)
		if len(want) > 5 {
			wantLane(t, s, want[3]+"\x00", want[4:])
			if v, err := s.Get(want[2]); err != nil || string(v) != "v"+want[2] {
				t.Fatalf("get of a record: %q, %v", v, err)
			}
		}
	}
	wantLane(t, open(), "", want)
}

func wantLane(t *testing.T, s edge.Store, from string, want []string) {
	t.Helper()
	var got []string
	err := s.Scan("out/1/", from, func(key string, value []byte) bool {
		if string(value) != "v"+key {
			t.Errorf("scan: %q has %q", key, value)
		}
		got = append(got, key)
		return true
	})
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("lane from %q: %d records, %v, want %d:\n%q\n%q", from, len(got), err, len(want), got, want)
	}
}

// testLanes holds a store that knows lanes to what a plain one does.
func testLanes(t *testing.T, open func() edge.Store) {
	s, ok := open().(edge.LaneStore)
	if !ok {
		return
	}
	plain := NewMemory()
	twin := Lanes{plain}
	n := uint64(0)
	mark := func(n uint64) protocol.Mark { return protocol.Mark{Boot: 1 + n/100, Sequence: n} }
	for round := range uint64(40) {
		changes := []edge.LaneChange{{Change: edge.Change{Key: "run/x", Value: []byte{byte(round)}}}}
		for range 1 + round%7 {
			n++
			changes = append(changes, edge.LaneChange{
				Lane: protocol.LaneEvent, Mark: mark(n), Change: edge.Change{Value: fmt.Appendf(nil, "v%d", n)},
			}, edge.LaneChange{
				Lane: protocol.LaneResult, Mark: mark(n), Change: edge.Change{Value: fmt.Appendf(nil, "w%d", n)},
			})
		}
		switch round % 4 {
		case 1: // also what is not there yet, and what is not there any more
			through := mark(n + 5 - 3*(round%5))
			changes = append(changes, edge.LaneChange{Lane: protocol.LaneEvent, Mark: through, Through: true})
		case 2:
			changes = append(changes, edge.LaneChange{Lane: protocol.LaneResult, Mark: mark(n - 1)})
		case 3:
			changes = append(changes, edge.LaneChange{Lane: protocol.LaneResult, Mark: mark(n / 2), Through: true})
		}
		if round%10 == 9 { // one in its midst, written again
			changes = append(changes, edge.LaneChange{
				Lane: protocol.LaneResult, Mark: mark(n - 2), Change: edge.Change{Value: []byte("again")},
			})
		}
		if err := twin.ApplyLanes(changes); err != nil {
			t.Fatal(err)
		}
		if err := s.ApplyLanes(changes); err != nil {
			t.Fatal(err)
		}
		if round%8 == 7 {
			s, _ = open().(edge.LaneStore)
		}
		if got, want := all(t, s), all(t, plain); !slices.Equal(got, want) {
			t.Fatalf("round %d: %q, want %q", round, got, want)
		}
	}
}

func all(t *testing.T, s edge.Store) (all []string) {
	t.Helper()
	if err := s.Scan("", "", func(key string, value []byte) bool {
		all = append(all, fmt.Sprintf("%s=%x", key, value))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return all
}
