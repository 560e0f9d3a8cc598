package gateway

import (
	"log/slog"
	"time"

	"github.com/stavily/stavily/protocol"
)

const (
	// flightMax is how long a piece that was asked for is waited for before it is asked for
	// again by whoever wants it next.
	flightMax = 15 * time.Second
	// ownMax is how long the hub's no to the gateway itself is remembered.
	ownMax = 10 * time.Minute
	// flightsMax bounds the pieces that are waited for at once, and what the hub said no to.
	flightsMax = 4096
)

// piece is one chunk of a file.
type piece struct {
	digest protocol.Digest
	index  uint32
}

// flight is a piece on its way from the hub.
type flight struct {
	asked time.Time
	waits []protocol.Address // who waits, in the order in which they asked
}

// fetch answers a request for chunks: those on the shelf at once, the others when they have
// come. Each is asked for once, in the gateway's own name, however many want it. What the hub
// gives to the asker alone is carried and never kept.
func (r *Relay) fetch(now time.Time, from protocol.Address, payload []byte) error {
	var req protocol.FetchRequest
	if err := protocol.Unmarshal(payload, &req); err != nil {
		return err
	}
	_, alone := r.own[req.Digest]
	alone = alone || req.Digest == r.hints[from] || req.Digest == r.hints[r.cfg.Address]
	odd := req.Count == 0 || req.Count > protocol.FetchAheadMax || req.First > protocol.ChunkCount(protocol.ArtifactMax)
	if alone || odd || len(r.flights) > flightsMax {
		return r.carry(from, protocol.UpFetch, payload)
	}
	var lacking []uint32
	for i := req.First; i < req.First+req.Count; i++ {
		data, size, ok := r.cfg.Shelf.Chunk(req.Digest, i)
		if ok {
			r.hand(from, protocol.Chunk{Digest: req.Digest, Index: i, Size: size, Data: data})
		} else if size == 0 || i < protocol.ChunkCount(size) {
			lacking = append(lacking, i)
		}
	}
	return r.ask(now, from, req.Digest, lacking)
}

// ask has a neighbour wait for pieces, and asks the hub for those that nobody waits for yet.
func (r *Relay) ask(now time.Time, from protocol.Address, d protocol.Digest, lacking []uint32) error {
	if len(lacking) == 0 {
		return nil
	}
	if !r.up {
		r.hand(from, protocol.Chunk{Digest: d, Index: lacking[0], Error: protocol.Errorf(protocol.CodeUnavailable,
			"fetch %s: the gateway does not hold it, and does not reach the hub", d.Short())})
		return nil
	}
	var run protocol.FetchRequest
	var err error
	for _, i := range lacking {
		f := r.flights[piece{d, i}]
		late := f == nil || now.Sub(f.asked) > flightMax
		if f == nil {
			f = &flight{}
			r.flights[piece{d, i}] = f
		}
		f.wait(from)
		if !late {
			continue
		}
		f.asked = now
		if run.Count > 0 && run.First+run.Count != i {
			err = r.request(run)
			run.Count = 0
		}
		if run.Count == 0 {
			run = protocol.FetchRequest{Digest: d, First: i}
		}
		run.Count++
	}
	if run.Count > 0 && err == nil {
		err = r.request(run)
	}
	return err
}

func (f *flight) wait(a protocol.Address) {
	for _, w := range f.waits {
		if w == a {
			return
		}
	}
	f.waits = append(f.waits, a)
}

// request asks the hub. What the link does not take is not waited for.
func (r *Relay) request(req protocol.FetchRequest) error {
	err := r.cfg.Send(protocol.Message{
		Topic: protocol.Topic(r.cfg.Address, protocol.UpFetch), Payload: protocol.MustMarshal(req),
	})
	if err != nil {
		for i := req.First; i < req.First+req.Count; i++ {
			delete(r.flights, piece{req.Digest, i})
		}
	}
	return err
}

// came takes a piece from the hub, or its no, and reports whether it was waited for.
func (r *Relay) came(now time.Time, payload []byte) bool {
	var c protocol.Chunk
	if protocol.Unmarshal(payload, &c) != nil {
		return false
	}
	f := r.flights[piece{c.Digest, c.Index}]
	if f == nil {
		return false
	}
	switch {
	case c.Error != nil && c.Error.Code != protocol.CodeUnavailable:
		r.alone(now, c.Digest)
		return true
	case c.Error == nil && c.Check() != nil:
		return true // it comes when it is asked for again
	case c.Error == nil:
		r.count.Fetched += uint64(len(c.Data))
		if err := r.cfg.Shelf.Keep(&c); err != nil {
			r.log.Warn("not kept for the site", slog.String("digest", c.Digest.Short()), slog.String("error", err.Error()))
		}
	}
	delete(r.flights, piece{c.Digest, c.Index})
	for _, a := range f.waits {
		r.hand(a, c)
	}
	return true
}

// alone carries, for each who waits, the request for a file that the hub does not give to the
// gateway: it may give it to the asker.
func (r *Relay) alone(now time.Time, d protocol.Digest) {
	if len(r.own) < flightsMax {
		r.own[d] = now
	}
	var askers []protocol.Address
	first, last := map[protocol.Address]uint32{}, map[protocol.Address]uint32{}
	for i := range protocol.ChunkCount(protocol.ArtifactMax) + protocol.FetchAheadMax {
		f := r.flights[piece{d, i}]
		if f == nil {
			continue
		}
		delete(r.flights, piece{d, i})
		for _, a := range f.waits {
			if _, known := first[a]; !known {
				askers = append(askers, a)
				first[a] = i
			}
			last[a] = i
		}
	}
	for _, a := range askers {
		req := protocol.FetchRequest{Digest: d, First: first[a], Count: min(last[a]-first[a]+1, protocol.FetchAheadMax)}
		if err := r.carry(a, protocol.UpFetch, protocol.MustMarshal(req)); err != nil {
			r.log.Debug("fetch not carried", slog.String("agent", a.String()), slog.String("error", err.Error()))
		}
	}
}

// hand gives a chunk to whoever asked. Who does not take it asks again.
func (r *Relay) hand(to protocol.Address, c protocol.Chunk) {
	if r.give(to, protocol.DownChunk, protocol.MustMarshal(c)) == nil {
		r.count.Served += uint64(len(c.Data))
	}
}

// hinted learns which file is an agent's desired document: nobody else's to have.
func (r *Relay) hinted(to protocol.Address, payload []byte) {
	var h protocol.Hint
	if protocol.Unmarshal(payload, &h) == nil && (len(r.hints) < flightsMax || r.hints[to] != protocol.Digest{}) {
		r.hints[to] = h.Digest
	}
}

// forget lets go what is too old to be waited for or remembered.
func (r *Relay) forget(now time.Time) {
	for p, f := range r.flights { // each alone: order does not matter
		if now.Sub(f.asked) > 2*flightMax {
			delete(r.flights, p)
		}
	}
	for d, at := range r.own {
		if now.Sub(at) > ownMax {
			delete(r.own, d)
		}
	}
}
