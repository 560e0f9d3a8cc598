package edge

import (
	"log/slog"
	"slices"
	"time"

	"github.com/stavily/stavily/protocol"
)

// badMax is how many chunks with other contents than promised one file may bring
// before the revision that names it is refused.
const badMax = 5

// file is what is known of a file before it is here. Chunks are the digests of its
// parts when a release names them: then no byte is kept that is not of it.
type file struct {
	digest protocol.Digest
	size   int64
	chunks []protocol.Digest
	kin    string // equal for the versions of one file; empty: it has none
}

// fetch is the one file under way. The device sets the pace: it asks for a few chunks,
// keeps them wherever they belong and asks on for what is missing.
type fetch struct {
	of    file // what is wanted
	file  file // what is asked for: that, or a difference that makes it
	patch patch
	have  protocol.Bitmap
	asked protocol.Bitmap // for these, and they are not here
	at    time.Time       // when what was asked for is late
	hold  time.Time       // no question before
	tries int
	bad   int

	handed handed // the question that went last
}

// need reports whether a file is here, whole and verified; if not it is what is
// fetched now.
func (a *Agent) need(f file) (here bool, err error) {
	have, whole, err := a.store.Chunks(f.digest, f.size)
	if err != nil {
		return false, protocol.Errorf(protocol.CodeStorage, "fetch %s: %w", f.digest.Short(), err)
	}
	if whole {
		if a.fetch != nil && a.fetch.of.digest == f.digest {
			a.fetch = nil
		}
		return true, nil
	}
	lost := a.fetch != nil && a.fetch.patch.offer == nil && a.fetch.full() // the disk's loss
	if a.fetch == nil || a.fetch.of.digest != f.digest || lost {
		a.fetch = &fetch{of: f, file: f, have: have, patch: patch{bases: a.bases(f, have)}}
	}
	return false, a.rebuild()
}

// refetch has the fetch under way ask again at once: the line is new.
func (a *Agent) refetch() {
	if f := a.fetch; f != nil {
		f.hold, f.at, f.tries = time.Time{}, a.now, 0
		f.handed.again()
	}
}

// wait has the fetch ask again for what is missing, after a while.
func (f *fetch) wait(until time.Time) { f.asked, f.hold = nil, until }

// full reports whether every chunk of what is asked for was kept.
func (f *fetch) full() bool { return f.have.Count() == protocol.ChunkCount(f.file.size) }

func (f *fetch) due() time.Time {
	if f.asked.Count() == 0 {
		return f.hold
	}
	return f.at
}

// sayFetch asks for the next chunks when half of those asked for are here, and again
// for all that did not come in time.
func (a *Agent) sayFetch() {
	f := a.fetch
	if f == nil || a.now.Before(f.hold) {
		return
	}
	ahead := f.asked.Count()
	if ahead > 0 && !a.now.Before(f.at) {
		if f.handed.waits() {
			f.late(a)
			return
		}
		f.asked, ahead = nil, 0
		f.tries++
	}
	if ahead > a.cfg.FetchAhead/2 {
		return
	}
	req, wanted := f.request(a.cfg.FetchAhead - ahead)
	if req.Count == 0 {
		return
	}
	if f.patch.bases != nil {
		if ahead > 0 {
			return // the answer says how to go on
		}
		wanted = protocol.Bitmap{}.Set(req.First)
		req.Count, req.Skip, req.Bases = 1, 0, f.patch.bases
	}
	if f.of.chunks != nil && !a.allows(bulkShare, uint64(req.Count)*protocol.ChunkSize) {
		if f.asked.Count() == 0 {
			f.wait(a.nextDay())
		}
		return
	}
	if !a.hand(protocol.UpFetch, protocol.MustMarshal(req), &f.handed) {
		f.handed = handed{}
		f.wait(a.now.Add(a.cfg.PauseMin))
		return
	}
	f.asked = wanted
	f.late(a)
}

// late says when what was asked for is.
func (f *fetch) late(a *Agent) {
	f.at = a.now.Add(doubled(a.cfg.FetchWait, f.tries, max(a.cfg.FetchWait, a.cfg.PauseMax)))
}

