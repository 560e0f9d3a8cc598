package hub

import (
	"log/slog"

	"github.com/stavily/stavily/hub/registry"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/delta"
)

const (
	// differencesMax bounds the differences that are kept; the oldest go first.
	differencesMax = 256
	// differenceMax bounds the files that a difference is made of, in bytes: making it takes
	// about six times as much memory.
	differenceMax = 12 << 20
)

// pair is a file that is made of another one, the base; the zero digest is no file.
type pair struct{ base, target protocol.Digest }

// differences are those that agents asked for, made once each, and made again after a start
// of the hub: they come out the same. They are files by digest as artifacts are.
type differences struct {
	files *registry.Files
	known map[pair]*difference
	order []pair
	later func(work, done func()) bool
}

// difference is one of them.
type difference struct {
	offer *protocol.Offer // nil: under way, or not worth it
	ready bool
}

// offer answers the question for a difference; nil when the chunks are to be sent instead.
// While one is being made the error has CodeUnavailable, and the agent asks again.
func (h *Hub) offer(req *protocol.FetchRequest) (*protocol.Offer, error) {
	if len(req.Bases) > protocol.BasesMax {
		return nil, protocol.Errorf(protocol.CodeLimit, "fetch %s: %d bases, limit BasesMax %d", req.Digest.Short(),
			len(req.Bases), protocol.BasesMax)
	}
	for _, base := range req.Bases {
		p := pair{base, req.Digest}
		if !h.fits(p) {
			continue
		}
		d := h.diffs.known[p]
		if d == nil {
			d = h.diffs.begin(p, func() *protocol.Offer { return h.difference(p) })
		}
		switch {
		case d == nil || !d.ready:
			return nil, protocol.Errorf(protocol.CodeUnavailable, "fetch %s: its difference is being made",
				req.Digest.Short())
		case d.offer != nil:
			return d.offer, nil
		}
	}
	return nil, nil
}

// fits reports whether both files are here and not too large.
func (h *Hub) fits(p pair) bool {
	size, err := h.files.Size(p.target)
	if err == nil && size <= differenceMax && p.base != (protocol.Digest{}) {
		size, err = h.files.Size(p.base)
	}
	return err == nil && size <= differenceMax
}

// begin has a difference made; nil when too many wait.
func (s *differences) begin(p pair, build func() *protocol.Offer) *difference {
	d := &difference{}
	var offer *protocol.Offer
	if !s.later(func() { offer = build() }, func() { d.offer, d.ready = offer, true }) {
		return nil
	}
	s.known[p] = d
	if s.order = append(s.order, p); len(s.order) > differencesMax {
		s.forget(s.order[0])
		s.order = s.order[1:]
	}
	return d
}

// forget lets go of a difference, and of its file unless another pair has the same.
func (s *differences) forget(p pair) {
	old := s.known[p]
	delete(s.known, p)
	if old.offer == nil {
		return
	}
	for _, d := range s.known { // any of them will do
		if d.offer != nil && d.offer.Digest == old.offer.Digest {
			return
		}
	}
	_ = s.files.Remove(old.offer.Digest) // what stays takes room until the next start, no more
}

// difference makes one, beside the loop; nil when it is not worth it.
func (h *Hub) difference(p pair) *protocol.Offer {
	target, err := h.files.Get(p.target)
	var base, made []byte
	if err == nil && p.base != (protocol.Digest{}) {
		base, err = h.files.Get(p.base)
	}
	if err == nil {
		made, err = delta.Make(base, target)
	}
	if err == nil && len(made) > len(target)*3/4 {
		return nil
	}
	o := &protocol.Offer{Size: int64(len(made)), Base: p.base}
	if err == nil {
		o.Digest, err = h.diffs.files.Put(made)
	}
	if err != nil {
		h.log.Warn("no difference", slog.String("digest", p.target.Short()), slog.String("base", p.base.Short()),
			slog.String("error", err.Error()))
		return nil
	}
	h.log.Info("difference made", slog.String("digest", p.target.Short()), slog.String("base", p.base.Short()),
		slog.Int64("bytes", o.Size), slog.Int("of", len(target)))
	return o
}
