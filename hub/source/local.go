package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-billy/v5/memfs"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// localRepo reads a repository on this machine's disk. It runs no program, needs no git, and its object store
// cannot lead outside the repository: symbolic links are held inside and alternates see an empty disk.
type localRepo struct {
	store *filesystem.Storage
	lim   Limits
	left  int64                  // bytes that may still be read
	count int                    // objects read
	safe  map[plumbing.Hash]bool // bases of deltas whose size was looked at
}

func openLocal(path string, lim Limits) (*localRepo, error) {
	dir, err := gitDir(path)
	if err != nil {
		return nil, err
	}
	return &localRepo{
		store: storeAt(dir),
		lim:   lim,
		left:  lim.ObjectBytes,
		safe:  make(map[plumbing.Hash]bool),
	}, nil
}

func storeAt(dir string) *filesystem.Storage {
	return filesystem.NewStorageWithOptions(
		osfs.New(dir, osfs.WithBoundOS()),
		cache.NewObjectLRU(8<<20),
		filesystem.Options{AlternatesFS: memfs.New()},
	)
}

// gitDir finds the repository at path: a bare one, or the .git of a work tree.
func gitDir(path string) (string, error) {
	for _, dir := range []string{filepath.Join(path, ".git"), path} {
		head, herr := os.Stat(filepath.Join(dir, "HEAD"))
		objs, oerr := os.Stat(filepath.Join(dir, "objects"))
		if herr == nil && oerr == nil && head.Mode().IsRegular() && objs.IsDir() {
			return dir, nil
		}
		for _, err := range []error{herr, oerr} {
			if errors.Is(err, fs.ErrPermission) {
				return "", fmt.Errorf("repository: %w", err)
			}
		}
	}
	return "", fmt.Errorf("repository: %w: no git repository at %q", ErrNotFound, path)
}

func (l *localRepo) tags(context.Context) (map[string]plumbing.Hash, error) {
	refs, err := l.store.IterReferences()
	if err != nil {
		return nil, fmt.Errorf("refs: %w", err)
	}
	defer refs.Close()
	out := make(map[string]plumbing.Hash)
	for {
		ref, err := refs.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("refs: %w", err)
		}
		name, ok := strings.CutPrefix(ref.Name().String(), tagPrefix)
		if ok && ref.Type() == plumbing.HashReference {
			out[name] = ref.Hash()
		}
	}
}

func (l *localRepo) fetch(context.Context, plumbing.Hash) (objects, error) { return l, nil }

func (l *localRepo) get(id plumbing.Hash) (plumbing.ObjectType, []byte, error) {
	if l.count++; l.count > l.lim.Objects {
		return 0, nil, &LimitError{What: "objects read", Limit: int64(l.lim.Objects), Got: int64(l.count)}
	}
	size, err := l.store.EncodedObjectSize(id)
	if err != nil {
		return 0, nil, fmt.Errorf("object %s: %w", id, notFound(err))
	}
	if size < 0 || size > l.left {
		used := l.lim.ObjectBytes - l.left
		return 0, nil, &LimitError{What: "bytes of all objects", Limit: l.lim.ObjectBytes, Got: used + size}
	}
	l.left -= size
	if err := l.checkBases(id); err != nil {
		return 0, nil, err
	}
	return l.read(id, size)
}

// checkBases looks at the size of every object that id is a delta of, before the library unpacks one: a small
// object may stand on a huge one.
func (l *localRepo) checkBases(id plumbing.Hash) error {
	for !l.safe[id] {
		l.safe[id] = true
		obj, err := l.store.DeltaObject(plumbing.AnyObject, id)
		if err != nil {
			return fmt.Errorf("object %s: %w", id, notFound(err))
		}
		step, ok := obj.(plumbing.DeltaObject)
		if !ok {
			return nil
		}
		id = step.BaseHash()
		size, err := l.store.EncodedObjectSize(id)
		if err != nil {
			return fmt.Errorf("object %s: %w", id, notFound(err))
		}
		if size < 0 || size > l.lim.ObjectBytes {
			return &LimitError{What: "bytes of the base of an object", Limit: l.lim.ObjectBytes, Got: size}
		}
	}
	return nil
}

func (l *localRepo) read(id plumbing.Hash, size int64) (plumbing.ObjectType, []byte, error) {
	obj, err := l.store.EncodedObject(plumbing.AnyObject, id)
	if err != nil {
		return 0, nil, fmt.Errorf("object %s: %w", id, notFound(err))
	}
	r, err := obj.Reader()
	if err != nil {
		return 0, nil, fmt.Errorf("object %s: %w", id, err)
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, size+1))
	if err != nil {
		return 0, nil, fmt.Errorf("object %s: %w", id, err)
	}
	if int64(len(data)) != size {
		return 0, nil, fmt.Errorf("object %s: %d bytes: want %d", id, len(data), size)
	}
	name, err := nameOf(obj.Type(), data)
	if err != nil {
		return 0, nil, err
	}
	if name != id {
		return 0, nil, fmt.Errorf("object %s: content is that of %s", id, name)
	}
	return obj.Type(), data, nil
}

func notFound(err error) error {
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return ErrNotFound
	}
	return err
}

func (l *localRepo) close() { _ = l.store.Close() }

var (
	_ repository = (*localRepo)(nil)
	_ objects    = (*localRepo)(nil)
)
