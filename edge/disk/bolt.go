package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// The agents of before kept their keys in one bucket of a bbolt file. It is read here once,
// without its library: pages that hold branches or leaves, found from one of two metas.

const (
	boltMagic    = 0xed0cdaed
	boltBranch   = 1
	boltLeaf     = 2
	boltHeader   = 16 // of a page: number, flags, count, overflow
	boltElement  = 16
	boltDepthMax = 32
	boltPageMax  = 64 << 20
)

var (
	errBolt = errors.New("bbolt file: not readable")
	boltLE  = binary.LittleEndian // as on every platform there is an agent for
)

type bolt struct {
	file     io.ReaderAt
	pageSize int64
	pages    int64 // that may still be read: no page is met twice
	yield    func(key, value []byte) error
}

// readBolt yields the keys of a bucket in ascending order until yield returns an error.
// errBolt is wrapped when the file is not what it should be; what came before is good.
func readBolt(f *os.File, bucket string, yield func(key, value []byte) error) error {
	b := &bolt{file: f}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	root, err := b.root()
	if err != nil {
		return err
	}
	b.pages = info.Size() / b.pageSize
	var found []byte
	b.yield = func(key, value []byte) error {
		if string(key) == bucket {
			found = append([]byte{}, value...)
		}
		return nil
	}
	if err := b.page(root, 0); err != nil {
		return err
	}
	if len(found) < boltElement {
		return nil // a bucket that is not there is empty
	}
	b.yield, b.pages = yield, info.Size()/b.pageSize
	if at := boltLE.Uint64(found); at != 0 {
		return b.page(at, 0)
	}
	return b.leaf(found[boltElement:])
}

// root returns the root page of the newer good meta.
func (b *bolt) root() (root uint64, err error) {
	newest, some := uint64(0), false
	for _, at := range []int64{0, 4096, 8192, 16384, 32768, 65536} { // the second is one page in
		var m [boltHeader + 64]byte
		if _, err := b.file.ReadAt(m[:], at); err != nil {
			break
		}
		meta := m[boltHeader:]
		size, tx := int64(boltLE.Uint32(meta[8:])), boltLE.Uint64(meta[48:])
		sum := fnv.New64a()
		_, _ = sum.Write(meta[:56])
		good := boltLE.Uint32(meta) == boltMagic && sum.Sum64() == boltLE.Uint64(meta[56:])
		if good && (at == 0 || at == size) && size >= 512 && (!some || tx > newest) {
			newest, some, root, b.pageSize = tx, true, boltLE.Uint64(meta[16:]), size
		}
	}
	if !some {
		return 0, fmt.Errorf("%w: no good meta page", errBolt)
	}
	return root, nil
}

// page yields what stands under a page.
func (b *bolt) page(number uint64, depth int) error {
	if b.pages--; b.pages < 0 || depth > boltDepthMax || number > 1<<40 {
		return fmt.Errorf("%w: page %d at depth %d", errBolt, number, depth)
	}
	var head [boltHeader]byte
	if _, err := b.file.ReadAt(head[:], int64(number)*b.pageSize); err != nil {
		return fmt.Errorf("%w: page %d: %w", errBolt, number, err)
	}
	size := (int64(boltLE.Uint32(head[12:])) + 1) * b.pageSize
	if boltLE.Uint64(head[:]) != number || size > boltPageMax {
		return fmt.Errorf("%w: page %d is none", errBolt, number)
	}
	p := make([]byte, size)
	if _, err := b.file.ReadAt(p, int64(number)*b.pageSize); err != nil {
		return fmt.Errorf("%w: page %d: %w", errBolt, number, err)
	}
	switch boltLE.Uint16(p[8:]) {
	case boltLeaf:
		return b.leaf(p)
	case boltBranch:
		return b.branch(p, depth)
	}
	return fmt.Errorf("%w: page %d is of another kind", errBolt, number)
}

func (b *bolt) branch(p []byte, depth int) error {
	for i := range int(boltLE.Uint16(p[10:])) {
		at := boltHeader + i*boltElement
		if at+boltElement > len(p) {
			return fmt.Errorf("%w: branch of too many", errBolt)
		}
		if err := b.page(boltLE.Uint64(p[at+8:]), depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (b *bolt) leaf(p []byte) error {
	if len(p) < boltHeader {
		return fmt.Errorf("%w: short leaf", errBolt)
	}
	for i := range int(boltLE.Uint16(p[10:])) {
		at := boltHeader + i*boltElement
		if at+boltElement > len(p) {
			return fmt.Errorf("%w: leaf of too many", errBolt)
		}
		from := uint64(at) + uint64(boltLE.Uint32(p[at+4:]))
		middle := from + uint64(boltLE.Uint32(p[at+8:]))
		to := middle + uint64(boltLE.Uint32(p[at+12:]))
		if to > uint64(len(p)) {
			return fmt.Errorf("%w: leaf with an element outside", errBolt)
		}
		if err := b.yield(p[from:middle], p[middle:to]); err != nil {
			return err
		}
	}
	return nil
}
