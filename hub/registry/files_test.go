package registry

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stavily/stavily/protocol"
)

func openFiles(t testing.TB) *Files {
	t.Helper()
	f, err := OpenFiles(filepath.Join(t.TempDir(), "files"))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func pattern(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i * 7 / 3)
	}
	return b
}

func TestFiles(t *testing.T) {
	for _, size := range []int{
		1, protocol.ChunkSize - 1, protocol.ChunkSize, protocol.ChunkSize + 1,
		3*protocol.ChunkSize + 5,
	} {
		f := openFiles(t)
		b := pattern(size)
		d, err := f.Put(b)
		if err != nil || d != protocol.DigestOf(b) || !f.Has(d) {
			t.Fatalf("%d bytes: %s, %v", size, d.Short(), err)
		}
		if again, err := f.Put(b); again != d || err != nil {
			t.Errorf("%d bytes again: %s, %v", size, again.Short(), err)
		}
		if got, err := f.Get(d); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%d bytes: got %d, %v", size, len(got), err)
		}
		var whole []byte
		for i := range protocol.ChunkCount(int64(size)) {
			data, total, err := f.Chunk(d, i)
			chunk := protocol.Chunk{Digest: d, Index: i, Size: total, Data: data}
			if err != nil || chunk.Check() != nil {
				t.Fatalf("%d bytes: chunk %d: %v, %v", size, i, err, chunk.Check())
			}
			whole = append(whole, data...)
		}
		if !bytes.Equal(whole, b) {
			t.Errorf("%d bytes: chunks give %d others", size, len(whole))
		}
		_, _, err = f.Chunk(d, protocol.ChunkCount(int64(size)))
		wants(t, err, protocol.CodeBadMessage, "index")
		if n, err := f.Size(d); n != int64(size) || err != nil {
			t.Errorf("size %d, %v", n, err)
		}
		wants(t, f.Remove(d), protocol.CodeOK, "")
		wants(t, f.Remove(d), protocol.CodeOK, "")
		wants(t, f.Verify(d), protocol.CodeNotFound, "")
	}
}

func TestFilesRefuse(t *testing.T) {
	f := openFiles(t)
	_, err := f.Put(nil)
	wants(t, err, protocol.CodeLimit, "")
	_, err = f.Put(make([]byte, protocol.ArtifactMax+1))
	wants(t, err, protocol.CodeLimit, "")
	none := protocol.DigestOf([]byte("none"))
	_, err = f.Get(none)
	wants(t, err, protocol.CodeNotFound, none.Short())
	_, _, err = f.Chunk(none, 0)
	wants(t, err, protocol.CodeNotFound, none.Short())
	_, err = f.Size(none)
	wants(t, err, protocol.CodeNotFound, none.Short())
}

// S-01: a bit that flipped in the store is never given out, and Put mends it.
func TestFilesNoticeRot(t *testing.T) {
	f := openFiles(t)
	b := pattern(2 * protocol.ChunkSize)
	d, err := f.Put(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Chunk(d, 1); err != nil {
		t.Fatal(err)
	}
	rot := bytes.Clone(b)
	rot[len(rot)-1] ^= 1
	for _, bad := range [][]byte{rot, b[:100], {}} {
		if err := os.WriteFile(f.path(d), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = f.Get(d)
		wants(t, err, protocol.CodeDigest, "another digest")
		wants(t, f.Verify(d), protocol.CodeDigest, "")
		_, _, err = f.Chunk(d, 0)
		wants(t, err, protocol.CodeDigest, "")
		if _, err := f.Put(b); err != nil {
			t.Fatal(err)
		}
		wants(t, f.Verify(d), protocol.CodeOK, "")
	}
}

func TestFilesSweepWhatWasInterrupted(t *testing.T) {
	f := openFiles(t)
	d, err := f.Put([]byte("kept"))
	if err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(f.dir, tempDir, "put-half")
	if err := os.WriteFile(half, []byte("ha"), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := OpenFiles(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(half); !os.IsNotExist(err) {
		t.Errorf("the half file is still there (%v)", err)
	}
	wants(t, again.Verify(d), protocol.CodeOK, "")
}

func TestFilesAtOnce(t *testing.T) {
	f := openFiles(t)
	b := pattern(protocol.ChunkSize + 1)
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			d, err := f.Put(b)
			if err != nil {
				t.Error(err)
			}
			if _, _, err := f.Chunk(d, 1); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
}

func BenchmarkChunk(b *testing.B) {
	f := openFiles(b)
	d, err := f.Put(pattern(4 << 20))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(protocol.ChunkSize)
	for i := uint32(0); b.Loop(); i++ {
		if _, _, err := f.Chunk(d, i%64); err != nil {
			b.Fatal(err)
		}
	}
}
