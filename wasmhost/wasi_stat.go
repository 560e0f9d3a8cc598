package wasmhost

import (
	"encoding/binary"

	"github.com/tetratelabs/wazero/api"
)

const (
	fdstatSize   = 24
	filestatSize = 64

	adviceMax = 5 // of fd_advise
)

func fdFdstatGet(w *world, m api.Memory, a []uint64) wasiErrno {
	fd := uint32(a[0])
	f := w.file(fd)
	if f == nil {
		return wasiBadf
	}
	b, ok := m.Read(uint32(a[1]), fdstatSize)
	if !ok {
		return wasiFault
	}
	base, below := uint64(rightsOut), uint64(0)
	switch {
	case f.node == nil && fd == 0:
		base = rightsIn
	case f.node != nil && f.node.dir:
		base, below = rightsDir, rightsBelow
	case f.node != nil:
		base = rightsFile
	}
	clear(b)
	le := binary.LittleEndian
	b[0] = f.node.kind()
	le.PutUint16(b[2:], f.flags)
	le.PutUint64(b[8:], base)
	le.PutUint64(b[16:], below)
	return wasiOK
}

// fdFdstatSetFlags: a file may be marked for appending. No stream can be made not to
// wait.
func fdFdstatSetFlags(w *world, _ api.Memory, a []uint64) wasiErrno {
	f, flags := w.file(uint32(a[0])), uint32(a[1])
	switch {
	case f == nil:
		return wasiBadf
	case flags > 31:
		return wasiInval
	case flags&^fdAppend != 0:
		return wasiNotsup
	}
	f.flags = uint16(flags)
	return wasiOK
}

// fdFdstatSetRights has gone from WASI; nobody's rights are looked at.
func fdFdstatSetRights(w *world, _ api.Memory, a []uint64) wasiErrno {
	if w.file(uint32(a[0])) == nil {
		return wasiBadf
	}
	return wasiNosys
}

func fdFilestatGet(w *world, m api.Memory, a []uint64) wasiErrno {
	f := w.file(uint32(a[0]))
	if f == nil {
		return wasiBadf
	}
	return putFilestat(m, uint32(a[1]), f.node)
}

func pathFilestatGet(w *world, m api.Memory, a []uint64) wasiErrno {
	p, e := w.find(m, uint32(a[0]), uint32(a[2]), uint32(a[3]))
	switch {
	case e != wasiOK:
		return e
	case p.node == nil:
		return wasiNoent
	}
	return putFilestat(m, uint32(a[4]), p.node)
}

// putFilestat writes what there is to know of a file; its times are 1970.
func putFilestat(m api.Memory, at uint32, n *treeNode) wasiErrno {
	b, ok := m.Read(at, filestatSize)
	if !ok {
		return wasiFault
	}
	clear(b)
	b[16] = n.kind()
	le := binary.LittleEndian
	le.PutUint64(b[24:], 1)
	if n != nil {
		le.PutUint64(b, 1)
		le.PutUint64(b[8:], n.ino)
		le.PutUint64(b[32:], uint64(n.size))
	}
	return wasiOK
}

func fdAdvise(w *world, _ api.Memory, a []uint64) wasiErrno {
	f := w.file(uint32(a[0]))
	switch {
	case f == nil:
		return wasiBadf
	case f.node == nil:
		return wasiSpipe
	case uint32(a[3]) > adviceMax || int64(a[1]) < 0 || int64(a[2]) < 0:
		return wasiInval
	}
	return wasiOK
}

// fdSync: all that there is to write is written.
func fdSync(w *world, _ api.Memory, a []uint64) wasiErrno {
	f := w.file(uint32(a[0]))
	switch {
	case f == nil:
		return wasiBadf
	case f.node == nil:
		return wasiInval
	}
	return wasiOK
}

// changed is the answer to what would change an open file.
func (w *world) changed(fd uint32) wasiErrno {
	f := w.file(fd)
	switch {
	case f == nil:
		return wasiBadf
	case f.node == nil:
		return wasiInval
	case f.node.dir:
		return wasiIsdir
	}
	return wasiRofs
}

func fdAllocate(w *world, _ api.Memory, a []uint64) wasiErrno {
	if f := w.file(uint32(a[0])); f != nil && f.node == nil {
		return wasiSpipe
	}
	return w.changed(uint32(a[0]))
}

func fdFilestatSetSize(w *world, _ api.Memory, a []uint64) wasiErrno {
	if int64(a[1]) < 0 && w.file(uint32(a[0])) != nil {
		return wasiInval
	}
	return w.changed(uint32(a[0]))
}

func fdFilestatSetTimes(w *world, _ api.Memory, a []uint64) wasiErrno {
	f := w.file(uint32(a[0]))
	switch {
	case f == nil:
		return wasiBadf
	case badTimes(a[3]):
		return wasiInval
	}
	return wasiRofs
}

// badTimes reports whether flags say two things of one time, or something unknown.
func badTimes(flags uint64) bool {
	f := uint32(flags)
	return f > 15 || f&3 == 3 || f&12 == 12
}

func pathFilestatSetTimes(w *world, m api.Memory, a []uint64) wasiErrno {
	p, e := w.find(m, uint32(a[0]), uint32(a[2]), uint32(a[3]))
	switch {
	case e != wasiOK:
		return e
	case p.node == nil:
		return wasiNoent
	case badTimes(a[6]):
		return wasiInval
	}
	return wasiRofs
}

func pathCreateDirectory(w *world, m api.Memory, a []uint64) wasiErrno {
	return w.absent(m, uint32(a[0]), uint32(a[1]), uint32(a[2]))
}

// absent is the answer to what would make something new: it exists, or it cannot be made.
func (w *world) absent(m api.Memory, fd, at, size uint32) wasiErrno {
	p, e := w.find(m, fd, at, size)
	switch {
	case e != wasiOK:
		return e
	case p.node != nil:
		return wasiExist
	}
	return wasiRofs
}

// present is the answer to what would take something away.
func (w *world) present(m api.Memory, fd, at, size uint32) wasiErrno {
	p, e := w.find(m, fd, at, size)
	switch {
	case e != wasiOK:
		return e
	case p.node == nil:
		return wasiNoent
	}
	return wasiRofs
}

func pathRemove(w *world, m api.Memory, a []uint64) wasiErrno {
	return w.present(m, uint32(a[0]), uint32(a[1]), uint32(a[2]))
}

func pathRename(w *world, m api.Memory, a []uint64) wasiErrno {
	if e := w.present(m, uint32(a[0]), uint32(a[1]), uint32(a[2])); e != wasiRofs {
		return e
	}
	_, e := w.find(m, uint32(a[3]), uint32(a[4]), uint32(a[5]))
	if e != wasiOK {
		return e
	}
	return wasiRofs
}

func pathLink(w *world, m api.Memory, a []uint64) wasiErrno {
	if e := w.present(m, uint32(a[0]), uint32(a[2]), uint32(a[3])); e != wasiRofs {
		return e
	}
	return w.absent(m, uint32(a[4]), uint32(a[5]), uint32(a[6]))
}

func pathSymlink(w *world, m api.Memory, a []uint64) wasiErrno {
	if _, ok := m.Read(uint32(a[0]), uint32(a[1])); !ok {
		return wasiFault
	}
	return w.absent(m, uint32(a[2]), uint32(a[3]), uint32(a[4]))
}

// pathReadlink: there are no links.
func pathReadlink(w *world, m api.Memory, a []uint64) wasiErrno {
	if e := w.present(m, uint32(a[0]), uint32(a[1]), uint32(a[2])); e != wasiRofs {
		return e
	}
	return wasiInval
}
