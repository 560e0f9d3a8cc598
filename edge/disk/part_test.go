package disk

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stavily/stavily/protocol"
)

// fetched keeps the chunks of a file in the order of a seed until the power goes, and says
// which of them returned.
func fetched(fs *cutFS, seed uint64, b []byte) (kept protocol.Bitmap, err error) {
	s := newFiles(fs, "files")
	d := protocol.DigestOf(b)
	for _, i := range rand.New(rand.NewPCG(seed, 7)).Perm(int(protocol.ChunkCount(int64(len(b))))) {
		data, size, _ := protocol.CutChunk(d, b, uint32(i))
		if err := s.AddChunk(d, uint32(i), size, data); err != nil {
			return kept, err
		}
		kept = kept.Set(uint32(i))
	}
	return kept, nil
}

// The power goes at every operation while chunks come out of order: what AddChunk returned
// from is there afterwards and is what it was, and the file comes to its end.
func TestPartCut(t *testing.T) {
	b := make([]byte, 3*protocol.ChunkSize+100)
	whole := newCutFS(rand.New(rand.NewPCG(0, 1)))
	for i := range b {
		b[i] = byte(whole.random.Uint32())
	}
	if _, err := fetched(whole, 1, b); err != nil {
		t.Fatal(err)
	}
	for cut := 1; cut <= whole.ops; cut++ {
		for leaves := leavesNone; leaves <= leavesEnd; leaves++ {
			where := fmt.Sprintf("cut at %d (%s), leaves %d", cut, whole.log[cut-1], leaves)
			partCut(t, where, b, func(fs *cutFS) *cutFS { fs.cutAt = cut; return fs }, leaves)
		}
	}
}

func partCut(t *testing.T, where string, b []byte, cut func(*cutFS) *cutFS, leaves int) {
	t.Helper()
	fs := cut(newCutFS(rand.New(rand.NewPCG(uint64(leaves), 1))))
	kept, err := fetched(fs, 1, b)
	if err == nil {
		t.Fatalf("%s: the power did not go", where)
	}
	d, size := protocol.DigestOf(b), int64(len(b))
	after := fs.survive(leaves)
	s := newFiles(after, "files")
	if err := s.mend(); err != nil {
		t.Fatalf("%s: mend: %v", where, err)
	}
	have, done, err := s.Chunks(d, size)
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	for i := range protocol.ChunkCount(size) {
		if kept.Has(i) && !have.Has(i) && !done {
			t.Fatalf("%s: chunk %d is lost", where, i)
		}
		data, _, _ := protocol.CutChunk(d, b, i)
		if have.Has(i) || done {
			continue
		}
		if err := s.AddChunk(d, i, size, data); err != nil {
			t.Fatalf("%s: chunk %d: %v", where, i, err)
		}
	}
	if got, err := newFiles(after.survive(leavesNone), "files").ReadFile(d); err != nil || !bytes.Equal(got, b) {
		t.Fatalf("%s: the file is %d bytes, %v", where, len(got), err)
	}
}

// A chunk that the flash has changed is asked for again, and only that one.
func TestRottenChunk(t *testing.T) {
	b := bytes.Repeat([]byte("chunk "), protocol.ChunkSize/2)
	d, size := protocol.DigestOf(b), int64(len(b))
	fs := newCutFS(rand.New(rand.NewPCG(1, 1)))
	for i := range uint32(2) {
		data, _, _ := protocol.CutChunk(d, b, i)
		if err := newFiles(fs, "files").AddChunk(d, i, size, data); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range fs.files {
		n.data[protocol.ChunkSize+5] ^= 1
	}
	have, _, err := newFiles(fs, "files").Chunks(d, size)
	if err != nil || !have.Has(0) || have.Has(1) {
		t.Fatalf("have %b, %v; want chunk 0 only", have, err)
	}
}

// Without room nothing of a file is begun, and the error says why.
func TestPartFull(t *testing.T) {
	b := bytes.Repeat([]byte("x"), 2*protocol.ChunkSize)
	fs := newCutFS(rand.New(rand.NewPCG(1, 1)))
	fs.room = protocol.ChunkSize
	if _, err := fetched(fs, 1, b); protocol.CodeOf(err) != protocol.CodeStorage || errors.Is(err, errCut) {
		t.Fatalf("chunk on a full disk: %v", err)
	}
	fs.room = 0
	if _, err := fetched(fs, 1, b); err != nil {
		t.Fatal(err)
	}
}

// FuzzPart reads any bytes as a file on its way in.
func FuzzPart(f *testing.F) {
	fs := newCutFS(rand.New(rand.NewPCG(1, 1)))
	b := bytes.Repeat([]byte("y"), 70)
	data := bytes.Repeat([]byte("z"), protocol.ChunkSize)
	_ = newFiles(fs, "files").AddChunk(protocol.DigestOf(b), 0, protocol.ChunkSize+1, data)
	for _, n := range fs.files {
		f.Add(n.data)
	}
	f.Add([]byte("stvpart1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		fs := newCutFS(nil)
		n := &inode{data: b}
		p, err := readPart(&cutFile{fs, n, "x"})
		if err != nil {
			t.Fatal(err)
		}
		if p != nil && (p.size > int64(len(b)) || p.have.Count() > protocol.ChunkCount(p.size)) {
			t.Fatalf("%d bytes are a file of %d with %d chunks", len(b), p.size, p.have.Count())
		}
	})
}
