package sim

import "github.com/stavily/stavily/protocol"

// uplinkCheck: a file comes over a gateway's uplink once for its whole site. A piece that the
// gateway has kept is never asked for again; of a file that was not whole when the gateway's
// process ended nothing is kept.
type uplinkCheck struct {
	rule
	files map[uplinkFile]*uplinkHas // never walked through, but to forget
}

type uplinkFile struct {
	at     *device
	digest protocol.Digest
}

// uplinkHas is what a gateway has kept of a file.
type uplinkHas struct {
	have  protocol.Bitmap
	count uint32 // chunks of the whole file
}

func newUplinkCheck(w *World) *uplinkCheck {
	return &uplinkCheck{
		rule:  rule{w: w, name: "uplink", text: "a site's files come over its uplink once"},
		files: map[uplinkFile]*uplinkHas{},
	}
}

// kept notes that a gateway has put a piece on its shelf, or that the file turned out to be
// another.
func (c *uplinkCheck) kept(d *device, of *protocol.Chunk, ok bool) {
	at := uplinkFile{d, of.Digest}
	if !ok {
		delete(c.files, at)
		return
	}
	h := c.files[at]
	if h == nil {
		h = &uplinkHas{count: protocol.ChunkCount(of.Size)}
		c.files[at] = h
	}
	h.have = h.have.Set(of.Index)
}

// fetched holds what a gateway asks the hub for in its own name against what it has.
func (c *uplinkCheck) fetched(d *device, m *protocol.Message) {
	_, k, err := protocol.ParseTopic(m.Topic)
	var req protocol.FetchRequest
	if err != nil || k != protocol.UpFetch || protocol.Unmarshal(m.Payload, &req) != nil {
		return
	}
	h := c.files[uplinkFile{d, req.Digest}]
	for i := req.First; i-req.First < min(req.Count, protocol.FetchAheadMax); i++ {
		if req.Wants(i) {
			c.holds(h == nil || i >= h.count || !h.have.Has(i), d, "asks the hub for chunk %d of %s, which it has",
				i, req.Digest.Short())
		}
	}
}

// started notes that a gateway's process begins: half files are gone.
func (c *uplinkCheck) started(d *device) {
	for at, h := range c.files { // each alone: order does not matter
		if at.at == d && h.have.Count() < h.count {
			delete(c.files, at)
		}
	}
}

// rotted notes that a gateway's disk has changed what is on it.
func (c *uplinkCheck) rotted(d *device) {
	for at := range c.files { // each alone: order does not matter
		if at.at == d {
			delete(c.files, at)
		}
	}
}

var _ check = (*uplinkCheck)(nil)
