package disk_test

import (
	"encoding/binary"
	"testing"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/disk"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// Verdicts last until another build comes; there are never more than their bound.
func TestVerdicts(t *testing.T) {
	dir := t.TempDir()
	reopen := func() *disk.Store {
		s, err := disk.Open(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	digest := func(n int) protocol.Digest { return protocol.DigestOf(binary.AppendUvarint(nil, uint64(n))) }
	want := wasmhost.Verdict{Metered: true, SizeB: 7, MemoryMinMB: 2, MemoryMaxMB: 3}
	s := reopen()
	v := s.Verdicts("one")
	if _, found := v.Verdict(digest(0)); found {
		t.Fatal("a verdict on what was never seen")
	}
	for n := range 300 {
		v.Keep(digest(n), want)
	}
	v.Keep(digest(299), want)
	_ = s.Close()

	s = reopen()
	if _, found := s.Verdicts("two").Verdict(digest(299)); found {
		t.Fatal("a verdict of another build")
	}
	v = s.Verdicts("one")
	for n, there := range map[int]bool{0: false, 43: false, 44: true, 299: true} {
		got, found := v.Verdict(digest(n))
		if found != there || there && (got.SizeB != want.SizeB || !got.Metered || got.MemoryMinMB != 2) {
			t.Errorf("verdict %d: %+v, %v; want it there: %v", n, got, found, there)
		}
	}
	if err := s.Apply([]edge.Change{{Key: "verified", Value: []byte{0xff}}}); err != nil {
		t.Fatal(err)
	}
	if _, found := s.Verdicts("one").Verdict(digest(299)); found {
		t.Fatal("a verdict of a spoiled value")
	}
	_ = s.Close()
}
