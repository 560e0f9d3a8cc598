package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// exportPlan is what export needs beside the objects.
type exportPlan struct {
	id     plumbing.Hash // the tag object
	limits Limits
}

// export follows tag -> commit -> tree and copies out the regular files.
func export(ctx context.Context, objs objects, name string, plan exportPlan) (*Tree, error) {
	raw, tag, err := readTag(objs, name, plan)
	if err != nil {
		return nil, err
	}
	commit := plumbing.NewHash(tag.object)
	root, err := rootOf(objs, commit)
	if err != nil {
		return nil, err
	}
	x := exporter{ctx: ctx, objs: objs, lim: plan.limits}
	if err := x.walk(root, "", 1); err != nil {
		return nil, err
	}
	files := newFiles(x.files)
	return &Tree{
		Tag:       name,
		TagObject: plan.id.String(),
		Commit:    commit.String(),
		Digest:    digestOf(files.sorted),
		Files:     len(files.sorted),
		Bytes:     x.bytes,
		RawTag:    bytes.Clone(raw),
		files:     files,
	}, nil
}

func readTag(objs objects, name string, plan exportPlan) ([]byte, rawTag, error) {
	kind, raw, err := objs.get(plan.id)
	if err != nil {
		return nil, rawTag{}, fmt.Errorf("tag %q: %w", name, err)
	}
	if kind == plumbing.CommitObject {
		return nil, rawTag{}, fmt.Errorf("tag %s is %w: it is a lightweight tag", name, ErrUnsigned)
	}
	if kind != plumbing.TagObject {
		return nil, rawTag{}, fmt.Errorf("tag %s: names a %s: %w", name, kind, ErrNestedTag)
	}
	if len(raw) > plan.limits.TagBytes {
		return nil, rawTag{}, &LimitError{
			What: "bytes of the tag object", Limit: int64(plan.limits.TagBytes), Got: int64(len(raw)),
		}
	}
	tag, err := parseTag(raw)
	if err != nil {
		return nil, rawTag{}, err
	}
	return raw, tag, tag.named(name)
}

