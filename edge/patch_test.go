package edge_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stavily/stavily/edge/storetest"
	"github.com/stavily/stavily/protocol"
)

// noise returns n bytes that cannot be packed.
func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// versions has a world run version 1 of a plugin, and returns what version 2 is.
func versions(t *testing.T) (w *world, first, second []byte) {
	t.Helper()
	w = newWorld(t)
	w.hub.offer = func(*protocol.Offer) {}
	first = noise(1, 6*protocol.ChunkSize+100)
	second = append(append(bytes.Clone(first[:70_000]), "a field is added"...), first[70_000:]...)
	w.hub.publish("tick", protocol.Trigger, "1.0.0", first)
	w.hub.publish("work", protocol.Action, "1.0.0", []byte("work"))
	w.hub.publish("tell", protocol.Output, "1.0.0", []byte("tell"))
	w.boot()
	w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
	w.online()
	w.pass(time.Minute)
	if s := w.agent.Status(); s.Revision != 1 {
		t.Fatalf("revision %d, want 1: %+v", s.Revision, s.Refused)
	}
	w.hub.fetches, w.hub.sent = nil, 0
	return w, first, second
}

func (w *world) update(second []byte) {
	w.hub.publish("tick", protocol.Trigger, "1.1.0", second)
	w.hub.deploy(w.hub.desired(2, w.hub.workflow("w")))
}

// wantFile ends with revision 2 and the very bytes of its artifact.
func (w *world) wantFile(second []byte) {
	w.t.Helper()
	if s := w.agent.Status(); s.Revision != 2 {
		w.t.Fatalf("revision %d, want 2: %+v", s.Revision, s.Refused)
	}
	if got, err := w.disk.ReadFile(protocol.DigestOf(second)); err != nil || !bytes.Equal(got, second) {
		w.t.Fatalf("artifact of %d bytes, %v", len(got), err)
	}
}

// A new version of a plugin comes as the difference from the one that is here.
func TestDifference(t *testing.T) {
	w, first, second := versions(t)
	w.update(second)
	w.pass(time.Minute)
	w.wantFile(second)
	if w.hub.sent > 10_000 {
		t.Fatalf("%d bytes of chunks for a change of 16", w.hub.sent)
	}
	if base := w.hub.fetches[len(w.hub.fetches)-2].Bases; len(base) != 2 || base[0] != protocol.DigestOf(first) {
		t.Fatalf("bases %v, want the first version and none", base)
	}
}

// Whatever is wrong with a difference, the file comes whole in the end, and no other.
func TestBadDifference(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(w *world, first []byte)
	}{
		{"of another base", func(w *world, _ []byte) {
			w.hub.offer = func(o *protocol.Offer) { o.Base = protocol.Digest{} }
		}},
		{"not to be had", func(w *world, _ []byte) {
			w.hub.offer = func(o *protocol.Offer) { o.Digest[0] ^= 1 }
		}},
		{"not what it is called", func(w *world, _ []byte) {
			w.hub.offer = func(o *protocol.Offer) {
				bad := bytes.Clone(w.hub.files[o.Digest])
				bad[len(bad)/2] ^= 1
				w.hub.files[o.Digest] = bad
			}
		}},
		{"no difference at all", func(w *world, _ []byte) {
			w.hub.offer = func(o *protocol.Offer) { o.Digest, o.Size = w.hub.put([]byte("stvd2")), 5 }
		}},
		{"of another file", func(w *world, first []byte) {
			w.hub.offer = func(o *protocol.Offer) {
				for d, b := range w.hub.files {
					if bytes.HasPrefix(b, []byte("stvd1")) && d != o.Digest {
						o.Digest, o.Size = d, int64(len(b))
					}
				}
			}
		}},
		{"larger than the file", func(w *world, _ []byte) {
			w.hub.offer = func(o *protocol.Offer) { o.Size = protocol.ArtifactMax }
		}},
		{"a base that nobody named", func(w *world, _ []byte) {
			w.hub.offer = func(o *protocol.Offer) { o.Base[0] ^= 1 }
		}},
		{"against a base that has rotted", func(w *world, first []byte) { w.disk.Rot(protocol.DigestOf(first)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, first, second := versions(t)
			c.do(w, first)
			w.update(second)
			w.pass(time.Hour)
			w.wantFile(second)
		})
	}
}

// The power goes at every change of the disk while a difference comes and is applied.
func TestDifferencePowerCut(t *testing.T) {
	for cut := 0; ; cut++ {
		w, _, second := versions(t)
		n := 0
		w.disk.Faults = func(storetest.Op) storetest.Fault {
			if n++; n == cut+1 {
				return storetest.Fault{Err: errors.New("cut"), Applied: cut%2 == 0}
			}
			return storetest.Fault{}
		}
		w.update(second)
		w.pass(time.Second)
		w.disk.Faults = nil
		w.boot()
		w.online()
		w.pass(time.Minute)
		w.wantFile(second)
		if n <= cut {
			if cut < 9 {
				t.Fatalf("%d changes of the disk: nothing was cut", cut)
			}
			return
		}
	}
}
