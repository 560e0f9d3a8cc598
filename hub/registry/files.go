package registry

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/stavily/stavily/protocol"
)

// Files keeps artifacts and sealed documents by digest, one file each, in a directory
// of two levels. Its methods may be called from any goroutine.
type Files struct {
	dir    string
	memory map[protocol.Digest][]byte // instead of dir; nil for files on a disk

	mu    sync.Mutex // guards the fields below
	known map[protocol.Digest]checked
}

// checked is what a file looked like when its whole content had its digest.
type checked struct {
	size     int64
	modified int64 // ns since 1970
}

const (
	// knownMax bounds the files that are remembered as checked.
	knownMax = 8192
	tempDir  = "tmp"
)

// OpenFiles opens the directory dir, makes it when it is missing, and sweeps out what
// an interrupted Put left.
func OpenFiles(dir string) (*Files, error) {
	temp := filepath.Join(dir, tempDir)
	if err := os.RemoveAll(temp); err != nil {
		return nil, filesError("open files", err)
	}
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return nil, filesError("open files", err)
	}
	return &Files{dir: dir, known: map[protocol.Digest]checked{}}, nil
}

// Put keeps b and returns its digest. When it returns nil, the file survives a power
// cut. Putting the same again costs one look, and mends a file that has rotted. The
// error has CodeLimit over ArtifactMax, CodeStorage when the disk refuses.
func (f *Files) Put(b []byte) (protocol.Digest, error) {
	d := protocol.DigestOf(b)
	if len(b) == 0 || len(b) > protocol.ArtifactMax {
		return d, protocol.Errorf(protocol.CodeLimit, "keep %s: %d bytes, want 1 to %d", d.Short(), len(b),
			protocol.ArtifactMax)
	}
	if f.Verify(d) == nil {
		return d, nil
	}
	if f.memory != nil {
		f.memory[d] = slices.Clone(b)
		return d, nil
	}
	if err := f.write(f.path(d), b); err != nil {
		return d, filesError("keep "+d.Short(), err)
	}
	return d, nil
}

// Get returns the whole file; CodeNotFound when there is none, CodeDigest when it has
// rotted.
func (f *Files) Get(d protocol.Digest) ([]byte, error) {
	if f.memory != nil {
		return f.recall(d)
	}
	b, err := os.ReadFile(f.path(d))
	if err != nil {
		return nil, filesError("get "+d.Short(), err)
	}
	if protocol.DigestOf(b) != d {
		return nil, rotten(d)
	}
	return b, nil
}

// Chunk returns chunk index of the file and the whole file's size in bytes. The file is
// checked whole the first time and whenever it looks changed. The error has
// CodeNotFound, CodeDigest, or CodeBadMessage for an index that the file does not have.
func (f *Files) Chunk(d protocol.Digest, index uint32) (data []byte, size int64, err error) {
	if f.memory != nil {
		return f.recallChunk(d, index)
	}
	file, err := os.Open(f.path(d))
	if err != nil {
		return nil, 0, filesError("chunk of "+d.Short(), err)
	}
	defer file.Close()
	if size, err = f.check(d, file); err != nil {
		return nil, 0, err
	}
	if index >= protocol.ChunkCount(size) {
		return nil, size, protocol.Errorf(protocol.CodeBadMessage, "chunk of %s: index %d of %d", d.Short(), index,
			protocol.ChunkCount(size))
	}
	at := int64(index) * protocol.ChunkSize
	data = make([]byte, min(int64(protocol.ChunkSize), size-at))
	if _, err := io.ReadFull(io.NewSectionReader(file, at, int64(len(data))), data); err != nil {
		return nil, size, filesError("chunk of "+d.Short(), err)
	}
	return data, size, nil
}

// Has reports whether a file of that digest is there. It does not read it.
func (f *Files) Has(d protocol.Digest) bool {
	if f.memory != nil {
		return f.memory[d] != nil
	}
	info, err := os.Stat(f.path(d))
	return err == nil && info.Mode().IsRegular()
}

// Verify reads the whole file, unless it was found good before and looks unchanged; the
// error has CodeNotFound or CodeDigest.
func (f *Files) Verify(d protocol.Digest) error {
	if f.memory != nil {
		_, err := f.recall(d)
		return err
	}
	file, err := os.Open(f.path(d))
	if err != nil {
		return filesError("verify "+d.Short(), err)
	}
	defer file.Close()
	_, err = f.check(d, file)
	return err
}

// Size returns a file's size in bytes; CodeNotFound when there is none.
func (f *Files) Size(d protocol.Digest) (int64, error) {
	if f.memory != nil {
		b, err := f.recall(d)
		return int64(len(b)), err
	}
	info, err := os.Stat(f.path(d))
	if err != nil {
		return 0, filesError("size of "+d.Short(), err)
	}
	return info.Size(), nil
}

// Remove forgets a file; one that is not there is no error.
func (f *Files) Remove(d protocol.Digest) error {
	f.mu.Lock()
	delete(f.known, d)
	delete(f.memory, d)
	f.mu.Unlock()
	if f.memory != nil {
		return nil
	}
	if err := os.Remove(f.path(d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return filesError("remove "+d.Short(), err)
	}
	return nil
}

// check returns the size of file after its content was found to have digest d.
func (f *Files) check(d protocol.Digest, file *os.File) (int64, error) {
	info, err := file.Stat()
	if err != nil {
		return 0, filesError("verify "+d.Short(), err)
	}
	now := checked{size: info.Size(), modified: info.ModTime().UnixNano()}
	f.mu.Lock()
	was, ok := f.known[d]
	f.mu.Unlock()
	if ok && was == now {
		return now.size, nil
	}
	if now.size > protocol.ArtifactMax {
		return 0, rotten(d)
	}
	b, err := io.ReadAll(io.LimitReader(file, protocol.ArtifactMax+1))
	if err != nil {
		return 0, filesError("verify "+d.Short(), err)
	}
	if protocol.DigestOf(b) != d {
		return 0, rotten(d)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.known) >= knownMax {
		clear(f.known) // each costs one more reading, no more
	}
	f.known[d] = now
	return now.size, nil
}

// path returns the place of d: two levels of two digits each, so that no directory
// grows past what every file system lists fast.
func (f *Files) path(d protocol.Digest) string {
	name := d.String()[len("sha256:"):]
	return filepath.Join(f.dir, name[:2], name[2:4], name)
}

// write puts b at path whole or not at all: a file beside, synced, renamed, and every
// directory on the way synced.
func (f *Files) write(path string, b []byte) error {
	temp, err := os.CreateTemp(filepath.Join(f.dir, tempDir), "put-")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) // after the rename there is nothing to remove
	_, err = temp.Write(b)
	if err == nil {
		err = temp.Sync()
	}
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	leaf := filepath.Dir(path)
	if err := os.MkdirAll(leaf, 0o700); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return err
	}
	return errors.Join(syncDir(leaf), syncDir(filepath.Dir(leaf)), syncDir(f.dir))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func rotten(d protocol.Digest) error {
	return protocol.Errorf(protocol.CodeDigest,
		"file %s: its content has another digest; the disk has changed it",
		d.Short())
}

func filesError(op string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return protocol.Errorf(protocol.CodeNotFound, "%s: not here", op)
	}
	return protocol.Errorf(protocol.CodeStorage, "%s: %w", op, err)
}
