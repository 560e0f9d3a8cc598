package hub

import (
	"bytes"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/registry"
	"github.com/stavily/stavily/hub/runs"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// event is a batch with one event of a run.
func event(d *device, run string, sequence uint64) protocol.Batch {
	body := protocol.MustMarshal(protocol.Event{
		Run: runID(run), Workflow: "watch", Revision: 1,
		Data: protocol.MustMarshal(map[string]any{"n": 1}),
	})
	return protocol.Batch{Epoch: d.Epoch, Lane: protocol.LaneEvent, Records: []protocol.Record{
		{Mark: protocol.Mark{Boot: 1, Sequence: sequence}, Body: body},
	}}
}

func (w *world) runs() []runs.Run {
	w.Helper()
	return look(w, func(tx *store.Tx) ([]runs.Run, error) { return runs.List(tx, runs.Filter{Limit: 100}) })
}

const runOne = "0102030405060708090a0b0c0d0e0f10"

// What cannot be understood is acknowledged, so that it never comes again, and changes
// nothing; the next message is handled as if it had not been.
func TestHandleRefuses(t *testing.T) {
	w := newWorld(t)
	d := w.enrol("pump", nil)
	w.sent.take()
	good := protocol.MustMarshal(event(d, runOne, 1))
	other := event(d, runOne, 1)
	other.Epoch = 7
	lane := event(d, runOne, 1)
	lane.Lane = 9
	many := protocol.Batch{Epoch: 1, Lane: protocol.LaneEvent, Records: make([]protocol.Record, protocol.BatchMax+1)}
	for i := range many.Records {
		many.Records[i].Body = []byte{0xf6}
	}
	stranger := protocol.Address{Site: "lab", Agent: "stranger"}
	elsewhere := protocol.Address{Site: "oslo", Agent: "pump"}
	labels := protocol.Reported{Epoch: 1, Boot: 1, Sequence: 1, Device: protocol.Device{Labels: map[string]string{"a b": ""}}}
	late := protocol.Reported{Epoch: 9, Boot: 1, Sequence: 1}
	before := w.agent("pump")
	for _, c := range []struct {
		name    string
		topic   string
		payload []byte
	}{
		{"garbage", protocol.Topic(d.at, protocol.UpRecords), []byte("not CBOR at all")},
		{"empty", protocol.Topic(d.at, protocol.UpRecords), nil},
		{"truncated", protocol.Topic(d.at, protocol.UpRecords), good[:len(good)-3]},
		{"something behind it", protocol.Topic(d.at, protocol.UpRecords), append(bytes.Clone(good), 0)},
		{"a key twice", protocol.Topic(d.at, protocol.UpPresence), []byte{0xa2, 1, 0xf5, 1, 0xf5}},
		{"another type", protocol.Topic(d.at, protocol.UpPresence), []byte{0xa1, 1, 0x61, 'x'}},
		{"over its limit", protocol.Topic(d.at, protocol.UpRecords), make([]byte, protocol.MessageMax+1)},
		{"too many records", protocol.Topic(d.at, protocol.UpRecords), protocol.MustMarshal(many)},
		{"unknown lane", protocol.Topic(d.at, protocol.UpRecords), protocol.MustMarshal(lane)},
		{"of another enrolment", protocol.Topic(d.at, protocol.UpRecords), protocol.MustMarshal(other)},
		{"report of another enrolment", protocol.Topic(d.at, protocol.UpReported), protocol.MustMarshal(late)},
		{"bad labels", protocol.Topic(d.at, protocol.UpReported), protocol.MustMarshal(labels)},
		{"unknown kind", "m/lab/pump/u/nonsense", good},
		{"a kind of the hub's own", protocol.Topic(d.at, protocol.DownAck), good},
		{"not a topic", "somewhere/else", good},
		{"bad name", "m/lab/PUMP/u/records", good},
		{"records of a stranger", protocol.Topic(stranger, protocol.UpRecords), good},
		{"presence of a stranger", protocol.Topic(stranger, protocol.UpPresence), protocol.MustMarshal(protocol.Presence{Online: true, Boot: 1})},
		{"report of a stranger", protocol.Topic(stranger, protocol.UpReported), protocol.MustMarshal(protocol.Reported{Epoch: 1})},
		{"from another site", protocol.Topic(elsewhere, protocol.UpRecords), good},
	} {
		t.Run(c.name, func(t *testing.T) {
			acknowledged := 0
			w.hub.Handle(day, protocol.Message{Topic: c.topic, Payload: c.payload, Ack: func() { acknowledged++ }})
			check(t, w.hub.Flush())
			if acknowledged != 1 {
				t.Errorf("acknowledged %d times", acknowledged)
			}
			if sent := w.sent.take(); len(sent) != 0 {
				t.Errorf("answered %+v", sent)
			}
			if after := w.agent("pump"); after.Reported != nil || after.Presence != before.Presence || len(w.runs()) != 0 || len(w.agents()) != 1 {
				t.Errorf("something changed: %+v", after)
			}
		})
	}
	if !w.says(d.at, protocol.UpRecords, good) || len(w.runs()) != 1 {
		t.Error("a good message after all that is lost")
	}
}

// D-15, D-17: records are acknowledged by the hub's disk: neither to the broker nor to
// the agent before Flush, and not at all when the books refuse.
func TestRecordsAreAcknowledgedByTheBooks(t *testing.T) {
	w := newWorld(t)
	d := w.enrol("pump", nil)
	w.sent.take()
	acknowledged := false
	batch := protocol.MustMarshal(event(d, runOne, 1))
	m := protocol.Message{Topic: protocol.Topic(d.at, protocol.UpRecords), Payload: batch, Ack: func() { acknowledged = true }}
	w.hub.Handle(day, m)
	if acknowledged || len(w.sent.messages) != 0 {
		t.Fatal("acknowledged before Flush")
	}
	check(t, w.hub.Flush())
	sent := w.sent.take()
	if !acknowledged || len(sent) != 1 || sent[0].Topic != protocol.Topic(d.at, protocol.DownAck) {
		t.Fatalf("after Flush: %v, %+v", acknowledged, sent)
	}
	var ack protocol.LaneAck
	check(t, protocol.Unmarshal(sent[0].Payload, &ack))
	if ack.Epoch != d.Epoch || ack.Lane != protocol.LaneEvent || ack.Mark != (protocol.Mark{Boot: 1, Sequence: 1}) {
		t.Errorf("ack %+v", ack)
	}
	// The same again is acknowledged again and kept once.
	if !w.says(d.at, protocol.UpRecords, batch) || len(w.runs()) != 1 {
		t.Errorf("runs %+v", w.runs())
	}
	w.sent.take()
	check(t, w.hub.books.Close())
	if w.says(d.at, protocol.UpRecords, protocol.MustMarshal(event(d, "1"+runOne[1:], 2))) || len(w.sent.take()) != 0 {
		t.Error("acknowledged although the books are closed")
	}
}

// When the books refuse what was gathered, none of it is acknowledged: all comes again.
func TestHandleDropsAWholeBatch(t *testing.T) {
	w := newWorld(t)
	d := w.enrol("pump", nil)
	w.sent.take()
	var acknowledged int
	for i := range uint64(3) {
		if i == 2 { // the transaction is gone, as when the disk fails
			w.hub.tx.Rollback()
		}
		w.hub.Handle(day, protocol.Message{
			Topic: protocol.Topic(d.at, protocol.UpRecords), Payload: protocol.MustMarshal(event(d, runOne, i+1)),
			Ack: func() { acknowledged++ },
		})
	}
	if err := w.hub.Flush(); protocol.CodeOf(err) != protocol.CodeStorage {
		t.Errorf("flushed into books that refuse: %v", err)
	}
	if acknowledged != 0 || len(w.sent.take()) != 0 || len(w.runs()) != 0 {
		t.Errorf("%d acknowledged, runs %+v", acknowledged, w.runs())
	}
}

// D-5: whoever holds another document than the newest is told, whatever he was told.
func TestReportsAreComparedWhole(t *testing.T) {
	w := newWorld(t)
	w.three()
	d := w.enrol("gw-1", map[string]string{"role": "gateway"})
	w.deploy(workflowText)
	w.sent.take()
	a := w.agent("gw-1")
	r := protocol.Reported{Epoch: 1, Boot: 1, Device: a.Device}
	for i, c := range []struct {
		digest protocol.Digest
		hints  int
	}{{protocol.Digest{}, 1}, {protocol.DigestOf([]byte("other")), 1}, {a.Desired.Digest, 0}} {
		r.Digest, r.Sequence = c.digest, uint64(i+1)
		w.says(d.at, protocol.UpReported, protocol.MustMarshal(r))
		if got := w.hints(); len(got) != c.hints {
			t.Errorf("%d: told %v", i, got)
		}
	}
	w.says(d.at, protocol.UpPresence, protocol.MustMarshal(protocol.Presence{Online: true, Boot: 1, Session: 1}))
	if got := w.hints(); len(got) != 1 || !w.agent("gw-1").Presence.Online {
		t.Errorf("on connecting told %v", got)
	}
	w.says(d.at, protocol.UpPresence, protocol.MustMarshal(protocol.Presence{Boot: 1, Session: 1}))
	if got := w.hints(); len(got) != 0 || w.agent("gw-1").Presence.Online {
		t.Errorf("on leaving told %v", got)
	}
}

// chunks lets an agent fetch, and returns the hub's answers.
func (w *world) chunks(d *device, req protocol.FetchRequest) (out []protocol.Chunk) {
	w.Helper()
	w.sent.take()
	if !w.says(d.at, protocol.UpFetch, protocol.MustMarshal(req)) {
		w.Error("not acknowledged")
	}
	for _, m := range w.sent.take() {
		var c protocol.Chunk
		check(w, protocol.Unmarshal(m.Payload, &c))
		if m.Topic != protocol.Topic(d.at, protocol.DownChunk) || len(m.Payload) > protocol.MessageMax {
			w.Errorf("%d bytes to %s", len(m.Payload), m.Topic)
		}
		out = append(out, c)
	}
	return out
}

// Artifacts and releases are for every agent, by digest, chunk by chunk; a desired
// document is for the agent it was sealed for.
func TestFetch(t *testing.T) {
	w := newWorld(t)
	w.builtThree()
	gw, other := w.enrol("gw-1", map[string]string{"role": "gateway"}), w.enrol("other", nil)
	w.deploy(workflowText)
	artifact := w.artifact("work")
	var whole []byte
	for first := uint32(0); first < protocol.ChunkCount(artifact.Size); first += protocol.FetchAheadMax {
		for _, c := range w.chunks(other, protocol.FetchRequest{Digest: artifact.Digest, First: first, Count: protocol.FetchAheadMax}) {
			check(t, c.Check())
			whole = append(whole, c.Data...)
		}
	}
	if protocol.DigestOf(whole) != artifact.Digest {
		t.Errorf("%d bytes of %d", len(whole), artifact.Size)
	}
	mine := w.agent("gw-1").Desired.Digest
	if got := w.chunks(gw, protocol.FetchRequest{Digest: mine, Count: 1}); len(got) != 1 || protocol.DigestOf(got[0].Data) != mine {
		t.Errorf("its own document: %+v", got)
	}
	for _, c := range []struct {
		name string
		by   *device
		req  protocol.FetchRequest
		code protocol.Code
	}{
		{"nothing asked", gw, protocol.FetchRequest{Digest: artifact.Digest}, protocol.CodeLimit},
		{"too much asked", gw, protocol.FetchRequest{Digest: artifact.Digest, Count: protocol.FetchAheadMax + 1}, protocol.CodeLimit},
		{"count overflows", gw, protocol.FetchRequest{Digest: artifact.Digest, Count: math.MaxUint32}, protocol.CodeLimit},
		{"beyond the end", gw, protocol.FetchRequest{Digest: artifact.Digest, First: 4000, Count: 1}, protocol.CodeLimit},
		{"just beyond the end", gw, protocol.FetchRequest{Digest: artifact.Digest, First: protocol.ChunkCount(artifact.Size), Count: 1}, protocol.CodeBadMessage},
		{"first overflows", gw, protocol.FetchRequest{Digest: artifact.Digest, First: math.MaxUint32, Count: 2}, protocol.CodeLimit},
		{"unknown digest", gw, protocol.FetchRequest{Digest: protocol.DigestOf([]byte("x")), Count: 1}, protocol.CodeNotFound},
		{"no digest", gw, protocol.FetchRequest{Count: 1}, protocol.CodeNotFound},
		{
			"a stranger", &device{at: protocol.Address{Site: "lab", Agent: "who"}},
			protocol.FetchRequest{Digest: artifact.Digest, Count: 1},
			protocol.CodeNotFound,
		},
		{"another agent's document", other, protocol.FetchRequest{Digest: mine, Count: 1}, protocol.CodeNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := w.chunks(c.by, c.req)
			if len(got) != 1 || got[0].Error == nil || got[0].Error.Code != c.code || got[0].Data != nil || got[0].Digest != c.req.Digest {
				t.Errorf("got %+v, want %s", got, c.code)
			}
		})
	}
}

