package wasmhost

import (
	"encoding/binary"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/tetratelabs/wazero/api"
)

const (
	// heldMax bounds the bytes that are unpacked for a guest's open files.
	heldMax = 64 << 20
	// guestPathMax bounds a path that a guest says.
	guestPathMax = 4096

	typeUnknown = 0 // of the three streams: neither a terminal nor a file
	typeFolder  = 3
	typeFile    = 4

	fdAppend = 1 // the only flag that a file may have, and it says nothing where none is written

	openCreate   = 1
	openFolder   = 2
	openNew      = 4
	openTruncate = 8

	rightRead  = 1 << 1
	rightWrite = 1 << 6
	// The rights that descriptors have. Nobody enforces them, but the C library looks at
	// them before it asks: without the right to write it would not ask for it, and a
	// program that opens a file for writing would not hear that it cannot.
	rightsFile  = rightRead | 1<<2 | 1<<3 | 1<<5 | 1<<7 | 1<<21 | 1<<27
	rightsIn    = rightRead | 1<<3 | 1<<21 | 1<<27
	rightsOut   = rightWrite | 1<<3 | 1<<21 | 1<<27
	rightsDir   = 1<<3 | 1<<13 | 1<<14 | 1<<18 | 1<<21
	rightsBelow = rightsDir | rightsFile | rightWrite
)

// openFile is what a descriptor stands for. The streams have no node.
type openFile struct {
	node  *treeNode
	mount string // path of a mount that the guest finds open
	data  []byte // of a file
	held  int64  // bytes of data that are this descriptor's own
	at    int64
	flags uint16
}

func (f *openFile) copyAt(p []byte, at int64) int {
	if at >= int64(len(f.data)) {
		return 0
	}
	return copy(p, f.data[at:])
}

// file returns what a descriptor stands for, nil for nothing.
func (w *world) file(fd uint32) *openFile {
	if uint64(fd) >= uint64(len(w.fds)) {
		return nil
	}
	return w.fds[fd]
}

// folder returns the folder that a descriptor stands for.
func (w *world) folder(fd uint32) (*treeNode, wasiErrno) {
	f := w.file(fd)
	switch {
	case f == nil:
		return nil, wasiBadf
	case f.node == nil || !f.node.dir:
		return nil, wasiNotdir
	}
	return f.node, wasiOK
}

// place is what a path leads to.
type place struct {
	node   *treeNode // nil when there is nothing
	folder bool      // the path ends in a slash: it means a folder
}

// find follows a path from the folder of a descriptor. Nothing above that is reached.
func (w *world) find(m api.Memory, fd, at, size uint32) (p place, e wasiErrno) {
	dir, e := w.folder(fd)
	if e != wasiOK {
		return p, e
	}
	b, ok := m.Read(at, size)
	switch {
	case !ok:
		return p, wasiFault
	case len(b) == 0:
		return p, wasiNoent
	case len(b) > guestPathMax:
		return p, wasiNameLong
	case !utf8.Valid(b):
		return p, wasiIlseq
	case b[0] == '/':
		return p, wasiPerm
	}
	name := string(b)
	if strings.ContainsRune(name, 0) {
		return p, wasiInval
	}
	return walk(dir, name)
}

func walk(dir *treeNode, name string) (p place, e wasiErrno) {
	above := []*treeNode{dir}
	trimmed := strings.TrimRight(name, "/")
	p.folder = len(trimmed) < len(name)
	missing := false
	for part := range strings.SplitSeq(trimmed, "/") {
		at := above[len(above)-1]
		switch {
		case missing:
			return p, wasiNoent
		case !at.dir:
			return p, wasiNotdir
		case part == "" || part == ".":
		case part == ".." && len(above) == 1:
			return p, wasiPerm
		case part == "..":
			above = above[:len(above)-1]
		default:
			if next := at.kid(part); next != nil {
				above = append(above, next)
				continue
			}
			missing = true
		}
	}
	if !missing {
		p.node = above[len(above)-1]
	}
	if p.folder && p.node != nil && !p.node.dir {
		return p, wasiNotdir
	}
	return p, wasiOK
}

func pathOpen(w *world, m api.Memory, a []uint64) wasiErrno {
	how, rights, flags, result := uint32(a[4]), a[5], uint32(a[7]), uint32(a[8])
	if how > 15 || flags > 31 {
		return wasiInval
	}
	if _, ok := m.Read(result, 4); !ok {
		return wasiFault
	}
	p, e := w.find(m, uint32(a[0]), uint32(a[2]), uint32(a[3]))
	if e != wasiOK {
		return e
	}
	if e = mayOpen(p, how, rights); e != wasiOK {
		return e
	}
	fd, e := w.open(p.node, uint16(flags&fdAppend))
	if e == wasiOK {
		m.WriteUint32Le(result, fd)
	}
	return e
}

// mayOpen says whether what a path leads to can be opened in the way that is asked.
func mayOpen(p place, how uint32, rights uint64) wasiErrno {
	switch n := p.node; {
	case n == nil && how&openCreate != 0:
		return wasiRofs
	case n == nil:
		return wasiNoent
	case how&(openCreate|openNew) == openCreate|openNew:
		return wasiExist
	case how&openFolder != 0 && !n.dir:
		return wasiNotdir
	case n.dir && how&openFolder == 0 && rights&(rightRead|rightWrite) == rightWrite:
		return wasiIsdir
	case how&openTruncate != 0, !n.dir && rights&rightWrite != 0:
		return wasiRofs
	}
	return wasiOK
}

