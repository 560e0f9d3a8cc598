package wasmhost

import (
	"encoding/binary"
	"io"

	"github.com/tetratelabs/wazero/api"
)

// iovecsMax bounds the pieces of one read or write.
const iovecsMax = 1024

// pieces reads a list of iovecs: ranges of the guest's memory, all of them there.
func pieces(m api.Memory, at, n uint32) ([][]byte, wasiErrno) {
	if n > iovecsMax {
		return nil, wasiInval
	}
	list, ok := m.Read(at, 8*n)
	if !ok {
		return nil, wasiFault
	}
	out := make([][]byte, n)
	for i := range out {
		from, size := binary.LittleEndian.Uint32(list[8*i:]), binary.LittleEndian.Uint32(list[8*i+4:])
		if out[i], ok = m.Read(from, size); !ok {
			return nil, wasiFault
		}
	}
	return out, wasiOK
}

// onePiece is pieces for the case of one, which nearly all are, without a list.
func onePiece(m api.Memory, at, n uint32) (p [1][]byte, ok bool) {
	if n != 1 {
		return p, false
	}
	list, ok := m.Read(at, 8)
	if !ok {
		return p, false
	}
	p[0], ok = m.Read(binary.LittleEndian.Uint32(list), binary.LittleEndian.Uint32(list[4:]))
	return p, ok
}

// transfer is a read or a write of some pieces, and where its count goes.
type transfer struct {
	w      *world
	m      api.Memory
	fd     uint32
	iovs   uint32
	n      uint32
	result uint32
}

// each moves one piece after another until one is short.
func (t transfer) each(move func(p []byte) (int, wasiErrno)) wasiErrno {
	if _, ok := t.m.Read(t.result, 4); !ok {
		return wasiFault
	}
	one, single := onePiece(t.m, t.iovs, t.n)
	list := one[:]
	if !single {
		var e wasiErrno
		if list, e = pieces(t.m, t.iovs, t.n); e != wasiOK {
			return e
		}
	}
	total := uint32(0)
	for _, p := range list {
		if len(p) == 0 {
			continue
		}
		n, e := move(p)
		if e != wasiOK && total == 0 {
			return e
		}
		total += uint32(n)
		if n < len(p) || e != wasiOK {
			break
		}
	}
	t.m.WriteUint32Le(t.result, total)
	return wasiOK
}

func fdRead(w *world, m api.Memory, a []uint64) wasiErrno {
	t := transfer{w, m, uint32(a[0]), uint32(a[1]), uint32(a[2]), uint32(a[3])}
	f := w.file(t.fd)
	switch {
	case f == nil:
		return wasiBadf
	case f.node == nil && t.fd != 0:
		return wasiBadf
	case f.node == nil:
		first := true
		return t.each(func(p []byte) (int, wasiErrno) {
			if !first {
				return 0, wasiOK // what is in the first piece is enough to go on with
			}
			first = false
			return w.readInput(p), wasiOK
		})
	case f.node.dir:
		return wasiIsdir
	}
	return t.each(func(p []byte) (int, wasiErrno) {
		n := f.copyAt(p, f.at)
		f.at += int64(n)
		return n, wasiOK
	})
}

func fdPread(w *world, m api.Memory, a []uint64) wasiErrno {
	t := transfer{w, m, uint32(a[0]), uint32(a[1]), uint32(a[2]), uint32(a[4])}
	at := int64(a[3])
	f := w.file(t.fd)
	switch {
	case f == nil:
		return wasiBadf
	case f.node == nil:
		return wasiSpipe
	case f.node.dir:
		return wasiIsdir
	case at < 0:
		return wasiInval
	}
	return t.each(func(p []byte) (int, wasiErrno) {
		n := f.copyAt(p, at)
		at += int64(n)
		return n, wasiOK
	})
}

func fdWrite(w *world, m api.Memory, a []uint64) wasiErrno {
	t := transfer{w, m, uint32(a[0]), uint32(a[1]), uint32(a[2]), uint32(a[3])}
	f := w.file(t.fd)
	if f == nil || f.node != nil || t.fd == 0 {
		return wasiBadf
	}
	var to io.Writer = guestOut{w.in.duplex}
	if t.fd == 2 {
		to = w.in.errs
	}
	return t.each(func(p []byte) (int, wasiErrno) {
		n, err := to.Write(p)
		if err != nil {
			return n, wasiIO
		}
		return n, wasiOK
	})
}

// fdPwrite: nothing that has a position can be written.
func fdPwrite(w *world, _ api.Memory, a []uint64) wasiErrno {
	f := w.file(uint32(a[0]))
	if f == nil || f.node != nil {
		return wasiBadf
	}
	return wasiSpipe
}

// readInput waits for the host and reads what it said, at most len(p) bytes. 0 is the
// end.
func (w *world) readInput(p []byte) int {
	if w.tape != nil {
		return w.tape.read(p, w.in)
	}
	n, _ := guestIn{w.in.duplex, w.in.woke}.Read(p) // its only error is the end
	return n
}