// artifact returns the one of a plugin's only release.
func (w *world) artifact(name string) registry.Artifact {
	w.Helper()
	return look(w, func(tx *store.Tx) (registry.Artifact, error) {
		r, err := registry.Resolve(tx, name)
		return r.Artifacts[0], err
	})
}

// Tick is asked again in due time, and forgets old runs.
func TestTickPrunes(t *testing.T) {
	w := newWorld(t)
	d := w.enrol("pump", nil)
	w.says(d.at, protocol.UpRecords, protocol.MustMarshal(event(d, runOne, 1)))
	next := w.hub.Tick(day)
	if !next.After(day) || len(w.runs()) != 1 {
		t.Errorf("next %v, runs %+v", next, w.runs())
	}
	if again := w.hub.Tick(day.Add(time.Second)); again != next {
		t.Errorf("called too early, it wants %v, first %v", again, next)
	}
	w.hub.Tick(day.Add(w.cfg.RunsKept + time.Hour))
	if len(w.runs()) != 0 {
		t.Errorf("kept for ever: %+v", w.runs())
	}
}

// Any bytes under any topic are handled: no panic, always an acknowledgement, and the
// books stay readable.
func FuzzHandle(f *testing.F) {
	w := newWorld(f)
	d := w.enrol("pump", nil)
	kinds := []protocol.Kind{protocol.UpPresence, protocol.UpReported, protocol.UpRecords, protocol.UpFetch, protocol.UpProbe}
	f.Add(uint8(0), protocol.MustMarshal(protocol.Presence{Online: true, Boot: 1, Session: 1}))
	f.Add(uint8(1), protocol.MustMarshal(protocol.Reported{Epoch: 1, Boot: 1, Sequence: 1, Device: protocol.Device{Platform: "linux/arm"}}))
	f.Add(uint8(2), protocol.MustMarshal(event(d, runOne, 1)))
	f.Add(uint8(3), protocol.MustMarshal(protocol.FetchRequest{Count: 1}))
	f.Fuzz(func(t *testing.T, kind uint8, payload []byte) {
		acknowledged := false
		w.hub.Handle(day, protocol.Message{
			Topic: protocol.Topic(d.at, kinds[int(kind)%len(kinds)]), Payload: payload, Ack: func() { acknowledged = true },
		})
		check(t, w.hub.Flush())
		if !acknowledged {
			t.Error("it comes again for ever")
		}
		w.sent.take()
		check(t, w.hub.Operate(func(tx *store.Tx) error {
			_, err := fleet.List(tx)
			return err
		}))
	})
}