// open gives a guest one more descriptor, the lowest that is free, unless it has as many
// as it may have (M-20).
func (w *world) open(n *treeNode, flags uint16) (fd uint32, e wasiErrno) {
	if w.used >= w.most {
		return 0, wasiMfile
	}
	f := &openFile{node: n, flags: flags}
	if !n.dir {
		if n.packed != nil && w.held+n.size > heldMax {
			return 0, wasiNomem
		}
		data, own, err := n.contents()
		if err != nil {
			return 0, wasiIO
		}
		f.data = data
		if own {
			f.held = n.size
		}
	}
	w.held += f.held
	w.used++
	for fd = range uint32(len(w.fds)) {
		if w.fds[fd] == nil {
			w.fds[fd] = f
			return fd, wasiOK
		}
	}
	w.fds = append(w.fds, f)
	return uint32(len(w.fds)) - 1, wasiOK
}

func fdClose(w *world, _ api.Memory, a []uint64) wasiErrno {
	fd := uint32(a[0])
	f := w.file(fd)
	if f == nil {
		return wasiBadf
	}
	w.fds[fd] = nil
	if f.node != nil && f.mount == "" {
		w.used--
		w.held -= f.held
	}
	return wasiOK
}

// fdRenumber puts an open file in the place of another one. Both must be open: the table
// does not grow by what a guest says.
func fdRenumber(w *world, m api.Memory, a []uint64) wasiErrno {
	from, to := uint32(a[0]), uint32(a[1])
	f := w.file(from)
	switch {
	case f == nil || w.file(to) == nil:
		return wasiBadf
	case f.node == nil || w.file(to).node == nil:
		return wasiNotsup // the streams stay where they are
	case from == to:
		return wasiOK
	}
	fdClose(w, m, []uint64{uint64(to)})
	w.fds[to], w.fds[from] = f, nil
	return wasiOK
}

func fdSeek(w *world, m api.Memory, a []uint64) wasiErrno {
	f, e := w.positioned(uint32(a[0]))
	if e != wasiOK {
		return e
	}
	by, at := int64(a[1]), int64(0)
	switch uint32(a[2]) {
	case io.SeekStart:
	case io.SeekCurrent:
		at = f.at
	case io.SeekEnd:
		at = f.node.size
	default:
		return wasiInval
	}
	if _, ok := m.Read(uint32(a[3]), 8); !ok {
		return wasiFault
	}
	if at += by; at < 0 {
		return wasiInval
	}
	f.at = at
	m.WriteUint64Le(uint32(a[3]), uint64(at))
	return wasiOK
}

func fdTell(w *world, m api.Memory, a []uint64) wasiErrno {
	f, e := w.positioned(uint32(a[0]))
	if e != wasiOK {
		return e
	}
	if !m.WriteUint64Le(uint32(a[1]), uint64(f.at)) {
		return wasiFault
	}
	return wasiOK
}

// positioned returns a file that has a position.
func (w *world) positioned(fd uint32) (*openFile, wasiErrno) {
	f := w.file(fd)
	switch {
	case f == nil:
		return nil, wasiBadf
	case f.node == nil:
		return nil, wasiSpipe
	case f.node.dir:
		return nil, wasiBadf
	}
	return f, wasiOK
}

func fdPrestatGet(w *world, m api.Memory, a []uint64) wasiErrno {
	f := w.file(uint32(a[0]))
	if f == nil || f.mount == "" {
		return wasiBadf
	}
	if !m.WriteUint64Le(uint32(a[1]), uint64(len(f.mount))<<32) {
		return wasiFault
	}
	return wasiOK
}

func fdPrestatDirName(w *world, m api.Memory, a []uint64) wasiErrno {
	f := w.file(uint32(a[0]))
	switch {
	case f == nil || f.mount == "":
		return wasiBadf
	case uint64(uint32(a[2])) < uint64(len(f.mount)):
		return wasiNameLong
	case !m.WriteString(uint32(a[1]), f.mount):
		return wasiFault
	}
	return wasiOK
}

// fdReaddir writes entries until the buffer is full; the last may be cut, which tells
// the guest that there are more. A cookie counts entries.
func fdReaddir(w *world, m api.Memory, a []uint64) wasiErrno {
	dir, e := w.folder(uint32(a[0]))
	if e != wasiOK {
		return e
	}
	b, ok := m.Read(uint32(a[1]), uint32(a[2]))
	if !ok {
		return wasiFault
	}
	if _, ok := m.Read(uint32(a[4]), 4); !ok {
		return wasiFault
	}
	used := 0
	for i := a[3]; i < uint64(len(dir.kids))+2 && used < len(b); i++ {
		used += copy(b[used:], dirent(dir, i))
	}
	m.WriteUint32Le(uint32(a[4]), uint32(used))
	return wasiOK
}

// dirent returns entry i of a folder, of which the first two are itself and the one
// above.
func dirent(dir *treeNode, i uint64) []byte {
	n, name := dir, "."
	switch {
	case i == 1:
		name = ".."
	case i > 1:
		n = dir.kids[i-2]
		name = n.name
	}
	b := make([]byte, 24, 24+len(name))
	le := binary.LittleEndian
	le.PutUint64(b, i+1)
	le.PutUint64(b[8:], n.ino)
	le.PutUint32(b[16:], uint32(len(name)))
	b[20] = n.kind()
	return append(b, name...)
}

func (n *treeNode) kind() byte {
	switch {
	case n == nil:
		return typeUnknown
	case n.dir:
		return typeFolder
	}
	return typeFile
}
