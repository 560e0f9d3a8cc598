package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// A Tree is the files of one tagged commit, in memory, read only. It holds regular files and folders only.
type Tree struct {
	Tag       string   // the tag's name, like "v1.2.0"
	TagObject string   // 40 hex digits: the annotated tag
	Commit    string   // 40 hex digits
	Digest    [32]byte // our SHA-256 over the files; see digestOf
	Files     int      // number of files
	Bytes     int64    // of all files
	RawTag    []byte   // the tag object as it came, what the signature covers

	files files
}

// Open implements fs.FS.
func (t *Tree) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if f, ok := t.files.byPath[name]; ok {
		return &openFile{Reader: bytes.NewReader(f.data), info: f}, nil
	}
	if list, ok := t.files.folders[name]; ok {
		return &openFolder{info: folder(path.Base(name)), rest: list}, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// ReadFile implements fs.ReadFileFS; the bytes are the caller's.
func (t *Tree) ReadFile(name string) ([]byte, error) {
	if f, ok := t.files.byPath[name]; ok {
		return bytes.Clone(f.data), nil
	}
	if _, ok := t.files.folders[name]; ok {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is a folder")}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// WriteTo writes the tree into dir, which is made if it is missing. Files are created anew with mode 0644
// or 0755; a file that is already there is an error. Nothing outside dir is touched, whatever links dir
// holds.
func (t *Tree) WriteTo(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write tree: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("write tree: %w", err)
	}
	defer root.Close()
	for _, f := range t.files.sorted {
		if err := f.write(root); err != nil {
			return fmt.Errorf("write tree: %w", err)
		}
	}
	return nil
}

// files is the index of a tree.
type files struct {
	sorted  []*file
	byPath  map[string]*file
	folders map[string][]fs.DirEntry // by path, "." is the root; entries by name
}

func newFiles(list []*file) files {
	x := files{
		sorted:  slices.Clone(list),
		byPath:  make(map[string]*file, len(list)),
		folders: map[string][]fs.DirEntry{".": nil},
	}
	slices.SortFunc(x.sorted, func(a, b *file) int { return strings.Compare(a.path, b.path) })
	for _, f := range x.sorted {
		x.byPath[f.path] = f
		x.add(f.path, f)
	}
	for _, list := range x.folders {
		slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	}
	return x
}

// add lists an entry in its folder, and the folder in its own when it is new.
func (x *files) add(name string, info fs.FileInfo) {
	parent := path.Dir(name)
	_, known := x.folders[parent]
	x.folders[parent] = append(x.folders[parent], fs.FileInfoToDirEntry(info))
	if !known {
		x.add(parent, folder(path.Base(parent)))
	}
}

// file is one regular file, and its own fs.FileInfo.
type file struct {
	path string
	exec bool
	data []byte
}

func (f *file) Name() string       { return path.Base(f.path) }
func (f *file) Size() int64        { return int64(len(f.data)) }
func (f *file) ModTime() time.Time { return time.Time{} }
func (f *file) IsDir() bool        { return false }
func (f *file) Sys() any           { return nil }

func (f *file) Mode() fs.FileMode {
	if f.exec {
		return 0o755
	}
	return 0o644
}

func (f *file) write(root *os.Root) error {
	if err := root.MkdirAll(path.Dir(f.path), 0o755); err != nil {
		return err
	}
	out, err := root.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.Mode())
	if err != nil {
		return err
	}
	_, werr := out.Write(f.data)
	// The mode is set again because the process's umask took its share.
	return errors.Join(werr, out.Chmod(f.Mode()), out.Close())
}

// folder is a folder's base name, and its fs.FileInfo.
type folder string

func (d folder) Name() string       { return string(d) }
func (d folder) Size() int64        { return 0 }
func (d folder) Mode() fs.FileMode  { return fs.ModeDir | 0o755 }
func (d folder) ModTime() time.Time { return time.Time{} }
func (d folder) IsDir() bool        { return true }
func (d folder) Sys() any           { return nil }

type openFile struct {
	*bytes.Reader
	info *file
}

func (o *openFile) Stat() (fs.FileInfo, error) { return o.info, nil }
func (o *openFile) Close() error               { return nil }

type openFolder struct {
	info folder
	rest []fs.DirEntry
}

func (o *openFolder) Stat() (fs.FileInfo, error) { return o.info, nil }
func (o *openFolder) Close() error               { return nil }

func (o *openFolder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: o.info.Name(), Err: errors.New("is a folder")}
}

func (o *openFolder) ReadDir(n int) ([]fs.DirEntry, error) {
	if n > 0 && len(o.rest) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(o.rest) {
		n = len(o.rest)
	}
	out := slices.Clone(o.rest[:n])
	o.rest = o.rest[n:]
	return out, nil
}

var (
	_ fs.ReadFileFS  = (*Tree)(nil)
	_ fs.ReadDirFile = (*openFolder)(nil)
	_ io.ReaderAt    = (*openFile)(nil)
	_ io.Seeker      = (*openFile)(nil)
)