func runID(text string) (id protocol.RunID) {
	copy(id[:], text)
	return id
}

// Acknowledgements of several lanes leave as one for an agent that says that it takes them so, and
// alone for any other.
func TestAcknowledgementsTogether(t *testing.T) {
	for _, together := range []bool{false, true} {
		w := newWorld(t)
		d := w.enrol("pump", nil)
		w.sent.take()
		for _, of := range []protocol.Lane{protocol.LaneEvent, protocol.LaneAlarm, protocol.LaneEvent} {
			batch := event(d, runOne, 1)
			batch.Lane, batch.Together = of, together
			w.hub.Handle(day, protocol.Message{Topic: protocol.Topic(d.at, protocol.UpRecords), Payload: protocol.MustMarshal(batch)})
		}
		check(t, w.hub.Flush())
		var lanes []protocol.Lane
		sent := w.sent.take()
		for _, m := range sent {
			all, err := protocol.DecodeLaneAcks(m.Payload)
			check(t, err)
			for _, a := range all {
				lanes = append(lanes, a.Lane)
			}
		}
		switch {
		case together && (len(sent) != 1 || !slices.Equal(lanes, []protocol.Lane{protocol.LaneEvent, protocol.LaneAlarm})):
			t.Errorf("together: %d messages of lanes %v", len(sent), lanes)
		case !together && (len(sent) != 3 || len(lanes) != 3):
			t.Errorf("alone: %d messages of lanes %v", len(sent), lanes)
		}
		w.hub.Handle(day, protocol.Message{Topic: protocol.Topic(d.at, protocol.UpRecords), Payload: protocol.MustMarshal(event(d, runOne, 1))})
		check(t, w.hub.Flush())
		if again := w.sent.take(); len(again) != 1 {
			t.Errorf("%d messages after the next", len(again))
		}
	}
}
