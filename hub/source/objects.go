package source

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/index"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// This file writes the objects of the author's half: blobs, trees, a commit, an index.

const branchMain = plumbing.ReferenceName("refs/heads/main")

// readFiles takes the regular files out of src, and refuses what Fetch would refuse.
func readFiles(src fs.FS) ([]*file, error) {
	var out []*file
	err := fs.WalkDir(src, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		if why := badName(d.Name()); why != "" {
			return hostile(path, why)
		}
		if d.IsDir() {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return hostile(path, "not a regular file")
		}
		data, err := fs.ReadFile(src, path)
		if err != nil {
			return err
		}
		out = append(out, &file{path: path, exec: info.Mode()&0o111 != 0, data: data})
		return nil
	})
	if err == nil && len(out) == 0 {
		err = errors.New("no files")
	}
	return out, err
}

// firstCommit makes .git in dir, whose files are already written.
func firstCommit(dir string, list files, who string) (id plumbing.Hash, err error) {
	git := filepath.Join(dir, ".git")
	if err := os.Mkdir(git, 0o755); err != nil {
		return id, err
	}
	store := storeAt(git)
	defer store.Close()
	if err := store.Init(); err != nil {
		return id, err
	}
	cfg := config.NewConfig()
	cfg.Core.IsBare = false
	if err := store.SetConfig(cfg); err != nil {
		return id, err
	}
	blobs, err := putBlobs(store, dir, list)
	if err != nil {
		return id, err
	}
	root, err := putFolder(store, list, blobs, ".")
	if err != nil {
		return id, err
	}
	raw := fmt.Appendf(nil, "tree %s\nauthor %s\ncommitter %s\n\nFirst version\n", root, who, who)
	if id, err = putObject(store, plumbing.CommitObject, raw); err != nil {
		return id, err
	}
	if err := store.SetReference(plumbing.NewHashReference(branchMain, id)); err != nil {
		return id, err
	}
	return id, store.SetReference(plumbing.NewSymbolicReference(plumbing.HEAD, branchMain))
}

// putBlobs stores every file and writes the index that makes the work tree clean.
func putBlobs(store *filesystem.Storage, dir string, list files) (map[string]plumbing.Hash, error) {
	blobs := make(map[string]plumbing.Hash, len(list.sorted))
	idx := &index.Index{Version: 2}
	for _, f := range list.sorted {
		id, err := putObject(store, plumbing.BlobObject, f.data)
		if err != nil {
			return nil, err
		}
		info, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(f.path)))
		if err != nil {
			return nil, err
		}
		blobs[f.path] = id
		idx.Entries = append(idx.Entries, indexEntry(f, id, info.ModTime()))
	}
	return blobs, store.SetIndex(idx)
}

func indexEntry(f *file, id plumbing.Hash, changed time.Time) *index.Entry {
	mode := filemode.Regular
	if f.exec {
		mode = filemode.Executable
	}
	return &index.Entry{Hash: id, Name: f.path, Mode: mode, ModifiedAt: changed, Size: uint32(len(f.data))}
}

// putFolder stores the tree object of one folder, those below it first.
func putFolder(store storer.EncodedObjectStorer, list files, blobs map[string]plumbing.Hash, at string,
) (plumbing.Hash, error) {
	type row struct {
		key string // what Git sorts by: a folder's name ends in a slash
		raw []byte
	}
	var rows []row
	for _, e := range list.folders[at] {
		path := strings.TrimPrefix(at+"/"+e.Name(), "./")
		key, mode, id := e.Name(), modeFile, blobs[path]
		switch {
		case e.IsDir():
			var err error
			if id, err = putFolder(store, list, blobs, path); err != nil {
				return id, err
			}
			key, mode = key+"/", modeFolder
		case list.byPath[path].exec:
			mode = modeExec
		}
		raw := fmt.Appendf(nil, "%s %s\x00", mode, e.Name())
		rows = append(rows, row{key, append(raw, id[:]...)})
	}
	slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.key, b.key) })
	var all bytes.Buffer
	for _, r := range rows {
		all.Write(r.raw)
	}
	return putObject(store, plumbing.TreeObject, all.Bytes())
}

func putObject(store storer.EncodedObjectStorer, kind plumbing.ObjectType, data []byte) (plumbing.Hash,
	error,
) {
	obj := store.NewEncodedObject()
	obj.SetType(kind)
	obj.SetSize(int64(len(data)))
	w, err := obj.Writer()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	_, werr := w.Write(data)
	if err := errors.Join(werr, w.Close()); err != nil {
		return plumbing.ZeroHash, err
	}
	id, err := store.SetEncodedObject(obj)
	if err != nil {
		return id, fmt.Errorf("store %s: %w", kind, err)
	}
	return id, nil
}

// commitToTag is the commit named, or HEAD's; it must be there.
func commitToTag(store *filesystem.Storage, hex string) (plumbing.Hash, error) {
	id := plumbing.NewHash(hex)
	if hex == "" {
		head, err := storer.ResolveReference(store, plumbing.HEAD)
		if err != nil {
			return id, fmt.Errorf("HEAD: %w", err)
		}
		id = head.Hash()
	} else if !isHexID(hex) {
		return id, fmt.Errorf("commit %q: want 40 hex digits", clip(hex))
	}
	if _, err := store.EncodedObject(plumbing.CommitObject, id); err != nil {
		return id, fmt.Errorf("commit %s: %w", id, notFound(err))
	}
	return id, nil
}
