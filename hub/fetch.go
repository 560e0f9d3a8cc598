package hub

import (
	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// fetch answers a request for chunks: one message a chunk, or one with the reason why
// there is none. Artifacts and releases are for every agent; a desired document is for
// the agent that it was sealed for.
func (h *Hub) fetch(from protocol.Address, req protocol.FetchRequest) error {
	refuse := func(err error) error {
		h.send(from, protocol.DownChunk, protocol.Chunk{
			Digest: req.Digest, Index: req.First,
			Error: protocol.AsError(err),
		})
		return nil
	}
	if req.Count == 0 || req.Count > protocol.FetchAheadMax {
		return refuse(protocol.Errorf(protocol.CodeLimit, "fetch %s: %d chunks asked for, want 1 to %d",
			req.Digest.Short(), req.Count, protocol.FetchAheadMax))
	}
	if req.First > protocol.ChunkCount(protocol.ArtifactMax) {
		return refuse(protocol.Errorf(protocol.CodeLimit, "fetch %s: chunk %d, no file has so many",
			req.Digest.Short(), req.First))
	}
	chunk, err := h.shelf(from, req.Digest)
	if err != nil {
		return refuse(err)
	}
	if len(req.Bases) > 0 {
		switch offer, err := h.offer(&req); {
		case err != nil:
			return refuse(err)
		case offer != nil:
			h.send(from, protocol.DownChunk, protocol.Chunk{Digest: req.Digest, Index: req.First, Offer: offer})
			return nil
		}
	}
	for i := req.First; i < req.First+req.Count; i++ {
		if !req.Wants(i) {
			continue
		}
		data, size, err := chunk(i)
		if err != nil {
			return refuse(err)
		}
		h.send(from, protocol.DownChunk, protocol.Chunk{Digest: req.Digest, Index: i, Size: size, Data: data})
		if i+1 >= protocol.ChunkCount(size) {
			break
		}
	}
	return nil
}

// chunks hands out one chunk of a file, with the size of the whole.
type chunks func(index uint32) ([]byte, int64, error)

// shelf returns who hands out the chunks of the file of that digest for that agent.
func (h *Hub) shelf(a protocol.Address, d protocol.Digest) (chunk chunks, err error) {
	if _, err := h.epochAt(a); err != nil {
		return nil, err // it is not one of the fleet
	}
	if h.files.Has(d) {
		return func(i uint32) ([]byte, int64, error) { return h.files.Chunk(d, i) }, nil
	}
	if h.diffs.files.Has(d) {
		return func(i uint32) ([]byte, int64, error) { return h.diffs.files.Chunk(d, i) }, nil
	}
	err = h.note(func(tx *store.Tx) error {
		agent, err := known(tx, a)
		switch {
		case err != nil:
			return err
		case agent.Desired.Digest != d:
			return protocol.Errorf(protocol.CodeNotFound, "fetch %s: the hub has no such file for agent %s",
				d.Short(), a)
		}
		sealed, err := fleet.Document(tx, a.Agent)
		chunk = func(i uint32) ([]byte, int64, error) { return protocol.CutChunk(d, sealed, i) }
		return err
	})
	return chunk, err
}