func rootOf(objs objects, commit plumbing.Hash) (plumbing.Hash, error) {
	kind, data, err := objs.get(commit)
	if err != nil {
		return plumbing.ZeroHash, fmt.Errorf("commit: %w", err)
	}
	if kind != plumbing.CommitObject {
		return plumbing.ZeroHash, fmt.Errorf("tag names a %s: %w", kind, ErrNestedTag)
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	id, ok := strings.CutPrefix(string(line), "tree ")
	if !ok || !isHexID(id) {
		return plumbing.ZeroHash, fmt.Errorf("commit %s: no tree in its first line", commit)
	}
	return plumbing.NewHash(id), nil
}

// exporter walks one commit's tree.
type exporter struct {
	ctx   context.Context
	objs  objects
	lim   Limits
	files []*file
	seen  int   // files and folders met
	bytes int64 // of all files
}

// walk exports one folder. prefix is its path with a slash, depth the number of names its entries' paths
// have.
func (x *exporter) walk(id plumbing.Hash, prefix string, depth int) error {
	if depth > x.lim.Depth {
		return &LimitError{
			What: fmt.Sprintf("names in path %q", prefix), Limit: int64(x.lim.Depth), Got: int64(depth),
		}
	}
	if err := x.ctx.Err(); err != nil {
		return err
	}
	kind, data, err := x.objs.get(id)
	if err != nil {
		return fmt.Errorf("folder %q: %w", prefix, err)
	}
	if kind != plumbing.TreeObject {
		return hostile(prefix, fmt.Sprintf("folder is a %s", kind))
	}
	folded := make(map[string]string)
	for len(data) > 0 {
		var e entry
		if e, data, err = nextEntry(data); err != nil {
			return hostile(prefix, err.Error())
		}
		if err := x.entry(e, prefix, folded); err != nil {
			return err
		}
		if e.mode == modeFolder {
			if err := x.walk(e.id, prefix+e.name+"/", depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// entry checks one entry's name and kind; a file is exported at once.
func (x *exporter) entry(e entry, prefix string, folded map[string]string) error {
	path := prefix + e.name
	if x.seen++; x.seen > x.lim.Files {
		return &LimitError{What: "files and folders", Limit: int64(x.lim.Files), Got: int64(x.seen)}
	}
	if len(path) > x.lim.PathBytes {
		return &LimitError{
			What:  fmt.Sprintf("bytes of path %q...", path[:min(len(path), 60)]),
			Limit: int64(x.lim.PathBytes), Got: int64(len(path)),
		}
	}
	if why := badName(e.name); why != "" {
		return hostile(path, why)
	}
	key := foldName(e.name)
	if other, ok := folded[key]; ok {
		return hostile(path, fmt.Sprintf("clashes with %q where names ignore case", prefix+other))
	}
	folded[key] = e.name
	switch e.mode {
	case modeFolder:
		return nil
	case modeFile, modeGroupFile, modeExec:
		return x.file(e, path)
	case modeLink:
		return hostile(path, "symbolic link")
	case modeGitlink:
		return hostile(path, "submodule")
	default:
		return hostile(path, fmt.Sprintf("mode %q: want a regular file or a folder", e.mode))
	}
}

func (x *exporter) file(e entry, path string) error {
	kind, data, err := x.objs.get(e.id)
	if err != nil {
		return fmt.Errorf("file %q: %w", path, err)
	}
	if kind != plumbing.BlobObject {
		return hostile(path, fmt.Sprintf("file is a %s", kind))
	}
	if int64(len(data)) > x.lim.FileBytes {
		return &LimitError{
			What: fmt.Sprintf("bytes of file %q", path), Limit: x.lim.FileBytes, Got: int64(len(data)),
		}
	}
	if x.bytes += int64(len(data)); x.bytes > x.lim.TreeBytes {
		return &LimitError{What: "bytes of all files", Limit: x.lim.TreeBytes, Got: x.bytes}
	}
	if bytes.HasPrefix(data, []byte(lfsPointer)) {
		return hostile(path, "pointer to large file storage: its content is not in the repository")
	}
	x.files = append(x.files, &file{path: path, exec: e.mode == modeExec, data: data})
	return nil
}

// lfsPointer starts every pointer file of Git LFS.
const lfsPointer = "version https://git-lfs.github.com/spec/v1"

// The modes of a tree entry, as Git writes them.
const (
	modeFolder    = "40000"
	modeFile      = "100644"
	modeGroupFile = "100664" // written by very old versions of Git
	modeExec      = "100755"
	modeLink      = "120000"
	modeGitlink   = "160000"
)

type entry struct {
	mode, name string
	id         plumbing.Hash
}

// nextEntry reads "mode SP name NUL id" off the head of a tree object.
func nextEntry(data []byte) (entry, []byte, error) {
	head, rest, ok := bytes.Cut(data, []byte{0})
	mode, name, spaced := strings.Cut(string(head), " ")
	if !ok || !spaced || len(rest) < len(plumbing.Hash{}) {
		return entry{}, nil, errors.New("malformed folder")
	}
	e := entry{mode: mode, name: name}
	n := copy(e.id[:], rest)
	return e, rest[n:], nil
}

// digestOf is the SHA-256 that stands for a tree: the line "stavily tree 1", then for each file in order of
// its path's bytes: length of the path (8 bytes, big-endian), path, 1 if executable else 0 (1 byte), length
// of the content (8 bytes, big-endian), content.
func digestOf(sorted []*file) [32]byte {
	h := sha256.New()
	h.Write([]byte("stavily tree 1\n"))
	for _, f := range sorted {
		head := binary.BigEndian.AppendUint64(nil, uint64(len(f.path)))
		head = append(head, f.path...)
		mode := byte(0)
		if f.exec {
			mode = 1
		}
		head = append(head, mode)
		h.Write(binary.BigEndian.AppendUint64(head, uint64(len(f.data))))
		h.Write(f.data)
	}
	return [32]byte(h.Sum(nil))
}

func isHexID(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == 40 && strings.ToLower(s) == s
}
