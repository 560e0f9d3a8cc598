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

	"github.com/stavily/stavily/protocol"
)

const suffixPart = ".part"

func (s *Store) path(d protocol.Digest, suffix string) string {
	return filepath.Join(s.files, hex.EncodeToString(d[:])+suffix)
}

// Chunks returns how many chunks of the file are here and whether it is whole.
func (s *Store) Chunks(d protocol.Digest) (have uint32, whole bool, err error) {
	if info, err := os.Stat(s.path(d, "")); err == nil {
		return protocol.ChunkCount(info.Size()), true, nil
	}
	info, err := os.Stat(s.path(d, suffixPart))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return 0, false, nil
	case err != nil:
		return 0, false, storage("look for "+d.Short(), err)
	}
	return uint32(info.Size() / protocol.ChunkSize), false, nil
}

// AddChunk keeps chunk index of a file. The partial file has no header: its length
// says how many chunks are here, and what a cut left of a chunk is written over.
func (s *Store) AddChunk(d protocol.Digest, index uint32, size int64, data []byte) error {
	have, whole, err := s.Chunks(d)
	if err != nil {
		return err
	}
	if whole || index != have {
		return protocol.Errorf(protocol.CodeStorage, "add chunk %d of %s: want index %d", index, d.Short(), have)
	}
	c := protocol.Chunk{Digest: d, Index: index, Size: size, Data: data}
	if err := c.Check(); err != nil {
		return err
	}
	f, err := os.OpenFile(s.path(d, suffixPart), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return storage("add chunk to "+d.Short(), err)
	}
	err = writeChunk(f, index, data)
	last := index+1 == protocol.ChunkCount(size)
	if err == nil && last {
		return s.finish(d, f)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return storage("add chunk to "+d.Short(), err)
	}
	if index == 0 {
		return syncDir(s.files)
	}
	return nil
}

// writeChunk puts a chunk into its place and syncs it. On an error nothing of it is
// left that could be taken for a chunk.
func writeChunk(f *os.File, index uint32, data []byte) error {
	at := int64(index) * protocol.ChunkSize
	_, err := f.WriteAt(data, at)
	if err == nil {
		err = f.Truncate(at + int64(len(data)))
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return errors.Join(err, f.Truncate(at))
	}
	return nil
}

// finish checks a file whose last chunk has come and gives it its name.
func (s *Store) finish(d protocol.Digest, f *os.File) error {
	part := s.path(d, suffixPart)
	got, err := digestOf(f)
	if err = errors.Join(err, f.Close()); err == nil && got != d {
		_ = os.Remove(part)
		return protocol.Errorf(protocol.CodeDigest, "add last chunk of %s: file is %s", d.Short(), got.Short())
	}
	if err == nil {
		err = os.Rename(part, s.path(d, ""))
	}
	if err == nil {
		err = syncDir(s.files)
	}
	if err != nil {
		_ = os.Remove(part) // it is complete and would take no chunk any more
		return storage("finish "+d.Short(), err)
	}
	return nil
}

// mend gives complete partial files their names: the power went between the last
// chunk and the renaming.
func (s *Store) mend() error {
	names, err := s.names(suffixPart)
	if err != nil {
		return err
	}
	for _, name := range names {
		part := filepath.Join(s.files, name+suffixPart)
		f, err := os.Open(part)
		if err != nil {
			return err
		}
		d, err := digestOf(f)
		if err = errors.Join(err, f.Close()); err == nil && hex.EncodeToString(d[:]) == name {
			err = os.Rename(part, filepath.Join(s.files, name))
		}
		if err != nil {
			return err
		}
	}
	return syncDir(s.files)
}

// ReadFile returns a whole file, checked against its digest.
func (s *Store) ReadFile(d protocol.Digest) ([]byte, error) {
	b, err := os.ReadFile(s.path(d, ""))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, protocol.Errorf(protocol.CodeNotFound, "read %s: not here", d.Short())
	case err != nil:
		return nil, storage("read "+d.Short(), err)
	}
	if got := protocol.DigestOf(b); got != d {
		err := os.Rename(s.path(d, ""), s.path(d, suffixBad))
		err = errors.Join(err, syncDir(s.files))
		if err != nil {
			return nil, storage("set rotten "+d.Short()+" aside", err)
		}
		return nil, protocol.Errorf(protocol.CodeDigest, "read %s: file is %s: set aside", d.Short(), got.Short())
	}
	return b, nil
}

// KeepFiles removes every file that is not in keep, and the rotten ones.
func (s *Store) KeepFiles(keep []protocol.Digest) error {
	entries, err := os.ReadDir(s.files)
	if err != nil {
		return storage("list files", err)
	}
	var names []string
	for _, d := range keep {
		names = append(names, hex.EncodeToString(d[:]))
	}
	slices.Sort(names)
	var all error
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), suffixPart)
		if _, kept := slices.BinarySearch(names, name); !kept {
			all = errors.Join(all, os.RemoveAll(filepath.Join(s.files, e.Name())))
		}
	}
	if all = errors.Join(all, syncDir(s.files)); all != nil {
		return storage("remove old files", all)
	}
	return nil
}

// names returns the digests of the files with a suffix.
func (s *Store) names(suffix string) ([]string, error) {
	entries, err := os.ReadDir(s.files)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), suffix); ok && isHex(name) {
			out = append(out, name)
		}
	}
	return out, nil
}

// digestOf reads a file from its beginning, a little at a time.
func digestOf(f *os.File) (d protocol.Digest, err error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return d, err
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	return protocol.Digest(h.Sum(nil)), err
}
