package disk

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"

	"github.com/stavily/stavily/protocol"
)

// A file on its way in has its chunks at their places, in whatever order they come. After
// the last byte stand a checksum for each chunk, 0 for one that is not here, and a foot
// with the size of the whole. One sync makes a chunk survive: what a power cut leaves of it
// does not have its checksum.
const (
	suffixPart = ".part"
	partMagic  = "stvpart1"
	footSize   = len(partMagic) + 8
	sumSize    = 4
)

// part is what is known of a file on its way in.
type part struct {
	size int64
	have protocol.Bitmap
}

// length returns how long the file on its way in is.
func (p *part) length() int64 { return p.sum(protocol.ChunkCount(p.size)) + int64(footSize) }

// sum returns where the checksum of a chunk stands.
func (p *part) sum(index uint32) int64 { return p.size + int64(index)*sumSize }

func (p *part) whole() bool { return p.have.Count() == protocol.ChunkCount(p.size) }

// AddChunk keeps chunk index of a file of size bytes, wherever it is in the file. One that
// is here already is not written again; a file on its way in with another size is begun
// again.
func (s *files) AddChunk(d protocol.Digest, index uint32, size int64, data []byte) error {
	c := protocol.Chunk{Digest: d, Index: index, Size: size, Data: data}
	if err := c.Check(); err != nil {
		return err
	}
	if _, whole, err := s.Chunks(d, size); whole || err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.parts[d] // Chunks has looked
	if p != nil && p.size == size && p.have.Has(index) {
		return nil
	}
	fresh := p == nil || p.size != size
	if fresh {
		p = &part{size: size}
	}
	if err := s.add(d, p, fresh, &c); err != nil {
		delete(s.parts, d) // the disk says what is there now
		if protocol.CodeOf(err) == protocol.CodeDigest {
			return err
		}
		return storage("add chunk to "+d.Short(), err)
	}
	p.have = p.have.Set(index)
	s.parts[d] = p
	if !p.whole() {
		return nil
	}
	delete(s.parts, d)
	return s.finish(d, p)
}

// add writes a chunk, and begins the file when it is fresh.
func (s *files) add(d protocol.Digest, p *part, fresh bool, c *protocol.Chunk) error {
	flag := os.O_RDWR
	if fresh {
		flag |= os.O_CREATE | os.O_TRUNC
	}
	f, err := s.fs.open(s.path(d, suffixPart), flag)
	if err != nil {
		return err
	}
	if fresh {
		err = begin(f, p)
	}
	if err == nil {
		_, err = f.WriteAt(c.Data, int64(c.Index)*protocol.ChunkSize)
	}
	if err == nil {
		_, err = f.WriteAt(binary.LittleEndian.AppendUint32(nil, checksum(c.Data)), p.sum(c.Index))
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil && fresh {
		err = s.fs.syncDir(s.dir)
	}
	return err
}

// begin takes the room for a file and writes its foot.
func begin(f file, p *part) error {
	if err := f.reserve(p.length()); err != nil {
		return err
	}
	foot := binary.LittleEndian.AppendUint64([]byte(partMagic), uint64(p.size))
	_, err := f.WriteAt(foot, p.length()-int64(footSize))
	return err
}

// part returns what is here of a file on its way in, nil for nothing.
func (s *files) part(d protocol.Digest) (*part, error) {
	if p := s.parts[d]; p != nil {
		return p, nil
	}
	f, err := s.fs.open(s.path(d, suffixPart), os.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p, err := readPart(f)
	if err = errors.Join(err, f.Close()); err != nil || p == nil {
		return nil, err
	}
	s.parts[d] = p
	return p, nil
}

// readPart reads which chunks of a file are good; nil when it is none on its way in.
func readPart(f file) (*part, error) {
	length, err := f.size()
	if err != nil || length < int64(footSize) {
		return nil, err
	}
	foot := make([]byte, footSize)
	if _, err := f.ReadAt(foot, length-int64(footSize)); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint64(foot[len(partMagic):])
	p := &part{size: int64(size)}
	if string(foot[:len(partMagic)]) != partMagic || size == 0 || size > protocol.ArtifactMax ||
		p.length() != length {
		return nil, nil
	}
	sums := make([]byte, length-int64(footSize)-p.size)
	if _, err := f.ReadAt(sums, p.size); err != nil {
		return nil, err
	}
	buffer := make([]byte, protocol.ChunkSize)
	for i := range protocol.ChunkCount(p.size) {
		want := binary.LittleEndian.Uint32(sums[i*sumSize:])
		if want == 0 {
			continue
		}
		data := buffer[:protocol.ChunkLen(p.size, i)]
		if _, err := f.ReadAt(data, int64(i)*protocol.ChunkSize); err != nil {
			return nil, err
		}
		if checksum(data) == want {
			p.have = p.have.Set(i)
		}
	}
	return p, nil
}

// checksum is a chunk's CRC-32C, never 0.
func checksum(b []byte) uint32 { return max(1, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))) }

// finish checks a file whose last chunk has come, cuts off what is not of it and gives it
// its name.
func (s *files) finish(d protocol.Digest, p *part) error {
	name := s.path(d, suffixPart)
	f, err := s.fs.open(name, os.O_RDWR)
	if err != nil {
		return storage("finish "+d.Short(), err)
	}
	got, err := digestOf(f, p.size)
	if err == nil && got != d {
		err = errors.Join(f.Close(), s.fs.remove(name))
		if err != nil {
			return storage("remove "+d.Short(), err)
		}
		return protocol.Errorf(protocol.CodeDigest, "add last chunk of %s: file is %s", d.Short(), got.Short())
	}
	if err == nil {
		err = f.Truncate(p.size)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = s.fs.rename(name, s.path(d, ""))
	}
	if err == nil {
		err = s.fs.syncDir(s.dir)
	}
	if err != nil {
		_ = s.fs.remove(name) // it is complete and would take no chunk any more
		return storage("finish "+d.Short(), err)
	}
	return nil
}

// mend gives complete files on their way in their names: the power went between the last
// chunk and the renaming.
func (s *files) mend() error {
	names, err := s.fs.names(s.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		digits, ok := strings.CutSuffix(name, suffixPart)
		if b, bad := hex.DecodeString(digits); ok && bad == nil && isHex(digits) {
			err = s.mendOne(protocol.Digest(b))
		}
		if err != nil {
			return err
		}
	}
	return s.fs.syncDir(s.dir)
}

// mendOne looks at one file on its way in.
func (s *files) mendOne(d protocol.Digest) error {
	name := s.path(d, suffixPart)
	p, err := s.part(d)
	if err != nil {
		return err
	}
	if p != nil && p.whole() {
		delete(s.parts, d)
		if err := s.finish(d, p); protocol.CodeOf(err) != protocol.CodeDigest {
			return err
		}
		return nil
	}
	if p != nil {
		return nil
	}
	// It may be cut to its size already; or it is of an agent of before, or nothing.
	f, err := s.fs.open(name, os.O_RDONLY)
	if err != nil {
		return err
	}
	size, err := f.size()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	got, err := digestOf(f, size)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if got != d || size == 0 {
		return s.fs.remove(name)
	}
	return s.fs.rename(name, filepath.Join(s.dir, hex.EncodeToString(d[:])))
}
