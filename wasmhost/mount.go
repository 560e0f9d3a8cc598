package wasmhost

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stavily/stavily/protocol"
)

// The bounds of a Tree.
const (
	// TreeEntriesMax bounds the files and folders of one tree.
	TreeEntriesMax = 16_384
	// TreeFileMax bounds one file, in bytes.
	TreeFileMax = 16 << 20
	// TreeBytesMax bounds all files of one tree together, unpacked, in bytes.
	TreeBytesMax = 128 << 20
	// MountsMax bounds the mounts of one plugin.
	MountsMax = 8

	treeDepthMax = 32
)

// Mount is a read-only folder that a guest sees, such as the standard library of the
// engine that it is, or the script that the engine shall run.
type Mount struct {
	Path string // where the guest finds it: absolute and clean, such as "/lib/python"
	Tree *Tree
}

// Tree is files in memory, which nobody changes. It has no path of the machine and no
// links, so that there is nothing that a guest could be led out to. One tree serves any
// number of plugins at once.
type Tree struct {
	root    *treeNode
	digest  protocol.Digest
	entries int
	bytes   int64
}

// treeNode is a file or a folder.
type treeNode struct {
	name   string
	ino    uint64
	dir    bool
	kids   []*treeNode // of a folder, in ascending order of names
	size   int64
	data   []byte    // of a file that is not packed
	packed *zip.File // of one that is
}

// NewTree makes a tree of files by their paths, such as "app/main.py". The map's contents
// must not be changed afterwards. The error has CodeBadInput for a path that is none,
// CodeLimit for a bound.
func NewTree(files map[string][]byte) (*Tree, error) {
	t := newTree()
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	var all bytes.Buffer
	for _, name := range names {
		data := files[name]
		if err := t.add(name, &treeNode{data: data, size: int64(len(data))}); err != nil {
			return nil, err
		}
		sum := protocol.DigestOf(data)
		all.WriteString(name + "\x00")
		all.Write(sum[:])
	}
	t.digest = protocol.DigestOf(all.Bytes())
	return t, nil
}

// ZipTree makes a tree of a zip archive, which is kept as it is: a file is unpacked while
// it is open. Its digest is that of the archive. The error has CodeBadInput for what is no
// archive, or holds anything but regular files and folders, CodeLimit for a bound.
func ZipTree(archive []byte) (*Tree, error) {
	r, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeBadInput, "tree: %w", err)
	}
	t := newTree()
	t.digest = protocol.DigestOf(archive)
	for _, f := range r.File {
		if err := t.addPacked(archive, f); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// CopyTree makes a tree of all files of fsys, which it reads once. What is neither a
// regular file nor a folder is an error with CodeBadInput.
func CopyTree(fsys fs.FS) (*Tree, error) {
	files := map[string][]byte{}
	total := 0
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return nil
		case !d.Type().IsRegular():
			return protocol.Errorf(protocol.CodeBadInput, "tree: %q: neither a file nor a folder", name)
		}
		data, err := fs.ReadFile(fsys, name)
		files[name] = data
		if total += len(data); total > TreeBytesMax || len(files) > TreeEntriesMax {
			return protocol.Errorf(protocol.CodeLimit, "tree: %q: more than %d bytes or %d entries", name,
				TreeBytesMax, TreeEntriesMax)
		}
		return err
	})
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeOf(err), "tree: %w", err)
	}
	return NewTree(files)
}

// Digest names the contents of the tree.
func (t *Tree) Digest() protocol.Digest { return t.digest }

func newTree() *Tree { return &Tree{root: &treeNode{dir: true, ino: 1}, entries: 1} }

func (t *Tree) addPacked(archive []byte, f *zip.File) error {
	if f.UncompressedSize64 > TreeFileMax {
		return protocol.Errorf(protocol.CodeLimit, "tree: %q: %d bytes, limit %d", clip(f.Name, 200),
			f.UncompressedSize64, TreeFileMax)
	}
	mode := f.Mode()
	name := strings.TrimSuffix(f.Name, "/")
	switch {
	case mode.IsDir():
		_, err := t.folder(name)
		return err
	case !mode.IsRegular():
		return protocol.Errorf(protocol.CodeBadInput, "tree: %q: neither a file nor a folder", clip(name, 200))
	}
	n := &treeNode{packed: f, size: int64(f.UncompressedSize64)}
	if f.Method == zip.Store {
		at, err := f.DataOffset()
		if err != nil || at < 0 || n.size > int64(len(archive))-at {
			return protocol.Errorf(protocol.CodeBadInput, "tree: %q: lies outside the archive", clip(name, 200))
		}
		n.data, n.packed = archive[at:at+n.size:at+n.size], nil
	}
	return t.add(name, n)
}

