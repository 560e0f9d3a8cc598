package disk

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/stavily/stavily/protocol"
)

// files are the documents and artifacts of a Store: whole ones, and in part.go those on
// their way in.
type files struct {
	fs  fileSystem
	dir string

	mu    sync.Mutex // guards the field below
	parts map[protocol.Digest]*part
}

func newFiles(fs fileSystem, dir string) *files {
	return &files{fs: fs, dir: dir, parts: map[protocol.Digest]*part{}}
}

func (s *files) path(d protocol.Digest, suffix string) string {
	return filepath.Join(s.dir, hex.EncodeToString(d[:])+suffix)
}

// Chunks returns which chunks of a file of size bytes are here and whether it is whole.
func (s *files) Chunks(d protocol.Digest, size int64) (have protocol.Bitmap, whole bool, err error) {
	f, err := s.fs.open(s.path(d, ""), os.O_RDONLY)
	if err == nil {
		return nil, true, f.Close()
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, false, storage("look for "+d.Short(), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.part(d)
	if err != nil {
		return nil, false, storage("look for "+d.Short(), err)
	}
	if p == nil || p.size != size {
		return nil, false, nil
	}
	return slices.Clone(p.have), false, nil
}

// ReadChunk returns a chunk of a whole file, and the size of the file. It is not checked.
func (s *files) ReadChunk(d protocol.Digest, index uint32) (data []byte, size int64, err error) {
	f, err := s.fs.open(s.path(d, ""), os.O_RDONLY)
	if err != nil {
		return nil, 0, unread(d, err)
	}
	size, err = f.size()
	if err == nil && index >= protocol.ChunkCount(size) {
		return nil, size, errors.Join(protocol.Errorf(protocol.CodeBadMessage, "read %s: chunk %d of %d",
			d.Short(), index, protocol.ChunkCount(size)), f.Close())
	}
	if err == nil {
		data = make([]byte, protocol.ChunkLen(size, index))
		_, err = f.ReadAt(data, int64(index)*protocol.ChunkSize)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, size, storage("read "+d.Short(), err)
	}
	return data, size, nil
}

// ReadFile returns a whole file, checked against its digest.
func (s *files) ReadFile(d protocol.Digest) ([]byte, error) {
	b, err := s.readAll(s.path(d, ""))
	if err != nil {
		return nil, unread(d, err)
	}
	if got := protocol.DigestOf(b); got != d {
		err := s.fs.rename(s.path(d, ""), s.path(d, suffixBad))
		err = errors.Join(err, s.fs.syncDir(s.dir))
		if err != nil {
			return nil, storage("set rotten "+d.Short()+" aside", err)
		}
		return nil, protocol.Errorf(protocol.CodeDigest, "read %s: file is %s: set aside", d.Short(), got.Short())
	}
	return b, nil
}

// unread says why a file was not read.
func unread(d protocol.Digest, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return protocol.Errorf(protocol.CodeNotFound, "read %s: not here", d.Short())
	}
	return storage("read "+d.Short(), err)
}

func (s *files) readAll(name string) ([]byte, error) {
	f, err := s.fs.open(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	size, err := f.size()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	b := make([]byte, size)
	if size > 0 {
		_, err = f.ReadAt(b, 0)
	}
	return b, errors.Join(err, f.Close())
}

// KeepFiles removes every file that is not in keep, and the rotten ones.
func (s *files) KeepFiles(keep []protocol.Digest) error {
	names, err := s.fs.names(s.dir)
	if err != nil {
		return storage("list files", err)
	}
	var kept []string
	for _, d := range keep {
		kept = append(kept, hex.EncodeToString(d[:]))
	}
	slices.Sort(kept)
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.parts)
	var all error
	for _, name := range names {
		if _, found := slices.BinarySearch(kept, strings.TrimSuffix(name, suffixPart)); found {
			continue
		}
		if err := s.fs.remove(filepath.Join(s.dir, name)); !errors.Is(err, os.ErrNotExist) {
			all = errors.Join(all, err)
		}
	}
	if all = errors.Join(all, s.fs.syncDir(s.dir)); all != nil {
		return storage("remove old files", all)
	}
	return nil
}

// digestOf reads the first size bytes of a file, a little at a time.
func digestOf(f io.ReaderAt, size int64) (protocol.Digest, error) {
	h := sha256.New()
	_, err := io.Copy(h, io.NewSectionReader(f, 0, size))
	return protocol.Digest(h.Sum(nil)), err
}
