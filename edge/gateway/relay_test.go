package gateway

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

var (
	start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	gw    = protocol.Address{Site: "plant", Agent: "gw-1"}
	pump  = protocol.Address{Site: "plant", Agent: "pump"}
	valve = protocol.Address{Site: "plant", Agent: "valve"}
	far   = protocol.Address{Site: "oslo", Agent: "fan"}
)

// world is a relay with all around it: what was sent to whom, in words.
type world struct {
	testing.TB
	relay *Relay
	now   time.Time
	here  []protocol.Address // neighbours that are connected
	deaf  map[protocol.Address]bool
	full  bool               // the link to the hub takes nothing
	junk  bool               // what others get may be no message: they check it themselves
	said  []string           // since the last look
	sent  []protocol.Message // to the hub, likewise
	got   map[protocol.Address][]protocol.Chunk
}

func newWorld(t testing.TB) *world {
	t.Helper()
	shelf, err := OpenFolder(t.TempDir(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		TB: t, now: start, here: []protocol.Address{pump, valve}, deaf: map[protocol.Address]bool{},
		got: map[protocol.Address][]protocol.Chunk{},
	}
	w.relay = New(Config{Address: gw, Site: w, Shelf: shelf, Send: w.toHub, Own: w.own})
	return w
}

func (w *world) Connected() []protocol.Address { return w.here }

func (w *world) Send(m protocol.Message) error {
	to, kind, err := protocol.ParseTopic(m.Topic)
	if err != nil || kind.Up() {
		w.Fatalf("sent %q to a neighbour: %v", m.Topic, err)
	}
	if !slices.Contains(w.here, to) || w.deaf[to] {
		return protocol.Errorf(protocol.CodeUnavailable, "agent %s: not connected", to)
	}
	w.note(to, kind, m.Payload)
	return nil
}

func (w *world) own(m protocol.Message) {
	to, kind, err := protocol.ParseTopic(m.Topic)
	if err != nil || to != gw {
		w.Fatalf("own agent gets %q: %v", m.Topic, err)
	}
	w.note(to, kind, m.Payload)
}

func (w *world) note(to protocol.Address, kind protocol.Kind, payload []byte) {
	text := fmt.Sprintf("%s %s", to.Agent, kind)
	switch kind {
	case protocol.DownChunk:
		var c protocol.Chunk
		w.decode(payload, &c)
		w.got[to] = append(w.got[to], c)
		text += fmt.Sprintf(" %d", c.Index)
		if c.Offer != nil {
			text += " offer"
		}
		if c.Error != nil {
			text += " " + c.Error.Code.String()
		}
	case protocol.DownUplink:
		var u protocol.Uplink
		w.decode(payload, &u)
		if text += fmt.Sprintf(" %v", u.Up); u.Same {
			text += " as before"
		}
	case protocol.DownHop:
		var h protocol.Hop
		w.decode(payload, &h)
		text += " from " + h.From.String()
	}
	w.said = append(w.said, text)
}

func (w *world) toHub(m protocol.Message) error {
	if w.full {
		return protocol.Errorf(protocol.CodeUnavailable, "queue is full")
	}
	from, kind, err := protocol.ParseTopic(m.Topic)
	if err != nil || from != gw || !kind.Up() || len(m.Payload) > protocol.MessageMax {
		w.Fatalf("sent %d bytes on %q to the hub: %v", len(m.Payload), m.Topic, err)
	}
	text := "hub " + string(kind)
	if kind == protocol.UpCarried {
		var c protocol.Carried
		w.decode(m.Payload, &c)
		text += fmt.Sprintf(" %s %s", c.Agent, c.Kind)
	}
	if kind == protocol.UpFetch {
		var f protocol.FetchRequest
		w.decode(m.Payload, &f)
		text += fmt.Sprintf(" %d+%d", f.First, f.Count)
		if len(f.Bases) > 0 {
			text += " bases"
		}
	}
	w.said = append(w.said, text)
	w.sent = append(w.sent, m)
	return nil
}

func (w *world) decode(b []byte, v any) {
	w.Helper()
	if err := protocol.Unmarshal(b, v); err != nil && !w.junk {
		w.Fatal(err)
	}
}

// wants compares what was sent since the last look.
func (w *world) wants(what string, want ...string) {
	w.Helper()
	if !slices.Equal(w.said, want) {
		w.Errorf("%s: %q, want %q", what, w.said, want)
	}
	w.said, w.sent = nil, nil
}

// says lets a neighbour, or the gateway's own agent, say something.
func (w *world) says(from protocol.Address, kind protocol.Kind, v any) {
	w.Helper()
	m := protocol.Message{Topic: protocol.Topic(from, kind), Payload: protocol.MustMarshal(v)}
	if from == gw {
		if err := w.relay.Say(w.now, m); err != nil {
			w.said = append(w.said, protocol.CodeOf(err).String())
		}
		return
	}
	acknowledged := false
	m.Ack = func() { acknowledged = true }
	w.relay.Neighbour(w.now, m)
	if !acknowledged {
		w.Errorf("%s %s: not acknowledged: its line would be cut", from, kind)
	}
}

// hub lets the hub say something to the gateway, or by it to a neighbour.
func (w *world) hub(to protocol.Address, kind protocol.Kind, v any) {
	payload := protocol.MustMarshal(v)
	if to != gw {
		payload = protocol.MustMarshal(protocol.Carried{Agent: to.Agent, Kind: kind, Payload: payload})
		kind = protocol.DownCarried
	}
	w.relay.Hub(w.now, protocol.Message{Topic: protocol.Topic(gw, kind), Payload: payload})
}

func word(to protocol.Address) protocol.Hop {
	return protocol.Hop{
		To: to, From: protocol.Address{Site: "plant", Agent: "liar"}, Word: protocol.HopOffer, Run: protocol.RunID{1},
		Workflow: "guard", Step: "act",
	}
}

// What neighbours say goes up in the gateway's own messages, and what is for them comes down.
func TestCarriesBothWays(t *testing.T) {
	w := newWorld(t)
	w.relay.Uplink(true)
	w.wants("on connecting", "pump d/uplink true", "valve d/uplink true")
	w.says(pump, protocol.UpPresence, protocol.Presence{Online: true, Boot: 1, Session: 1})
	w.says(pump, protocol.UpRecords, protocol.Batch{Epoch: 1, Lane: protocol.LaneEvent})
	w.says(gw, protocol.UpReported, protocol.Reported{Epoch: 1})
	w.wants("up", "pump d/uplink true as before", "hub u/carried pump u/presence", "hub u/carried pump u/records", "hub u/reported")
	w.hub(pump, protocol.DownAck, protocol.LaneAck{Epoch: 1, Lane: protocol.LaneEvent})
	w.hub(gw, protocol.DownAck, protocol.LaneAck{Epoch: 1, Lane: protocol.LaneEvent})
	w.wants("down", "pump d/ack", "gw-1 d/ack")
	w.hub(far, protocol.DownAck, protocol.LaneAck{Epoch: 1}) // by name alone it is nobody here
	w.says(far, protocol.UpRecords, protocol.Batch{Epoch: 1})
	w.says(pump, protocol.UpCarried, protocol.Carried{Agent: "valve", Kind: protocol.UpRecords})
	w.wants("what is not the site's")
	if c := w.relay.Counts(); c.Up != 2 || c.Down != 1 || c.Dropped != 3 {
		t.Errorf("counts %+v", c)
	}
}

// While the hub is away, words pass inside the site, what is for the hub stays with who says
// it, and how things stand is told once the hub is back, the newest of it.
func TestHubAway(t *testing.T) {
	w := newWorld(t)
	w.says(pump, protocol.UpPresence, protocol.Presence{Online: true, Boot: 1, Session: 1})
	w.wants("told that the hub is away", "pump d/uplink false")
	w.says(pump, protocol.UpRecords, protocol.Batch{Epoch: 1, Lane: protocol.LaneEvent})
	w.says(pump, protocol.UpHop, word(valve))
	w.says(pump, protocol.UpHop, word(gw))
	w.says(gw, protocol.UpHop, word(pump))
	w.says(pump, protocol.UpHop, word(far))
	w.wants("inside", "valve d/hop from plant/pump", "gw-1 d/hop from plant/pump", "pump d/hop from plant/gw-1")
	w.here = []protocol.Address{valve}
	w.says(pump, protocol.UpPresence, protocol.Presence{Boot: 1, Session: 1}) // its Will
	w.wants("gone")
	w.relay.Uplink(true)
	w.wants("back", "hub u/carried pump u/presence", "valve d/uplink true")
	w.relay.Tick(w.now)
	w.wants("and not again")
	w.says(valve, protocol.UpHop, word(pump))
	w.wants("to who is not here", "hub u/carried valve u/hop")
}

// What was not taken is tried again: a neighbour's state by the hub, the hub's by a neighbour.
func TestTriesAgain(t *testing.T) {
	w := newWorld(t)
	w.deaf[valve] = true
	w.relay.Uplink(true)
	w.wants("one does not hear", "pump d/uplink true")
	w.full = true
	w.says(pump, protocol.UpReported, protocol.Reported{Epoch: 1, Sequence: 1})
	w.says(pump, protocol.UpReported, protocol.Reported{Epoch: 1, Sequence: 2})
	w.relay.Tick(w.now)
	w.wants("still")
	w.full, w.deaf[valve] = false, false
	w.relay.Tick(w.now)
	w.wants("later", "hub u/carried pump u/reported", "valve d/uplink true")
	w.relay.Tick(w.now)
	w.wants("done")
}

// blob is a file of n chunks and a bit.
func blob(n int) []byte {
	return bytes.Repeat([]byte("stavily-"), n*protocol.ChunkSize/8+100)
}

// answer is the hub's answer to the requests that were sent to it in the gateway's own name.
func (w *world) answer(file []byte) {
	w.Helper()
	sent := w.sent
	w.said, w.sent = nil, nil
	for _, m := range sent {
		var f protocol.FetchRequest
		if _, kind, _ := protocol.ParseTopic(m.Topic); kind != protocol.UpFetch {
			continue
		}
		w.decode(m.Payload, &f)
		for i := f.First; i < f.First+f.Count && i < protocol.ChunkCount(int64(len(file))); i++ {
			if !f.Wants(i) {
				continue
			}
			w.hub(gw, protocol.DownChunk, chunkOf(file, i))
		}
	}
}

func chunkOf(file []byte, i uint32) protocol.Chunk {
	at := int(i) * protocol.ChunkSize
	return protocol.Chunk{
		Digest: protocol.DigestOf(file), Index: i, Size: int64(len(file)),
		Data: file[at:min(at+protocol.ChunkSize, len(file))],
	}
}

// Whoever asks, and at the same moment, a site fetches a file once.
func TestFetchesOnce(t *testing.T) {
	w := newWorld(t)
	file := blob(3)
	d := protocol.DigestOf(file)
	w.relay.Uplink(true)
	w.wants("", w.said...)
	w.says(pump, protocol.UpFetch, protocol.FetchRequest{Digest: d, First: 0, Count: 2})
	w.wants("the first", "hub u/fetch 0+2")
	w.says(valve, protocol.UpFetch, protocol.FetchRequest{Digest: d, First: 0, Count: 4})
	w.says(gw, protocol.UpFetch, protocol.FetchRequest{Digest: d, First: 1, Count: 1})
	if got := strings.Join(w.said, ","); got != "hub u/fetch 2+2" {
		t.Errorf("the second and third: %s", got)
	}
	w.answer(file)
	w.hub(gw, protocol.DownChunk, chunkOf(file, 0))
	w.hub(gw, protocol.DownChunk, chunkOf(file, 1))
	w.relay.Uplink(false)
	w.wants("", w.said...)
	w.says(pump, protocol.UpFetch, protocol.FetchRequest{Digest: d, First: 2, Count: 8})
	w.wants("without the hub", "pump d/chunk 2", "pump d/chunk 3")
	for a, n := range map[protocol.Address]int{pump: 4, valve: 4, gw: 1} {
		if len(w.got[a]) != n {
			t.Errorf("%s got %d chunks, want %d", a, len(w.got[a]), n)
		}
		for _, c := range w.got[a] {
			if !bytes.Equal(c.Data, chunkOf(file, c.Index).Data) {
				t.Errorf("%s: chunk %d is another", a, c.Index)
			}
		}
	}
	if c := w.relay.Counts(); c.Fetched != uint64(len(file)) {
		t.Errorf("%d bytes over the uplink, the file has %d", c.Fetched, len(file))
	}
	w.says(pump, protocol.UpFetch, protocol.FetchRequest{Digest: protocol.Digest{1}, Count: 2})
	w.wants("what is not here", "pump d/chunk 0 unavailable")
}

// An offer of a difference goes to who asked for one; the others get the chunks. Not yet means
// ask again, at once.
func TestOffers(t *testing.T) {
	w := newWorld(t)
	file := blob(3)
	d := protocol.DigestOf(file)
	w.relay.Uplink(true)
	w.wants("", w.said...)
	wish := protocol.FetchRequest{Digest: d, Count: 1, Bases: []protocol.Digest{{}}}
	w.says(pump, protocol.UpFetch, wish)
	w.says(pump, protocol.UpFetch, wish)
	w.says(valve, protocol.UpFetch, protocol.FetchRequest{Digest: d, Count: 2})
	w.wants("both", "hub u/fetch 0+1 bases", "hub u/fetch 0+2")
	w.hub(gw, protocol.DownChunk, protocol.Chunk{Digest: d, Error: protocol.Errorf(protocol.CodeUnavailable, "soon")})
	w.wants("not yet", "valve d/chunk 0 unavailable", "pump d/chunk 0 unavailable")
	w.says(valve, protocol.UpFetch, protocol.FetchRequest{Digest: d, Count: 2})
	w.says(pump, protocol.UpFetch, wish)
	w.wants("again", "hub u/fetch 0+2", "hub u/fetch 0+1 bases")
	w.hub(gw, protocol.DownChunk, protocol.Chunk{Digest: d, Offer: &protocol.Offer{Digest: protocol.Digest{3}, Size: 9}})
	w.wants("an offer", "pump d/chunk 0 offer")
	w.hub(gw, protocol.DownChunk, chunkOf(file, 0))
	w.wants("a chunk", "valve d/chunk 0")
	w.says(pump, protocol.UpFetch, wish)
	w.wants("what is here is handed out whole", "pump d/chunk 0")
	w.says(pump, protocol.UpFetch, protocol.FetchRequest{Digest: d, Count: 4, Skip: 0b0101})
	w.wants("without what is not wanted", "hub u/fetch 3+1")
}

// A piece that does not come is asked for again by who wants it next, not for ever waited for.
func TestLatePieceIsAskedForAgain(t *testing.T) {
	w := newWorld(t)
	w.relay.Uplink(true)
	w.wants("", w.said...)
	ask := func() { w.says(pump, protocol.UpFetch, protocol.FetchRequest{Digest: protocol.Digest{1}, Count: 1}) }
	ask()
	ask()
	w.wants("once", "hub u/fetch 0+1")
	w.now = w.now.Add(flightMax + time.Second)
	ask()
	w.wants("late", "hub u/fetch 0+1")
	w.relay.Uplink(false)
	w.relay.Uplink(true)
	w.wants("", w.said...)
	ask()
	w.wants("after a cut", "hub u/fetch 0+1")
}

// S-12: a desired document goes to the agent that it is for and stays with nobody: the gateway
// asks for it in that agent's name, whether a hint told it which it is or the hub's no.
func TestOwnDocumentsAreCarried(t *testing.T) {
	w := newWorld(t)
	doc := []byte("sealed for pump")
	d := protocol.DigestOf(doc)
	w.relay.Uplink(true)
	w.wants("", w.said...)
	w.says(pump, protocol.UpFetch, protocol.FetchRequest{Digest: d, Count: 2})
	w.wants("not known to be one", "hub u/fetch 0+2")
	w.hub(gw, protocol.DownChunk, protocol.Chunk{Digest: d, Error: protocol.Errorf(protocol.CodeNotFound, "no")})
	w.wants("the hub said no", "hub u/carried pump u/fetch")
	w.hub(pump, protocol.DownChunk, chunkOf(doc, 0))
	w.wants("its own", "pump d/chunk 0")
	w.says(valve, protocol.UpFetch, protocol.FetchRequest{Digest: d, Count: 1})
	w.wants("another's is the hub's to refuse", "hub u/carried valve u/fetch")

	next := protocol.Digest{7}
	w.hub(pump, protocol.DownHint, protocol.Hint{Epoch: 1, Revision: 2, Digest: next})
	w.hub(gw, protocol.DownHint, protocol.Hint{Epoch: 1, Revision: 2, Digest: protocol.Digest{8}})
	w.wants("hints", "pump d/hint", "gw-1 d/hint")
	w.says(pump, protocol.UpFetch, protocol.FetchRequest{Digest: next, Count: 1})
	w.says(valve, protocol.UpFetch, protocol.FetchRequest{Digest: protocol.Digest{8}, Count: 1})
	w.wants("hinted", "hub u/carried pump u/fetch", "hub u/carried valve u/fetch")
	w.says(gw, protocol.UpFetch, protocol.FetchRequest{Digest: protocol.Digest{8}, Count: 1})
	w.wants("the gateway's own", "hub u/fetch 0+1")
	w.hub(gw, protocol.DownChunk, chunkOf(doc, 0))
	w.wants("comes to its own agent", "gw-1 d/chunk 0")
}

// FuzzRelay holds the relay to any bytes from a neighbour and from the hub: no panic, and
// nothing leaves but on topics that the world allows.
func FuzzRelay(f *testing.F) {
	for _, v := range []any{
		protocol.FetchRequest{Digest: protocol.Digest{1}, First: 3, Count: 8},
		word(valve),
		protocol.Uplink{Up: true},
		protocol.Carried{Agent: "pump", Kind: protocol.DownHint, Payload: protocol.MustMarshal(protocol.Hint{})},
		chunkOf(blob(0), 0),
	} {
		f.Add(protocol.MustMarshal(v), uint8(3))
	}
	f.Add([]byte("0"), uint8('X')) // no chunk, by the hub itself
	kinds := []protocol.Kind{
		protocol.UpPresence, protocol.UpReported, protocol.UpRecords, protocol.UpFetch, protocol.UpSecrets, protocol.UpHop,
		protocol.UpRecord, protocol.UpCarried,
	}
	down := []protocol.Kind{protocol.DownCarried, protocol.DownChunk, protocol.DownHint}
	f.Fuzz(func(t *testing.T, payload []byte, n uint8) {
		w := newWorld(t)
		w.junk = true
		w.relay.Uplink(n%2 == 0)
		up := protocol.Topic(pump, kinds[int(n)%len(kinds)])
		w.relay.Neighbour(w.now, protocol.Message{Topic: up, Payload: payload})
		w.relay.Hub(w.now, protocol.Message{Topic: protocol.Topic(gw, down[int(n)%len(down)]), Payload: payload})
		w.relay.Tick(w.now)
	})
}

// Who went away with the word in its queue that the hub is not reached is told when it is back
// that it is: the word that it was not may be the first that it hears.
func TestUplinkAfterBeingAway(t *testing.T) {
	w := newWorld(t)
	w.relay.Uplink(true)
	w.relay.Uplink(false)
	w.said = nil
	w.here = []protocol.Address{valve}
	w.relay.Uplink(true)
	w.now = w.now.Add(time.Minute)
	w.relay.Tick(w.now)
	w.wants("while it is away", "valve d/uplink true")
	w.here = []protocol.Address{pump, valve}
	w.says(pump, protocol.UpPresence, protocol.Presence{Online: true, Boot: 1, Session: 2})
	w.wants("back", "pump d/uplink true", "hub u/carried pump u/presence")
	w.says(pump, protocol.UpPresence, protocol.Presence{Online: true, Boot: 1, Session: 3})
	w.wants("once", "pump d/uplink true as before", "hub u/carried pump u/presence")
}
