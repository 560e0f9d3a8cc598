package gateway

import (
	"testing"

	"github.com/stavily/stavily/protocol"
)

// slow is a Shelf on a disk that stops: each call waits until it is let go.
type slow struct {
	Shelf
	asked chan string
	free  chan struct{}
}

func (s *slow) Chunk(d protocol.Digest, i uint32) ([]byte, int64, bool) {
	s.asked <- "chunk"
	<-s.free
	return s.Shelf.Chunk(d, i)
}

func (s *slow) Keep(c *protocol.Chunk) error {
	s.asked <- "keep"
	<-s.free
	return s.Shelf.Keep(c)
}

// Words from neighbour to neighbour do not wait for the shelf's disk. Who asks for a piece while it
// is being kept gets it, and the hub is asked once.
func TestWordsPassBesideTheDisk(t *testing.T) {
	w := newWorld(t)
	s := &slow{w.relay.cfg.Shelf, make(chan string), make(chan struct{})}
	w.relay.cfg.Shelf = s
	file := blob(1)
	w.relay.Uplink(true)
	w.wants("", w.said...)
	late := make(chan struct{})
	during := func(want string, do, amid func()) { // the disk stops in do; a word goes
		t.Helper()
		over := make(chan struct{})
		go func() { defer close(over); do() }()
		if got := <-s.asked; got != want {
			t.Errorf("the shelf is asked for %s, want %s", got, want)
		}
		w.says(pump, protocol.UpHop, word(valve))
		w.wants("while the disk stops", "valve d/hop from plant/pump")
		amid()
		s.free <- struct{}{}
		<-over
	}
	req := protocol.FetchRequest{Digest: protocol.DigestOf(file), Count: 1}
	during("chunk", func() { w.says(pump, protocol.UpFetch, req) }, func() {})
	w.wants("the first", "hub u/fetch 0+1")
	during("keep", func() { w.hub(gw, protocol.DownChunk, chunkOf(file, 0)) }, func() {
		go func() { defer close(late); w.relay.Neighbour(w.now, fetching(valve, req)) }()
	})
	<-s.asked
	s.free <- struct{}{}
	<-late
	w.wants("who asked meanwhile", "pump d/chunk 0", "valve d/chunk 0")
}

func fetching(from protocol.Address, req protocol.FetchRequest) protocol.Message {
	return protocol.Message{Topic: protocol.Topic(from, protocol.UpFetch), Payload: protocol.MustMarshal(req)}
}
