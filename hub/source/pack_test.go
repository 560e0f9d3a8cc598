package source

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
)

// packer writes packs by hand, hostile ones too.
type packer struct {
	buf   bytes.Buffer
	count uint32
}

func (p *packer) add(kind plumbing.ObjectType, size int, base, data []byte) int {
	if p.buf.Len() == 0 {
		p.buf.WriteString("PACK\x00\x00\x00\x02\x00\x00\x00\x00")
	}
	at := p.buf.Len()
	b := byte(kind)<<4 | byte(size&15)
	for size >>= 4; size > 0; size >>= 7 {
		p.buf.WriteByte(b | 0x80)
		b = byte(size & 0x7f)
	}
	p.buf.WriteByte(b)
	p.buf.Write(base)
	z := zlib.NewWriter(&p.buf)
	_, _ = z.Write(data)
	_ = z.Close()
	p.count++
	return at
}

func (p *packer) object(kind plumbing.ObjectType, data string) int {
	return p.add(kind, len(data), nil, []byte(data))
}

func (p *packer) refDelta(base plumbing.Hash, steps []byte) int {
	return p.add(plumbing.REFDeltaObject, len(steps), base[:], steps)
}

func (p *packer) bytes() []byte {
	out := bytes.Clone(p.buf.Bytes())
	binary.BigEndian.PutUint32(out[8:], p.count)
	sum := sha1.Sum(out)
	return append(out, sum[:]...)
}

// twice is a delta that makes base+base out of a base of n bytes.
func twice(n int) []byte {
	steps := append(binary.AppendUvarint(nil, uint64(n)), binary.AppendUvarint(nil, uint64(2*n))...)
	copyAll := []byte{0xf0, byte(n), byte(n >> 8), byte(n >> 16)}
	return append(append(steps, copyAll...), copyAll...)
}

func blobName(t *testing.T, data string) plumbing.Hash {
	t.Helper()
	id, err := nameOf(plumbing.BlobObject, []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Deltas may come before their base and stand on each other.
func TestPackDeltas(t *testing.T) {
	var p packer
	p.refDelta(blobName(t, "abab"), twice(4))
	p.refDelta(blobName(t, "ab"), twice(2))
	p.object(plumbing.BlobObject, "ab")
	p.refDelta(blobName(t, "abababab"), twice(8))
	got, err := readPack(bytes.NewReader(p.bytes()), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 2, 4, 8} {
		want := strings.Repeat("ab", n)
		kind, data, err := got.get(blobName(t, want))
		if err != nil || kind != plumbing.BlobObject || string(data) != want {
			t.Errorf("%q: %s %q, %v", want, kind, data, err)
		}
	}
}

// A pack of a few hundred bytes that would unpack to gigabytes is stopped before it does.
func TestPackBombs(t *testing.T) {
	lim := Limits{ObjectBytes: 1 << 20}.filled()
	double := func() []byte {
		var p packer
		data := strings.Repeat("ab", 8)
		p.object(plumbing.BlobObject, data)
		for n := 16; n < 1<<23; n *= 2 {
			p.refDelta(blobName(t, data), twice(n))
			data += data
		}
		return p.bytes()
	}
	inflate := func() []byte {
		var p packer
		p.object(plumbing.BlobObject, strings.Repeat("\x00", 4<<20))
		return p.bytes()
	}
	liar := func() []byte { // says 3 bytes, holds 4 MiB
		var p packer
		p.add(plumbing.BlobObject, 3, nil, make([]byte, 4<<20))
		return p.bytes()
	}
	huge := func() []byte { // says a delta makes 2^40 bytes
		var p packer
		p.object(plumbing.BlobObject, "ab")
		steps := append(binary.AppendUvarint(nil, 2), binary.AppendUvarint(nil, 1<<40)...)
		p.refDelta(blobName(t, "ab"), append(steps, 0x90, 2))
		return p.bytes()
	}
	for name, c := range map[string]struct {
		pack  []byte
		limit bool
		want  string
	}{
		"doubling deltas": {double(), true, "bytes of all objects"},
		"zlib bomb":       {inflate(), true, "bytes of all objects"},
		"wrong length":    {liar(), false, "exceeds declared size"},
		"huge delta":      {huge(), true, "bytes of all objects"},
	} {
		_, err := readPack(bytes.NewReader(c.pack), lim)
		if err == nil || errors.Is(err, ErrLimit) != c.limit || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s of %d bytes: %v", name, len(c.pack), err)
		}
	}
}

func TestPackErrors(t *testing.T) {
	var good packer
	good.object(plumbing.BlobObject, "ab")
	whole := good.bytes()
	for i := range len(whole) {
		if _, err := readPack(bytes.NewReader(whole[:i]), DefaultLimits()); err == nil {
			t.Errorf("cut at byte %d of %d: accepted", i, len(whole))
		}
	}
	for i := range len(whole) {
		changed := bytes.Clone(whole)
		changed[i] ^= 0x40
		if _, err := readPack(bytes.NewReader(changed), DefaultLimits()); err == nil {
			t.Errorf("byte %d changed: accepted", i)
		}
	}
	var orphan packer
	orphan.refDelta(blobName(t, "nowhere"), twice(7))
	_, err := readPack(bytes.NewReader(orphan.bytes()), DefaultLimits())
	if err == nil || !strings.Contains(err.Error(), "1 deltas without their base") {
		t.Errorf("a delta without its base: %v", err)
	}
}

// FuzzPack: no panic on any bytes, and never more unpacked than the budget.
func FuzzPack(f *testing.F) {
	var p packer
	p.object(plumbing.BlobObject, "ab")
	id, err := nameOf(plumbing.BlobObject, []byte("ab"))
	if err != nil {
		f.Fatal(err)
	}
	p.refDelta(id, twice(2))
	f.Add(p.bytes())
	f.Add([]byte("PACK\x00\x00\x00\x02\x00\x00\x00\x01"))
	lim := Limits{ObjectBytes: 1 << 16, Objects: 100}.filled()
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := readPack(bytes.NewReader(raw), lim)
		if err != nil {
			return
		}
		sum := int64(0)
		for _, o := range got.byID {
			sum += int64(len(o.data))
		}
		if sum > lim.ObjectBytes {
			t.Fatalf("%d bytes unpacked", sum)
		}
	})
}

// FuzzTree: no panic on any tree object; what passes has names that every disk takes.
func FuzzTree(f *testing.F) {
	f.Add([]byte("100644 a\x00" + strings.Repeat("\x01", 20) + "40000 b\x00" + strings.Repeat("\x02", 20)))
	f.Add([]byte("100644 .git\x00" + strings.Repeat("\x01", 20)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for rest := raw; len(rest) > 0; {
			e, next, err := nextEntry(rest)
			if err != nil {
				return
			}
			if len(next) >= len(rest) {
				t.Fatal("no progress")
			}
			if badName(e.name) == "" && strings.ContainsAny(e.name, "/\\\x00\n:") {
				t.Fatalf("name %q passed", e.name)
			}
			rest = next
		}
	})
}
