package gateway

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stavily/stavily/protocol"
)

func keep(t *testing.T, s *Folder, file []byte) {
	t.Helper()
	for i := range protocol.ChunkCount(int64(len(file))) {
		c := chunkOf(file, i)
		if err := s.Keep(&c); err != nil {
			t.Fatal(err)
		}
	}
}

func folder(t *testing.T, dir string, most int64) *Folder {
	t.Helper()
	s, err := OpenFolder(dir, most)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func has(s *Folder, file []byte) bool {
	data, size, ok := s.Chunk(protocol.DigestOf(file), 0)
	return ok && size == int64(len(file)) && bytes.Equal(data, chunkOf(file, 0).Data)
}

// Whole files outlive a restart, half ones and strangers do not.
func TestFolderOutlivesARestart(t *testing.T) {
	dir := t.TempDir()
	s := folder(t, dir, 1<<20)
	whole, half := blob(1), blob(2)
	keep(t, s, whole)
	first := chunkOf(half, 0)
	if err := s.Keep(&first); err != nil || !has(s, half) {
		t.Fatalf("half a file: %v, has %v", err, has(s, half))
	}
	if err := os.WriteFile(filepath.Join(dir, "stranger"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = folder(t, dir, 1<<20)
	names, err := os.ReadDir(dir)
	if !has(s, whole) || has(s, half) || len(names) != 1 || err != nil {
		t.Errorf("whole %v, half %v, %d names, %v", has(s, whole), has(s, half), len(names), err)
	}
}

// A file that is not what its digest says is not kept, and one that the flash changed is
// found when it is wanted.
func TestFolderVerifies(t *testing.T) {
	dir := t.TempDir()
	s := folder(t, dir, 1<<20)
	file := blob(1)
	bad := chunkOf(file, 1)
	bad.Data = bytes.Repeat([]byte("x"), len(bad.Data))
	good := chunkOf(file, 0)
	if err := s.Keep(&bad); err != nil {
		t.Fatal(err)
	}
	if err := s.Keep(&good); protocol.CodeOf(err) != protocol.CodeDigest || has(s, file) {
		t.Errorf("kept a false file: %v", err)
	}
	keep(t, s, file)
	path := s.path(protocol.DigestOf(file), true)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if has(s, file) {
		t.Error("handed out what the flash changed")
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if has(folder(t, dir, 1<<20), file) {
		t.Error("handed out what had changed before the start")
	}
}

// A full shelf lets go what was wanted longest ago.
func TestFolderIsBounded(t *testing.T) {
	one, two, three := blob(1), append(blob(1), 'a'), append(blob(1), 'b')
	most := int64(len(one) + len(two) + 1)
	s := folder(t, t.TempDir(), most)
	keep(t, s, one)
	keep(t, s, two)
	if !has(s, one) {
		t.Fatal("the first is gone already")
	}
	keep(t, s, three)
	if !has(s, one) || has(s, two) || !has(s, three) || s.bytes > most {
		t.Errorf("has %v %v %v with %d bytes of %d", has(s, one), has(s, two), has(s, three), s.bytes, most)
	}
}
