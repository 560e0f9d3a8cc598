package gateway

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/stavily/stavily/protocol"
)

// ShelfMax bounds the bytes of the files that a gateway keeps for its site.
const ShelfMax = 256 << 20

// Shelf keeps files for a site. One caller at a time.
type Shelf interface {
	// Chunk returns chunk index of a file, verified, and the size of the whole; not ok when it
	// is not here, with the size if that is known.
	Chunk(d protocol.Digest, index uint32) (data []byte, size int64, ok bool)
	// Keep keeps a chunk that was checked by itself. The error, when a file is whole and is
	// not what its digest says, has CodeDigest, and nothing of it is kept.
	Keep(c *protocol.Chunk) error
}

// Folder is a Shelf in a folder of its own. Files that are whole outlive a restart; of one that
// is on its way nothing does. When it is full, what was wanted longest ago goes.
type Folder struct {
	dir   string
	max   int64 // bytes of all files
	bytes int64
	turn  uint64
	files map[protocol.Digest]*kept
}

// kept is one file of a Folder.
type kept struct {
	size  int64
	turn  uint64            // when it was wanted last
	sums  []protocol.Digest // of its chunks; nil: not verified since the start
	whole bool
	have  []bool // chunks, while it is not whole
	left  uint32
}

const suffixPart = ".part"

// OpenFolder returns the shelf in dir, which is made if it is not there. max bounds its bytes.
func OpenFolder(dir string, most int64) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("gateway: files: %w", err)
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("gateway: files: %w", err)
	}
	s := &Folder{dir: dir, max: most, files: map[protocol.Digest]*kept{}}
	for _, n := range names {
		info, err := n.Info()
		b, bad := hex.DecodeString(n.Name())
		if err != nil || bad != nil || len(b) != sha256.Size || info.Size() == 0 {
			_ = os.Remove(filepath.Join(dir, n.Name())) // half a file, or nobody's
			continue
		}
		d := protocol.Digest(b)
		s.files[d] = &kept{size: info.Size(), whole: true}
		s.bytes += info.Size()
	}
	s.shrink(protocol.Digest{})
	return s, nil
}

// Chunk reads a chunk. The whole file is verified before its first one since the start, and
// each chunk against what it was then: flash forgets.
func (s *Folder) Chunk(d protocol.Digest, index uint32) (data []byte, size int64, ok bool) {
	k := s.files[d]
	if k == nil {
		return nil, 0, false
	}
	s.turn++
	k.turn = s.turn
	if k.whole && k.sums == nil && s.verify(d, k) != nil {
		s.drop(d)
		return nil, 0, false
	}
	if index >= protocol.ChunkCount(k.size) || !k.whole && !k.have[index] {
		return nil, k.size, false
	}
	data, err := s.read(d, k, index)
	if err != nil || protocol.DigestOf(data) != k.sums[index] {
		s.drop(d)
		return nil, 0, false
	}
	return data, k.size, true
}

func (s *Folder) read(d protocol.Digest, k *kept, index uint32) ([]byte, error) {
	f, err := os.Open(s.path(d, k.whole))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	at := int64(index) * protocol.ChunkSize
	data := make([]byte, min(protocol.ChunkSize, k.size-at))
	_, err = f.ReadAt(data, at)
	return data, err
}

// verify holds a file against its digest, and notes the digests of its chunks.
func (s *Folder) verify(d protocol.Digest, k *kept) error {
	f, err := os.Open(s.path(d, k.whole))
	if err != nil {
		return err
	}
	defer f.Close()
	all, buf := sha256.New(), make([]byte, protocol.ChunkSize)
	sums := make([]protocol.Digest, 0, protocol.ChunkCount(k.size))
	for {
		n, err := io.ReadFull(f, buf)
		if n > 0 {
			all.Write(buf[:n])
			sums = append(sums, protocol.DigestOf(buf[:n]))
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if got := protocol.Digest(all.Sum(nil)); got != d {
		return protocol.Errorf(protocol.CodeDigest, "file %s: content is %s", d.Short(), got.Short())
	}
	k.sums = sums
	return nil
}

// Keep writes a chunk into its place. The last one that was lacking makes the file whole.
func (s *Folder) Keep(c *protocol.Chunk) error {
	k := s.files[c.Digest]
	if k == nil {
		count := protocol.ChunkCount(c.Size)
		k = &kept{size: c.Size, have: make([]bool, count), left: count, sums: make([]protocol.Digest, count)}
		s.files[c.Digest] = k
		s.bytes += c.Size
		s.shrink(c.Digest)
	}
	if k.size != c.Size {
		return protocol.Errorf(protocol.CodeDigest, "chunk %d of %s: of a file of %d bytes, want %d", c.Index,
			c.Digest.Short(), c.Size, k.size)
	}
	if k.whole || k.have[c.Index] {
		return nil
	}
	if err := s.write(c); err != nil {
		s.drop(c.Digest)
		return fmt.Errorf("keep chunk %d of %s: %w", c.Index, c.Digest.Short(), err)
	}
	k.have[c.Index], k.sums[c.Index] = true, protocol.DigestOf(c.Data)
	if k.left--; k.left > 0 {
		return nil
	}
	err := s.verify(c.Digest, k)
	if err == nil {
		err = os.Rename(s.path(c.Digest, false), s.path(c.Digest, true))
	}
	if err != nil {
		s.drop(c.Digest)
		return err
	}
	k.whole, k.have = true, nil
	return nil
}

func (s *Folder) write(c *protocol.Chunk) error {
	f, err := os.OpenFile(s.path(c.Digest, false), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(c.Data, int64(c.Index)*protocol.ChunkSize)
	return errors.Join(err, f.Close())
}

// shrink makes room, and never by but.
func (s *Folder) shrink(but protocol.Digest) {
	if s.bytes <= s.max {
		return
	}
	all := make([]protocol.Digest, 0, len(s.files))
	for d := range s.files {
		all = append(all, d)
	}
	slices.SortFunc(all, func(d, e protocol.Digest) int {
		return cmp.Or(cmp.Compare(s.files[d].turn, s.files[e].turn), slices.Compare(d[:], e[:]))
	})
	for _, d := range all {
		if s.bytes > s.max && d != but {
			s.drop(d)
		}
	}
}

func (s *Folder) drop(d protocol.Digest) {
	if k := s.files[d]; k != nil {
		s.bytes -= k.size
		delete(s.files, d)
	}
	_ = os.Remove(s.path(d, true))
	_ = os.Remove(s.path(d, false))
}

func (s *Folder) path(d protocol.Digest, whole bool) string {
	name := hex.EncodeToString(d[:])
	if !whole {
		name += suffixPart
	}
	return filepath.Join(s.dir, name)
}

var _ Shelf = (*Folder)(nil)
