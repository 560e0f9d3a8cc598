package gateway

import (
	"log/slog"
	"slices"
	"strings"
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

// piece is one chunk of a file, or a difference that may take its place.
type piece struct {
	digest protocol.Digest
	index  uint32
	bases  bool // it was asked for with bases: an offer will do
}

// flight is a piece on its way from the hub.
type flight struct {
	asked   time.Time
	request uint64             // the one that asked for it
	waits   []protocol.Address // who waits, in the order in which they asked
}

// wish is what one asks for that is not on the shelf.
type wish struct {
	protocol.FetchRequest
	from    protocol.Address
	lacking []uint32
}

func (w *wish) piece(i uint32) piece { return piece{w.Digest, i, len(w.Bases) > 0} }

// fetch answers a request for chunks: those on the shelf at once, the others when they have
// come. Each is asked for once, in the gateway's own name, however many want it. What the hub
// gives to the asker alone is carried and never kept.
func (r *Relay) fetch(now time.Time, from protocol.Address, payload []byte) error {
	var req protocol.FetchRequest
	if err := protocol.Unmarshal(payload, &req); err != nil {
		return err
	}
	if r.toHub(from, &req) {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.carry(from, protocol.UpFetch, payload)
	}
	r.files.Lock()
	defer r.files.Unlock()
	w := wish{FetchRequest: req, from: from}
	for i := req.First; i < req.First+req.Count; i++ {
		if !req.Wants(i) {
			continue
		}
		data, size, ok := r.cfg.Shelf.Chunk(req.Digest, i)
		if ok {
			r.handAll(protocol.Chunk{Digest: req.Digest, Index: i, Size: size, Data: data}, from)
		} else if size == 0 || i < protocol.ChunkCount(size) {
			w.lacking = append(w.lacking, i)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ask(now, &w)
}

// toHub reports whether a request goes to the hub as it is.
func (r *Relay) toHub(from protocol.Address, req *protocol.FetchRequest) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, alone := r.own[req.Digest]
	alone = alone || req.Digest == r.hints[from] || req.Digest == r.hints[r.cfg.Address]
	odd := req.Count == 0 || req.Count > protocol.FetchAheadMax ||
		req.First > protocol.ChunkCount(protocol.ArtifactMax)
	return alone || odd || len(r.flights) > flightsMax
}

// ask has a neighbour wait for pieces, and asks the hub for those that nobody waits for yet.
func (r *Relay) ask(now time.Time, w *wish) error {
	if len(w.lacking) == 0 {
		return nil
	}
	if !r.up {
		r.hand(w.from, protocol.Chunk{Digest: w.Digest, Index: w.lacking[0], Error: protocol.Errorf(
			protocol.CodeUnavailable, "fetch %s: the gateway does not hold it, and does not reach the hub",
			w.Digest.Short())})
		return nil
	}
	r.requests++
	var fresh []uint32
	for _, i := range w.lacking {
		f := r.flights[w.piece(i)]
		if f == nil {
			f = &flight{asked: now.Add(-2 * flightMax)}
			r.flights[w.piece(i)] = f
		}
		f.wait(w.from)
		if now.Sub(f.asked) > flightMax {
			f.asked, f.request = now, r.requests
			fresh = append(fresh, i)
		}
	}
	if len(fresh) == 0 {
		return nil // all of it is on its way
	}
	first, last := fresh[0], fresh[len(fresh)-1]
	req := protocol.FetchRequest{Digest: w.Digest, First: first, Count: last - first + 1, Bases: w.Bases}
	for i := first; i <= last; i++ {
		if !slices.Contains(fresh, i) {
			req.Skip |= 1 << (i - first)
		}
	}
	return r.request(req)
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
		r.giveUp(r.requests)
	}
	return err
}

// giveUp forgets what a request asked for and returns who waited for it.
func (r *Relay) giveUp(request uint64) (askers []protocol.Address) {
	for p, f := range r.flights { // sorted below
		if f.request == request {
			askers = append(askers, f.waits...)
			delete(r.flights, p)
		}
	}
	slices.SortFunc(askers, func(a, b protocol.Address) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(askers)
}

// came takes a piece from the hub, or its no, and reports whether it was waited for. It stays on
// its way until the shelf has it: who asks meanwhile waits, and does not have the hub asked again.
func (r *Relay) came(now time.Time, payload []byte) bool {
	var c protocol.Chunk
	if protocol.Unmarshal(payload, &c) != nil {
		return false
	}
	r.files.Lock()
	defer r.files.Unlock()
	if !r.awaited(&c) {
		return false
	}
	if c.Error == nil && c.Offer == nil {
		if c.Check() != nil {
			r.landed(&c)
			return true // it comes when it is asked for again
		}
		if err := r.cfg.Shelf.Keep(&c); err != nil {
			r.log.Warn("not kept for the site", slog.String("digest", c.Digest.Short()),
				slog.String("error", err.Error()))
		}
	}
	waiting := r.landed(&c)
	if c.Error != nil && c.Error.Code != protocol.CodeUnavailable {
		r.alone(now, &c, waiting)
		return true
	}
	r.handAll(c, waiting...)
	return true
}

// answers returns what a chunk, an offer or a no is an answer to.
func answers(c *protocol.Chunk) []piece {
	plain, patch := piece{c.Digest, c.Index, false}, piece{c.Digest, c.Index, true}
	if c.Offer != nil {
		return []piece{patch}
	}
	return []piece{plain, patch}
}

// awaited reports whether anybody waits for a piece.
func (r *Relay) awaited(c *protocol.Chunk) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(answers(c), func(p piece) bool { return r.flights[p] != nil })
}

// landed has a piece be no longer on its way, and returns who waited for it.
func (r *Relay) landed(c *protocol.Chunk) (waiting []protocol.Address) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range answers(c) {
		f := r.flights[p]
		switch {
		case f == nil:
		case c.Error != nil: // the answer to all that was asked for together
			waiting = append(waiting, r.giveUp(f.request)...)
		default:
			waiting = append(waiting, f.waits...)
			delete(r.flights, p)
		}
	}
	if c.Offer == nil {
		r.count.Fetched += uint64(len(c.Data))
	}
	return waiting
}

// alone carries, for each who waits, the request for a file that the hub does not give to the
// gateway: it may give it to the asker.
func (r *Relay) alone(now time.Time, no *protocol.Chunk, askers []protocol.Address) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.own) < flightsMax {
		r.own[no.Digest] = now
	}
	req := protocol.FetchRequest{Digest: no.Digest, First: no.Index, Count: protocol.FetchAheadMax}
	for _, a := range askers {
		if err := r.carry(a, protocol.UpFetch, protocol.MustMarshal(req)); err != nil {
			r.log.Debug("fetch not carried", slog.String("agent", a.String()), slog.String("error", err.Error()))
		}
	}
}

// handAll gives a chunk to all who asked.
func (r *Relay) handAll(c protocol.Chunk, to ...protocol.Address) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range to {
		r.hand(a, c)
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
	if protocol.Unmarshal(payload, &h) != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, known := r.hints[to]
	if known || len(r.hints) < flightsMax {
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
	r.silent()
}