// request asks for the first chunks that are neither here nor asked for, at most n. wanted
// is what is asked for then; a Count of 0 says that there are none.
func (f *fetch) request(n uint32) (req protocol.FetchRequest, wanted protocol.Bitmap) {
	count := protocol.ChunkCount(f.file.size)
	wanted = slices.Clone(f.asked)
	known := func(i uint32) bool { return f.have.Has(i) || wanted.Has(i) }
	first := uint32(0)
	for first < count && known(first) {
		first++
	}
	req = protocol.FetchRequest{Digest: f.file.digest, First: first}
	for i := uint32(0); n > 0 && i < protocol.FetchAheadMax && first+i < count; i++ {
		if known(first + i) {
			req.Skip |= 1 << i
			continue
		}
		wanted = wanted.Set(first + i)
		req.Count = i + 1
		n--
	}
	req.Skip &= 1<<req.Count - 1
	return req, wanted
}

// chunk keeps a chunk of the file under way if it is what it must be. All others are passed
// over: they come again when they are asked for.
func (a *Agent) chunk(payload []byte) error {
	var in protocol.Chunk
	if err := protocol.Unmarshal(payload, &in); err != nil {
		return err
	}
	f := a.fetch
	if f == nil || a.next == nil || in.Digest != f.file.digest {
		return nil
	}
	if in.Error != nil {
		a.chunkRefused(in.Error)
		return nil //nolint:nilerr // what the hub lacks is no fault of this message
	}
	if in.Offer != nil {
		return a.offerCame(in.Offer)
	}
	f.patch.bases = nil // chunks it is
	if f.have.Has(in.Index) {
		return nil
	}
	if err := f.file.check(&in); err != nil {
		return a.badChunk(err)
	}
	err := a.store.AddChunk(in.Digest, in.Index, in.Size, in.Data)
	switch protocol.CodeOf(err) {
	case protocol.CodeOK:
	case protocol.CodeDigest:
		f.have = nil // nothing was kept
		if f.patch.offer != nil {
			a.unpatch(err)
			return nil
		}
		return a.badChunk(err)
	default:
		f.wait(a.now.Add(a.pause(f.tries)))
		f.tries++
		return err
	}
	f.have = f.have.Set(in.Index)
	f.asked.Clear(in.Index)
	f.tries = 0
	f.at = a.now.Add(a.cfg.FetchWait)
	if f.full() {
		a.next.ready, a.next.came = true, true
	}
	return nil
}

// check holds a chunk against what is known of its file.
func (f *file) check(c *protocol.Chunk) error {
	if err := c.Check(); err != nil {
		return err
	}
	if c.Size != f.size {
		return protocol.Errorf(protocol.CodeDigest, "fetch %s: chunk %d: of a file of %d bytes, want %d",
			f.digest.Short(), c.Index, c.Size, f.size)
	}
	if f.chunks != nil && protocol.DigestOf(c.Data) != f.chunks[c.Index] {
		return protocol.Errorf(protocol.CodeDigest, "fetch %s: chunk %d: digest is %s, want %s",
			f.digest.Short(), c.Index, protocol.DigestOf(c.Data).Short(), f.chunks[c.Index].Short())
	}
	return nil
}

// badChunk asks again, a few times.
func (a *Agent) badChunk(err error) error {
	f := a.fetch
	f.bad++
	if f.bad >= badMax && f.patch.offer != nil {
		a.unpatch(err)
		return nil
	}
	if f.bad >= badMax {
		a.giveUp(a.next, protocol.Errorf(protocol.CodeDigest, "fetch %s: %d bad chunks: %w",
			f.file.digest.Short(), f.bad, err))
		return nil
	}
	f.wait(a.now.Add(a.pause(f.bad)))
	return err
}

// chunkRefused takes the hub's no. A file that it does not have ends the candidate;
// anything else may pass.
func (a *Agent) chunkRefused(no *protocol.Error) {
	f := a.fetch
	if no.Code == protocol.CodeUnavailable {
		f.wait(a.now.Add(a.pause(f.tries)))
		f.tries++
		a.log.Info("hub busy", slog.String("digest", f.file.digest.Short()))
		return
	}
	if f.patch.offer != nil {
		a.unpatch(no)
		return
	}
	a.giveUp(a.next, protocol.Errorf(no.Code, "fetch %s: hub: %w", f.file.digest.Short(), no))
}
