package wasmhost

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/stavily/stavily/protocol"
)

// The bounds of one plugin's data directory.
const (
	// FilesMax bounds the files and folders in it.
	FilesMax = 256
	// FileBytesMax bounds all that is in it, bytes.
	FileBytesMax = 64 << 20
	// FileReadMax bounds what one fs.read answers, bytes.
	FileReadMax = 64 << 10
	// FilePathMax bounds a path, bytes.
	FilePathMax = 255

	// tempName is what a file is called while it is written whole.
	tempName = ".stavily-write"
)

// files is one plugin's data directory. Nothing in it is followed out of it (os.Root),
// nothing but regular files is opened, and no file stays open between two host calls.
type files struct {
	dir  string // "" when this host has no place for files
	in   string // the folder of all plugins' folders
	name string // in it

	mu      sync.Mutex // guards the fields below, and is held while a file is used
	root    *os.Root   // nil until the first use
	entries int
	bytes   int64
}

// filesOf returns the data directory of a plugin, one for all its steps.
func (h *Host) filesOf(name protocol.PluginName) *files {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.files[name]
	if f == nil {
		f = &files{}
		if h.cfg.DataDir != "" {
			f.in, f.name = h.cfg.DataDir, string(name)
			f.dir = filepath.Join(f.in, f.name)
		}
		h.files[name] = f
	}
	return f
}

// open makes the directory and counts what is in it. f.mu is held.
func (f *files) open() error {
	switch {
	case f.root != nil:
		return nil
	case f.dir == "":
		return protocol.Errorf(protocol.CodeUnavailable, "files: this host keeps none for plugins")
	}
	if err := os.MkdirAll(f.in, 0o700); err != nil {
		return storage(err)
	}
	parent, err := os.OpenRoot(f.in)
	if err != nil {
		return storage(err)
	}
	defer func() { _ = parent.Close() }()
	if err := parent.Mkdir(f.name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return storage(err)
	}
	root, err := parent.OpenRoot(f.name) // follows no link out of the parent
	if err != nil {
		return storage(err)
	}
	f.root = root
	f.count()
	return nil
}

// count counts what is in the directory. f.mu is held.
func (f *files) count() {
	f.entries, f.bytes = 0, 0
	_ = fs.WalkDir(f.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return nil //nolint:nilerr // what cannot be read counts for nothing
		}
		f.entries++
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			f.bytes += info.Size()
		}
		if f.entries > FilesMax {
			return fs.SkipAll
		}
		return nil
	})
}

func (f *files) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.root != nil {
		_ = f.root.Close()
		f.root = nil
	}
}

// storage says why the disk refused, without the host's own paths.
func storage(err error) *protocol.Error {
	var of *fs.PathError
	if errors.As(err, &of) {
		err = of.Err
	}
	code := protocol.CodeStorage
	switch {
	case errors.Is(err, fs.ErrNotExist):
		code = protocol.CodeNotFound
	case strings.HasSuffix(err.Error(), "path escapes from parent"): // os.Root has no name for it
		code = protocol.CodeDenied
		err = errors.New("a link on the way leads out of the data directory")
	}
	return protocol.Errorf(code, "files: %w", err)
}

// local checks that a path stays within the directory by its text alone; os.Root holds
// what links could do.
func local(name string) error {
	switch {
	case name == "" || len(name) > FilePathMax:
		return protocol.Errorf(protocol.CodeLimit, "path of %d bytes: want 1 to %d", len(name), FilePathMax)
	case !filepath.IsLocal(name) || path.Clean(name) != name || strings.ContainsAny(name, "\\\x00"):
		return protocol.Errorf(protocol.CodeDenied, "path %q: want one within the data directory, such as a/b.txt",
			name)
	case path.Base(name) == tempName:
		return protocol.Errorf(protocol.CodeDenied, "path %q: reserved", name)
	}
	return nil
}

// plain checks that what is at name, if anything, is a regular file with one name.
func plain(name string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return protocol.Errorf(protocol.CodeDenied, "path %q: not a regular file", name)
	}
	if linkCount(info) > 1 {
		return protocol.Errorf(protocol.CodeDenied, "path %q: has another name elsewhere", name)
	}
	return nil
}

// openFile opens a regular file and returns its size. f.mu is held. A FIFO or a device
// is neither waited for nor used.
func (f *files) openFile(name string, flag int) (*os.File, int64, error) {
	if info, err := f.root.Lstat(name); err == nil && info.Mode()&fs.ModeSymlink == 0 {
		if err := plain(name, info); err != nil {
			return nil, 0, err
		}
	}
	file, err := f.root.OpenFile(name, flag|openNonblock, 0o600)
	if err != nil {
		return nil, 0, storage(err)
	}
	info, err := file.Stat()
	if err == nil {
		err = f.stillPlain(name, info)
	}
	if err != nil {
		_ = file.Close()
		return nil, 0, err
	}
	return file, info.Size(), nil
}

// stillPlain checks that what was opened at name is plain and there still, by one look through
// the name: a file elsewhere, opened by a hard link, has one name again once the link is gone,
// and then none here.
func (f *files) stillPlain(name string, opened fs.FileInfo) error {
	now, err := f.root.Stat(name)
	if err == nil && !os.SameFile(opened, now) {
		return protocol.Errorf(protocol.CodeDenied, "path %q: another file was put there meanwhile", name)
	}
	if err != nil {
		return storage(err)
	}
	return plain(name, now)
}