// add puts a file into the tree, making the folders above it.
func (t *Tree) add(name string, n *treeNode) error {
	if n.size > TreeFileMax || t.bytes+n.size > TreeBytesMax {
		return protocol.Errorf(protocol.CodeLimit, "tree: %q: %d bytes, limit %d, and %d for all", clip(name, 200),
			n.size, TreeFileMax, TreeBytesMax)
	}
	if err := treePath(name); err != nil {
		return err
	}
	dir, err := t.folder(path.Dir(name))
	if err != nil {
		return err
	}
	if dir.kid(path.Base(name)) != nil {
		return protocol.Errorf(protocol.CodeBadInput, "tree: %q: stands twice", name)
	}
	t.bytes += n.size
	n.name = path.Base(name)
	return t.enter(dir, n)
}

func (t *Tree) enter(dir, n *treeNode) error {
	if t.entries++; t.entries > TreeEntriesMax {
		return protocol.Errorf(protocol.CodeLimit, "tree: more than %d files and folders", TreeEntriesMax)
	}
	n.ino = uint64(t.entries)
	i, _ := slices.BinarySearchFunc(dir.kids, n.name, compareName)
	dir.kids = slices.Insert(dir.kids, i, n)
	return nil
}

// folder returns a folder, made if it is not there.
func (t *Tree) folder(name string) (*treeNode, error) {
	at := t.root
	if name == "." {
		return at, nil
	}
	if err := treePath(name); err != nil {
		return nil, err
	}
	for part := range strings.SplitSeq(name, "/") {
		next := at.kid(part)
		if next == nil {
			next = &treeNode{name: part, dir: true}
			if err := t.enter(at, next); err != nil {
				return nil, err
			}
		}
		if !next.dir {
			return nil, protocol.Errorf(protocol.CodeBadInput, "tree: %q: %q is a file", name, part)
		}
		at = next
	}
	return at, nil
}

func treePath(name string) error {
	bad := !fs.ValidPath(name) || name == "." || len(name) > FilePathMax || !utf8.ValidString(name) ||
		strings.ContainsAny(name, "\\\x00") || strings.Count(name, "/") >= treeDepthMax
	if bad {
		return protocol.Errorf(protocol.CodeBadInput,
			"tree: path %q: want a relative one such as a/b.txt, at most %d bytes and %d levels", clip(name, 200),
			FilePathMax, treeDepthMax)
	}
	return nil
}

func compareName(n *treeNode, name string) int { return strings.Compare(n.name, name) }

// kid returns what is in a folder by that name, nil for nothing.
func (n *treeNode) kid(name string) *treeNode {
	i, found := slices.BinarySearchFunc(n.kids, name, compareName)
	if !found {
		return nil
	}
	return n.kids[i]
}

// contents returns a file's bytes, which must not be changed, and whether they were
// unpacked for the caller alone.
func (n *treeNode) contents() (data []byte, own bool, err error) {
	if n.packed == nil {
		return n.data, false, nil
	}
	r, err := n.packed.Open()
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = r.Close() }()
	data = make([]byte, n.size)
	if _, err = io.ReadFull(r, data); err != nil {
		return nil, false, err
	}
	if extra, err := io.CopyN(io.Discard, r, 1); extra > 0 || !errors.Is(err, io.EOF) {
		return nil, false, protocol.Errorf(protocol.CodeBadInput, "tree: %q: not the size that the archive says",
			n.name)
	}
	return data, true, nil
}

// checkWorld checks what the guest is to find.
func (s *Spec) checkWorld() error {
	total := 0
	for _, word := range slices.Concat(s.Args, s.Env) {
		total += len(word)
		if strings.ContainsRune(word, 0) {
			return protocol.Errorf(protocol.CodeBadInput, "argument %q: has a NUL", clip(word, 64))
		}
	}
	for _, v := range s.Env {
		if name, _, set := strings.Cut(v, "="); !set || name == "" {
			return protocol.Errorf(protocol.CodeBadInput, "environment %q: want NAME=value", clip(v, 64))
		}
	}
	if len(s.Args) > argvMax || len(s.Env) > argvMax || total > argvBytesMax {
		return protocol.Errorf(protocol.CodeLimit,
			"%d arguments and %d variables, %d bytes: want at most %d each and %d bytes",
			len(s.Args), len(s.Env), total, argvMax, argvBytesMax)
	}
	return checkMounts(s.Mounts)
}

// checkMounts checks where a plugin's mounts are to be.
func checkMounts(mounts []Mount) error {
	if len(mounts) > MountsMax {
		return protocol.Errorf(protocol.CodeLimit, "mounts: %d, limit %d", len(mounts), MountsMax)
	}
	for i, m := range mounts {
		switch {
		case m.Tree == nil:
			return protocol.Errorf(protocol.CodeBadInput, "mount %q: no tree", clip(m.Path, 200))
		case !path.IsAbs(m.Path) || path.Clean(m.Path) != m.Path || len(m.Path) > FilePathMax ||
			strings.ContainsRune(m.Path, 0):
			return protocol.Errorf(protocol.CodeBadInput, "mount %q: want an absolute, clean path", clip(m.Path, 200))
		}
		for _, o := range mounts[:i] {
			if o.Path == m.Path {
				return protocol.Errorf(protocol.CodeBadInput, "mount %q: stands twice", m.Path)
			}
		}
	}
	return nil
}
