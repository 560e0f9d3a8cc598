package hub

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/delta"
)

// An agent that has a version of a file is offered the difference, which it fetches as any
// other file; one that has nothing gets it packed, where that is worth it.
func TestDifference(t *testing.T) {
	w := newWorld(t)
	gw := w.enrol("gw-1", nil)
	first := make([]byte, 3*protocol.ChunkSize)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range first {
		first[i] = byte(r.Uint32())
	}
	second := append(bytes.Clone(first), "and more"...)
	var files []protocol.Digest
	for _, b := range [][]byte{first, second, bytes.Repeat([]byte("text "), 30_000)} {
		d, err := w.hub.files.Put(b)
		check(t, err)
		files = append(files, d)
	}
	var waiting []func()
	w.hub.diffs.later = func(work, done func()) bool {
		waiting = append(waiting, work, done)
		return len(waiting) < 6
	}
	ask := func(d protocol.Digest, bases ...protocol.Digest) protocol.Chunk {
		t.Helper()
		got := w.chunks(gw, protocol.FetchRequest{Digest: d, Count: 1, Bases: bases})
		if len(got) != 1 {
			t.Fatalf("%d answers", len(got))
		}
		return got[0]
	}
	none := protocol.Digest{}
	for range 2 { // the second does not have it made twice
		if c := ask(files[1], protocol.DigestOf([]byte("unknown")), files[0], none); c.Error == nil ||
			c.Error.Code != protocol.CodeUnavailable || len(waiting) != 2 {
			t.Fatalf("while it is made: %+v, %d wait", c, len(waiting))
		}
	}
	waiting[0]()
	waiting[1]()
	c := ask(files[1], files[0], none)
	if c.Offer == nil || c.Offer.Base != files[0] || c.Offer.Size > 200 {
		t.Fatalf("offered %+v, %+v", c.Offer, c.Error)
	}
	got := w.chunks(gw, protocol.FetchRequest{Digest: c.Offer.Digest, Count: 1})
	if len(got) != 1 || protocol.DigestOf(got[0].Data) != c.Offer.Digest {
		t.Fatalf("the difference: %+v", got)
	}
	apply, err := delta.NewReader(bytes.NewReader(got[0].Data), c.Offer.Size, bytes.NewReader(first))
	check(t, err)
	made, err := io.ReadAll(apply)
	if check(t, err); protocol.DigestOf(made) != files[1] {
		t.Fatal("the difference makes another file")
	}

	_ = ask(files[1], none)
	if c := ask(files[2], none); c.Error == nil || c.Error.Code != protocol.CodeUnavailable {
		t.Fatalf("with no room for more work: %+v", c)
	}
	waiting[2]()
	waiting[3]()
	if c := ask(files[1], none); c.Offer != nil || len(c.Data) != protocol.ChunkSize {
		t.Fatalf("what cannot be packed: %+v", c.Offer)
	}
	waiting = nil
	_ = ask(files[2], none)
	waiting[0]()
	waiting[1]()
	if c := ask(files[2], none); c.Offer == nil || c.Offer.Base != none || c.Offer.Size > 1000 {
		t.Fatalf("what can be packed: %+v, %+v", c.Offer, c.Error)
	}
	if c := ask(files[2], make([]protocol.Digest, protocol.BasesMax+1)...); protocol.CodeOf(c.Error) != protocol.CodeLimit {
		t.Fatalf("too many bases: %+v", c.Error)
	}
}

// Of many differences the oldest go, with their files.
func TestDifferencesBounded(t *testing.T) {
	w := newWorld(t)
	n := 0
	for i := range differencesMax + 3 {
		p := pair{target: protocol.DigestOf([]byte{byte(i), byte(i >> 8)})}
		w.hub.diffs.begin(p, func() *protocol.Offer {
			d, err := w.hub.diffs.files.Put([]byte{byte(i), byte(i >> 8)})
			check(t, err)
			return &protocol.Offer{Digest: d}
		})
	}
	for i := range differencesMax + 3 {
		if w.hub.diffs.files.Has(protocol.DigestOf([]byte{byte(i), byte(i >> 8)})) {
			n++
		}
	}
	if n != differencesMax || len(w.hub.diffs.known) != differencesMax {
		t.Fatalf("%d files and %d differences, want %d", n, len(w.hub.diffs.known), differencesMax)
	}
}