// room checks that size more bytes, and one more entry if name is new, keep the bounds.
func (f *files) room(name string, size int64) error {
	_, err := f.root.Lstat(name)
	switch {
	case f.bytes+size > FileBytesMax:
		return protocol.Errorf(protocol.CodeLimit, "files: %d bytes and %d more, limit %d",
			f.bytes, size, FileBytesMax)
	case err != nil && f.entries+1+strings.Count(name, "/") > FilesMax:
		return protocol.Errorf(protocol.CodeLimit, "files: %d files and folders, limit %d", f.entries, FilesMax)
	case err == nil:
		return nil
	}
	if dir := path.Dir(name); dir != "." {
		if err := f.root.MkdirAll(dir, 0o700); err != nil {
			return storage(err)
		}
	}
	return nil
}

type fileArgs struct {
	Path string `cbor:"path"`
	Data string `cbor:"data"`
	Sync bool   `cbor:"sync"`
	Max  int64  `cbor:"max"`
	From int64  `cbor:"from"`
}

// fileDo does a call in a directory that is open and locked.
type fileDo = func(f *files, in fileArgs) (any, error)

// fileCall reads the arguments and does the call. A path that would lead out counts as a
// denial of the capability.
func fileCall(r *request, capability string, args protocol.Raw, do fileDo) (any, error) {
	var in fileArgs
	if err := readArgs(args, &in); err != nil {
		return nil, err
	}
	grants, _ := r.p.use("", "")
	if scopes, _ := grants.Scopes(capability); len(scopes) > 0 && !inScopes(scopes, in.Path) {
		return nil, r.refuse(capability, in.Path)
	}
	out, err := r.p.files.do(in, do)
	if protocol.CodeOf(err) == protocol.CodeDenied {
		r.denied++
		r.p.mu.Lock()
		defer r.p.mu.Unlock()
		r.p.counts.deny(capability, in.Path)
	}
	return out, err
}

// inScopes reports whether a path is one of the scopes or lies below one.
func inScopes(scopes []string, name string) bool {
	return slices.ContainsFunc(scopes, func(s string) bool { return protocol.InFolder(s, name) })
}

func (f *files) do(in fileArgs, do fileDo) (any, error) {
	if err := local(in.Path); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.open(); err != nil {
		return nil, err
	}
	return do(f, in)
}

func callRead(r *request, args protocol.Raw) (any, error) {
	return fileCall(r, protocol.CapRead, args, func(f *files, in fileArgs) (any, error) {
		most := int64(FileReadMax)
		if in.Max > 0 && in.Max < most {
			most = in.Max
		}
		file, size, err := f.openFile(in.Path, os.O_RDONLY)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }()
		data, err := io.ReadAll(io.NewSectionReader(file, max(in.From, 0), most))
		if err != nil {
			return nil, storage(err)
		}
		for cut := 0; cut < utf8.UTFMax && len(data) > 0 && !utf8.Valid(data); cut++ {
			data = data[:len(data)-1] // the bound fell within a character
		}
		if !utf8.Valid(data) {
			return nil, protocol.Errorf(protocol.CodeBadInput, "path %q: not UTF-8 text", in.Path)
		}
		return map[string]any{"data": string(data), "size": size}, nil
	})
}

func callList(r *request, args protocol.Raw) (any, error) {
	return fileCall(r, protocol.CapRead, args, func(f *files, in fileArgs) (any, error) {
		if info, err := f.root.Stat(in.Path); err != nil {
			return nil, storage(err)
		} else if !info.IsDir() {
			return nil, protocol.Errorf(protocol.CodeBadInput, "path %q: not a folder", in.Path)
		}
		dir, err := f.root.Open(in.Path)
		if err != nil {
			return nil, storage(err)
		}
		defer func() { _ = dir.Close() }()
		entries, err := dir.ReadDir(FilesMax)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, storage(err)
		}
		names := []string{}
		for _, e := range entries {
			switch {
			case e.IsDir():
				names = append(names, e.Name()+"/")
			case e.Type().IsRegular() && e.Name() != tempName:
				names = append(names, e.Name())
			}
		}
		slices.Sort(names)
		return map[string]any{"names": names}, nil
	})
}

func callAppend(r *request, args protocol.Raw) (any, error) {
	return fileCall(r, protocol.CapWrite, args, func(f *files, in fileArgs) (any, error) {
		if err := f.room(in.Path, int64(len(in.Data))); err != nil {
			return nil, err
		}
		defer f.count()
		file, size, err := f.openFile(in.Path, os.O_WRONLY|os.O_APPEND|os.O_CREATE)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }()
		_, err = file.WriteString(in.Data)
		if err == nil && in.Sync {
			err = file.Sync()
		}
		if err != nil {
			_ = file.Truncate(size) // a line is there whole or not at all
			return nil, storage(err)
		}
		return map[string]any{"size": size + int64(len(in.Data))}, nil
	})
}

// callWrite puts the new content beside the old and swaps them, so that a power cut
// leaves one of both whole.
func callWrite(r *request, args protocol.Raw) (any, error) {
	return fileCall(r, protocol.CapWrite, args, func(f *files, in fileArgs) (any, error) {
		if err := f.room(in.Path, int64(len(in.Data))); err != nil {
			return nil, err
		}
		if info, err := f.root.Lstat(in.Path); err == nil {
			if err := plain(in.Path, info); err != nil {
				return nil, err
			}
		}
		defer f.count()
		temp := path.Join(path.Dir(in.Path), tempName)
		_ = f.root.Remove(temp)
		if err := f.put(temp, in); err != nil {
			_ = f.root.Remove(temp)
			return nil, err
		}
		if err := f.root.Rename(temp, in.Path); err != nil {
			return nil, storage(err)
		}
		return map[string]any{"size": len(in.Data)}, nil
	})
}

func (f *files) put(temp string, in fileArgs) error {
	file, err := f.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return storage(err)
	}
	_, err = file.WriteString(in.Data)
	if err == nil && in.Sync {
		err = file.Sync()
	}
	if closing := file.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return storage(err)
	}
	return nil
}
