package disk

import (
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
)

// cutFS is a file system in memory that knows what a power cut takes: of each file what
// was not synced, by sectors and halves of them and in any order, and of each name what
// its directory did not sync. It goes dark at any of its operations.
type cutFS struct {
	random  *rand.Rand
	files   map[string]*inode // as seen
	durable map[string]*inode
	changed []map[string]*inode // names that are not synced, in order; nil: gone
	ops     int
	cutAt   int // the operation in which the power goes; 0: never
	room    int64
	log     []string
}

type inode struct {
	data, durable []byte
	writes        []write
}

// write is one that is not synced; data nil: the file became at long.
type write struct {
	at   int64
	data []byte
}

var errCut = errors.New("the power is gone")

const sector = 512

func newCutFS(random *rand.Rand) *cutFS {
	return &cutFS{random: random, files: map[string]*inode{}, durable: map[string]*inode{}}
}

// step counts an operation; last says that the power goes in its middle.
func (c *cutFS) step(what string) (last bool, err error) {
	if c.cutAt > 0 && c.ops >= c.cutAt {
		return false, errCut
	}
	c.ops++
	c.log = append(c.log, what)
	return c.ops == c.cutAt, nil
}

func (c *cutFS) open(name string, flag int) (file, error) {
	if c.cutAt > 0 && c.ops >= c.cutAt {
		return nil, errCut
	}
	n := c.files[name]
	switch {
	case n == nil && flag&os.O_CREATE == 0:
		return nil, os.ErrNotExist
	case n == nil || flag&os.O_TRUNC != 0:
		last, err := c.step("create " + name)
		if err != nil {
			return nil, err
		}
		n = &inode{}
		c.name(map[string]*inode{name: n})
		if last {
			return nil, errCut
		}
	}
	return &cutFile{c, n, name}, nil
}

func (c *cutFS) name(to map[string]*inode) {
	c.changed = append(c.changed, to)
	setNames(c.files, to)
}

func setNames(files, to map[string]*inode) {
	for name, n := range to {
		if files[name] = n; n == nil {
			delete(files, name)
		}
	}
}

func (c *cutFS) names(string) ([]string, error) {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(c.files)) {
		all = append(all, name[strings.LastIndex(name, "/")+1:])
	}
	return all, nil
}

func (c *cutFS) rename(from, to string) error {
	last, err := c.step("rename " + from)
	if err != nil {
		return err
	}
	c.name(map[string]*inode{from: nil, to: c.files[from]})
	return cutIf(last)
}

func (c *cutFS) remove(name string) error {
	last, err := c.step("remove " + name)
	if err != nil {
		return err
	}
	c.name(map[string]*inode{name: nil})
	return cutIf(last)
}

func (c *cutFS) syncDir(string) error {
	last, err := c.step("sync directory")
	if err != nil || last {
		return errCut
	}
	for _, to := range c.changed {
		setNames(c.durable, to)
	}
	c.changed = nil
	return nil
}

func cutIf(last bool) error {
	if last {
		return errCut
	}
	return nil
}

type cutFile struct {
	fs   *cutFS
	n    *inode
	name string
}

func (f *cutFile) ReadAt(b []byte, at int64) (int, error) {
	if at >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.n.data[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *cutFile) WriteAt(b []byte, at int64) (int, error) {
	last, err := f.fs.step("write " + f.name)
	if err != nil {
		return 0, err
	}
	if f.fs.room > 0 && f.fs.used()+at+int64(len(b))-int64(len(f.n.data)) > f.fs.room {
		return 0, syscall.ENOSPC
	}
	f.change(write{at, slices.Clone(b)})
	return len(b), cutIf(last)
}

func (f *cutFile) Truncate(size int64) error {
	last, err := f.fs.step("truncate " + f.name)
	if err != nil {
		return err
	}
	f.change(write{at: size})
	return cutIf(last)
}

func (f *cutFile) change(w write) {
	f.n.writes = append(f.n.writes, w)
	f.n.data = w.onto(f.n.data)
}

func (w write) onto(b []byte) []byte {
	if w.data == nil {
		return append(b, make([]byte, max(0, w.at-int64(len(b))))...)[:w.at]
	}
	b = append(b, make([]byte, max(0, w.at+int64(len(w.data))-int64(len(b))))...)
	copy(b[w.at:], w.data)
	return b
}

func (f *cutFile) reserve(size int64) error {
	if size <= int64(len(f.n.data)) {
		return nil
	}
	if f.fs.room > 0 && f.fs.used()+size-int64(len(f.n.data)) > f.fs.room {
		return syscall.ENOSPC
	}
	return f.Truncate(size)
}

func (c *cutFS) used() (n int64) {
	for _, f := range c.files {
		n += int64(len(f.data))
	}
	return n
}

func (f *cutFile) Sync() error {
	last, err := f.fs.step("sync " + f.name)
	if err != nil || last {
		return errCut
	}
	f.n.durable, f.n.writes = slices.Clone(f.n.data), nil
	return nil
}

func (f *cutFile) Close() error         { return nil }
func (f *cutFile) size() (int64, error) { return int64(len(f.n.data)), nil }

// How much of what was not synced a cut leaves.
const (
	leavesNone = iota
	leavesAll
	leavesSome
	leavesEnd
)

// survive returns what a cut leaves.
func (c *cutFS) survive(leaves int) *cutFS {
	after := newCutFS(c.random)
	names := maps.Clone(c.durable)
	for _, to := range c.changed {
		if leaves == leavesAll || leaves >= leavesSome && c.random.IntN(2) == 0 {
			setNames(names, to)
		}
	}
	for name, n := range names {
		b := slices.Clone(n.durable)
		for i, w := range n.writes {
			switch {
			case leaves == leavesAll:
				b = w.onto(b)
			case leaves == leavesEnd && i == len(n.writes)-1, leaves == leavesSome:
				b = c.some(w, b)
			}
		}
		f := &inode{data: b, durable: slices.Clone(b)}
		after.files[name], after.durable[name] = f, f
	}
	return after
}

// some puts a part of a write onto b: any of its sectors, one perhaps by half.
func (c *cutFS) some(w write, b []byte) []byte {
	if w.data == nil {
		if c.random.IntN(2) == 0 {
			return w.onto(b)
		}
		return b
	}
	for from := w.at; from < w.at+int64(len(w.data)); {
		to := min((from/sector+1)*sector, w.at+int64(len(w.data)))
		if c.random.IntN(4) == 0 {
			to = min(to, (from/sector)*sector+sector/2)
		}
		if to > from && c.random.IntN(2) == 0 {
			b = write{from, w.data[from-w.at : to-w.at]}.onto(b)
		}
		from = (from/sector + 1) * sector
	}
	return b
}
