package hub

import (
	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/registry"
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
	shelf, err := h.shelf(from, req.Digest)
	if err != nil {
		return refuse(err)
	}
	for i := req.First; i < req.First+req.Count; i++ {
		data, size, err := shelf.Chunk(req.Digest, i)
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

// shelf returns where the file of that digest lies for that agent.
func (h *Hub) shelf(a protocol.Address, d protocol.Digest) (*registry.Files, error) {
	var agent fleet.Agent
	err := h.write(func(tx *store.Tx) (err error) {
		agent, err = known(tx, a)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case h.files.Has(d):
		return h.files, nil
	case agent.Desired.Digest != d:
		return nil, protocol.Errorf(protocol.CodeNotFound, "fetch %s: the hub has no such file for agent %s",
			d.Short(), a)
	}
	return h.docs, nil
}
