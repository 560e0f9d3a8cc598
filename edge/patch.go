package edge

import (
	"io"
	"log/slog"
	"slices"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/delta"
)

// patch is how a file is made of another one that is here. Every chunk that comes out is
// held against the release's own digests, and the whole file against its own, as if it had
// come over the line: a difference can be useless, never harmful.
type patch struct {
	// bases are asked with, and say that it is not known yet whether there is a difference.
	bases []protocol.Digest
	offer *protocol.Offer // what is fetched instead
	from  *delta.Reader   // nil before the difference is here
	next  uint32          // chunk that comes out next
	again int             // how often a difference was asked for
}

// offersMax is how often a difference is asked for, for one file: the hub may have
// forgotten one that it made.
const offersMax = 3

// bases returns which files may be bases of f; nil when a difference is not worth the
// question.
func (a *Agent) bases(f file, have protocol.Bitmap) (out []protocol.Digest) {
	if len(f.chunks) < 2 || protocol.ChunkCount(f.size)-have.Count() < 2 {
		return nil
	}
	for _, gen := range []*generation{a.held, a.previous} {
		if gen == nil {
			continue
		}
		for _, old := range gen.artifacts() {
			if old.kin != f.kin || old.digest == f.digest || slices.Contains(out, old.digest) {
				continue
			}
			if _, whole, err := a.store.Chunks(old.digest, old.size); whole && err == nil &&
				len(out) < protocol.BasesMax-1 {
				out = append(out, old.digest)
			}
		}
	}
	return append(out, protocol.Digest{}) // at least it comes packed
}

// offerCame takes the offer of a difference, if it is one that was asked for and is smaller
// than what is missing.
func (a *Agent) offerCame(o *protocol.Offer) error {
	f := a.fetch
	if f.patch.bases == nil {
		return nil // it comes late, or twice
	}
	missing := f.of.size - int64(f.have.Count())*protocol.ChunkSize
	if o.Size <= 0 || o.Size >= missing || !slices.Contains(f.patch.bases, o.Base) {
		f.patch.bases = nil
		f.wait(a.now)
		return nil
	}
	have, whole, err := a.store.Chunks(o.Digest, o.Size)
	if err != nil {
		return err
	}
	f.file, f.have = file{digest: o.Digest, size: o.Size}, have
	f.patch.offer, f.patch.bases = o, nil
	f.patch.again++
	f.wait(a.now)
	if whole {
		a.next.ready = true
	}
	a.log.Info("a difference comes instead", slog.String("digest", f.of.digest.Short()),
		slog.String("base", o.Base.Short()), slog.Int64("bytes", o.Size), slog.Int64("of", f.of.size))
	return nil
}

// unpatch goes back to the chunks of the file itself, or asks once more for a difference
// when the one that was offered is not to be had any more.
func (a *Agent) unpatch(why error) {
	f := a.fetch
	a.log.Info("difference left", slog.String("digest", f.of.digest.Short()), slog.String("error", why.Error()))
	have, _, err := a.store.Chunks(f.of.digest, f.of.size)
	if err != nil {
		have = nil // asked for again, kept once
	}
	again := f.patch.again
	*f = fetch{of: f.of, file: f.of, have: have, patch: patch{again: again}, hold: a.now.Add(a.cfg.PauseMin)}
	if protocol.CodeOf(why) == protocol.CodeNotFound && again < offersMax {
		f.patch.bases = a.bases(f.of, have)
	}
}

// rebuild makes the next chunk of the file under way when its difference is here. There is
// one in a turn: a slow device does other things between.
func (a *Agent) rebuild() error {
	f := a.fetch
	if f.patch.offer == nil {
		return nil
	}
	if _, whole, err := a.store.Chunks(f.file.digest, f.file.size); err != nil {
		return err
	} else if !whole {
		if f.full() { // it was whole once
			a.unpatch(errLost)
		}
		return nil
	}
	done, err := a.oneChunk(f)
	switch {
	case err == nil && !done:
		a.next.at = a.now
	case err == nil:
		a.next.ready, a.next.came = true, true
	case protocol.CodeOf(err) == protocol.CodeStorage:
		f.patch.from = nil
		return err
	default:
		a.unpatch(err)
	}
	return nil
}

// oneChunk makes one chunk and keeps it; done says that it was the last.
func (a *Agent) oneChunk(f *fetch) (done bool, err error) {
	p := &f.patch
	if p.from == nil {
		p.next = 0
		p.from, err = delta.NewReader(&chunkReader{store: a.store, digest: f.file.digest}, f.file.size,
			&chunkReader{store: a.store, digest: p.offer.Base})
		if err != nil {
			return false, err
		}
	}
	if p.from.Size() != f.of.size {
		return false, protocol.Errorf(protocol.CodeDigest, "difference %s: makes %d bytes, want %d",
			f.file.digest.Short(), p.from.Size(), f.of.size)
	}
	c := protocol.Chunk{Digest: f.of.digest, Index: p.next, Size: f.of.size}
	c.Data = make([]byte, protocol.ChunkLen(c.Size, c.Index))
	if _, err := io.ReadFull(p.from, c.Data); err != nil {
		return false, err
	}
	if err := f.of.check(&c); err != nil {
		return false, err
	}
	if err := a.store.AddChunk(c.Digest, c.Index, c.Size, c.Data); err != nil {
		return false, err
	}
	p.next++
	return p.next == protocol.ChunkCount(f.of.size), nil
}

var errLost = protocol.Errorf(protocol.CodeNotFound, "difference: not on the disk any more")

// chunkReader reads a file of a store. The zero digest is an empty one.
type chunkReader struct {
	store  Store
	digest protocol.Digest
	data   []byte // of the chunk at
	at     uint32
	size   int64
}

// ReadAt reads within the file; io.EOF at its end.
func (r *chunkReader) ReadAt(p []byte, at int64) (n int, err error) {
	if r.digest == (protocol.Digest{}) {
		return 0, io.EOF
	}
	for n < len(p) {
		index := uint32((at + int64(n)) / protocol.ChunkSize)
		if r.data == nil || r.at != index {
			r.data, r.size, err = r.store.ReadChunk(r.digest, index)
			r.at = index
		}
		if err != nil {
			r.data = nil
			return n, err
		}
		from := at + int64(n) - int64(index)*protocol.ChunkSize
		if from >= int64(len(r.data)) {
			return n, io.EOF
		}
		got := copy(p[n:], r.data[from:])
		n += got
		if n < len(p) && int64(index)*protocol.ChunkSize+from+int64(got) >= r.size {
			return n, io.EOF
		}
	}
	return n, nil
}

var _ io.ReaderAt = (*chunkReader)(nil)
