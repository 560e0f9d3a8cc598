package wasmhost

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/tetratelabs/wazero/experimental/sys"
	wsys "github.com/tetratelabs/wazero/sys"
)

// scratch is a folder that a command may write in: regular files and folders only, all
// through os.Root, so that no path and no link leads out of it, and bounded.
type scratch struct {
	sys.UnimplementedFS
	root *os.Root
	open int   // files that are open
	left int64 // bytes that may still be written
}

const (
	scratchFiles = 64
	scratchBytes = 64 << 20
)

func openScratch(dir string) (*scratch, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &scratch{root: root, left: scratchBytes}, nil
}

// inside turns a guest's path into one of os.Root's.
func inside(path string) string {
	if path = strings.TrimLeft(path, "/"); path == "" {
		return "."
	}
	return path
}

// errno gives the guest the error's number; what escapes is not permitted.
func errno(err error) sys.Errno {
	if err == nil {
		return 0
	}
	if n := sys.UnwrapOSError(err); n != sys.EIO {
		return n
	}
	return sys.EPERM
}

var openFlags = []struct {
	guest sys.Oflag
	host  int
}{
	{sys.O_RDWR, os.O_RDWR},
	{sys.O_WRONLY, os.O_WRONLY},
	{sys.O_APPEND, os.O_APPEND},
	{sys.O_CREAT, os.O_CREATE},
	{sys.O_EXCL, os.O_EXCL},
	{sys.O_TRUNC, os.O_TRUNC},
}

// OpenFile opens or makes a regular file, or opens a folder.
func (s *scratch) OpenFile(path string, flag sys.Oflag, perm fs.FileMode) (sys.File, sys.Errno) {
	if s.open >= scratchFiles {
		return nil, sys.EAGAIN
	}
	mode := 0
	for _, f := range openFlags {
		if flag&f.guest != 0 {
			mode |= f.host
		}
	}
	f, err := s.root.OpenFile(inside(path), mode, perm&0o777)
	if err != nil {
		return nil, errno(err)
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() && !info.IsDir() {
		_ = f.Close()
		return nil, sys.EPERM
	}
	if flag&sys.O_DIRECTORY != 0 && !info.IsDir() {
		_ = f.Close()
		return nil, sys.ENOTDIR
	}
	s.open++
	return &scratchFile{f: f, of: s, dir: info.IsDir()}, 0
}

// Stat follows links within the folder only.
func (s *scratch) Stat(path string) (wsys.Stat_t, sys.Errno) {
	return statOf(s.root.Stat(inside(path)))
}

// Lstat does not follow links.
func (s *scratch) Lstat(path string) (wsys.Stat_t, sys.Errno) {
	return statOf(s.root.Lstat(inside(path)))
}

func statOf(info fs.FileInfo, err error) (wsys.Stat_t, sys.Errno) {
	if err != nil {
		return wsys.Stat_t{}, errno(err)
	}
	return wsys.NewStat_t(info), 0
}

// Mkdir makes a folder.
func (s *scratch) Mkdir(path string, perm fs.FileMode) sys.Errno {
	return errno(s.root.Mkdir(inside(path), perm&0o777))
}

// Rename moves within the folder.
func (s *scratch) Rename(from, to string) sys.Errno {
	return errno(s.root.Rename(inside(from), inside(to)))
}

// Rmdir removes an empty folder.
func (s *scratch) Rmdir(path string) sys.Errno { return errno(s.root.Remove(inside(path))) }

// Unlink removes a file.
func (s *scratch) Unlink(path string) sys.Errno { return errno(s.root.Remove(inside(path))) }

type scratchFile struct {
	sys.UnimplementedFile
	f   *os.File
	of  *scratch
	dir bool
}

func (f *scratchFile) IsDir() (bool, sys.Errno)                  { return f.dir, 0 }
func (f *scratchFile) Stat() (wsys.Stat_t, sys.Errno)            { return statOf(f.f.Stat()) }
func (f *scratchFile) Read(b []byte) (int, sys.Errno)            { return count(f.f.Read(b)) }
func (f *scratchFile) Sync() sys.Errno                           { return 0 }
func (f *scratchFile) Datasync() sys.Errno                       { return 0 }
func (f *scratchFile) Pread(b []byte, at int64) (int, sys.Errno) { return count(f.f.ReadAt(b, at)) }

func (f *scratchFile) Write(b []byte) (int, sys.Errno) {
	if f.of.left -= int64(len(b)); f.of.left < 0 {
		return 0, sys.EIO
	}
	return count(f.f.Write(b))
}

func (f *scratchFile) Pwrite(b []byte, at int64) (int, sys.Errno) {
	if f.of.left -= int64(len(b)); f.of.left < 0 {
		return 0, sys.EIO
	}
	return count(f.f.WriteAt(b, at))
}

// offset lets Seek have the engine's signature, which is not io.Seeker's, without vet
// taking it for a slip of the pen.
type offset = int64

func (f *scratchFile) Seek(by offset, whence int) (int64, sys.Errno) {
	at, err := f.f.Seek(by, whence)
	return at, errno(err)
}

func (f *scratchFile) Readdir(n int) ([]sys.Dirent, sys.Errno) {
	list, err := f.f.ReadDir(n)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errno(err)
	}
	out := make([]sys.Dirent, len(list))
	for i, e := range list {
		out[i] = sys.Dirent{Name: e.Name(), Type: e.Type()}
	}
	return out, 0
}

func (f *scratchFile) Truncate(size int64) sys.Errno {
	if size > scratchBytes {
		return sys.EIO
	}
	return errno(f.f.Truncate(size))
}

func (f *scratchFile) Close() sys.Errno {
	f.of.open--
	return errno(f.f.Close())
}

// count leaves the end of a file out: a guest sees it as nothing read.
func count(n int, err error) (int, sys.Errno) {
	if errors.Is(err, io.EOF) {
		return n, 0
	}
	return n, errno(err)
}

var (
	_ sys.FS   = (*scratch)(nil)
	_ sys.File = (*scratchFile)(nil)
)
