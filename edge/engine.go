package edge

import (
	"sync"
	"weak"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// spec reads what l is started from: the artifact, and its engine when it has one. Each
// file is checked against its digest once more.
func (h *Host) spec(l *Load) (wasmhost.Spec, error) {
	s := wasmhost.Spec{Manifest: l.Manifest, Step: l.Step, Digest: l.Artifact.Digest}
	e := l.Artifact.Engine
	if e != nil {
		s.Digest, s.Args = e.Module.Digest, e.Args
		script, err := h.readTree(l.Artifact.Digest)
		if err != nil {
			return s, err
		}
		s.Mounts = append(s.Mounts, wasmhost.Mount{Path: e.Path, Tree: script})
		for _, lib := range e.Libraries {
			tree, err := h.trees.get(lib.File.Digest, h.readTree)
			if err != nil {
				return s, err
			}
			s.Mounts = append(s.Mounts, wasmhost.Mount{Path: lib.Path, Tree: tree})
		}
	}
	var err error
	s.Wasm, err = h.cfg.Store.ReadFile(s.Digest)
	s.Checked = true // by the Store, as it promises
	return s, err
}

// readTree reads a zip archive from the disk.
func (h *Host) readTree(d protocol.Digest) (*wasmhost.Tree, error) {
	b, err := h.cfg.Store.ReadFile(d)
	if err != nil {
		return nil, err
	}
	tree, err := wasmhost.ZipTree(b)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeUnverified, "artifact %s: %w", d.Short(), err)
	}
	if tree.Digest() != d {
		return nil, protocol.Errorf(protocol.CodeDigest, "artifact has digest %s, want %s", tree.Digest().Short(),
			d.Short())
	}
	return tree, nil
}

// readTree reads a tree by its digest.
type readTree func(protocol.Digest) (*wasmhost.Tree, error)

// trees are the libraries in use, so that all plugins of a language share one. A library
// that no plugin uses any more is garbage.
type trees struct {
	mu  sync.Mutex // guards the field below
	all map[protocol.Digest]weak.Pointer[wasmhost.Tree]
}

// get returns the tree d, which read reads when nobody has it.
func (t *trees) get(d protocol.Digest, read readTree) (*wasmhost.Tree, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if tree := t.all[d].Value(); tree != nil {
		return tree, nil
	}
	tree, err := read(d)
	if err != nil {
		return nil, err
	}
	if t.all == nil {
		t.all = map[protocol.Digest]weak.Pointer[wasmhost.Tree]{}
	}
	for other, p := range t.all { // few, and in no order that could be seen
		if p.Value() == nil {
			delete(t.all, other)
		}
	}
	t.all[d] = weak.Make(tree)
	return tree, nil
}
