package edge_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// stick is what somebody carries: the files of a hub, some of them perhaps gone or bad.
type stick struct {
	files  map[protocol.Digest][]byte
	closed int
}

func (s *stick) Chunk(d protocol.Digest, i uint32) (protocol.Chunk, error) {
	b, ok := s.files[d]
	if !ok {
		return protocol.Chunk{}, protocol.Errorf(protocol.CodeNotFound, "not on the stick")
	}
	at := int(i) * protocol.ChunkSize
	return protocol.Chunk{
		Digest: d, Index: i, Size: int64(len(b)), Data: b[at:min(at+protocol.ChunkSize, len(b))],
	}, nil
}

func (s *stick) Close() error {
	s.closed++
	return nil
}

// carry hands the newest of w's hub to the agent by hand, and returns what came of it.
func (w *world) carry(change func(c *edge.Carried, s *stick)) edge.Imported {
	w.t.Helper()
	s := &stick{files: w.hub.files}
	c := edge.Carried{Files: s}
	if w.hub.hint != nil {
		c.Desired = w.hub.files[w.hub.hint.Digest]
	}
	if change != nil {
		change(&c, s)
	}
	var came []edge.Imported
	w.agent.Import(w.now, c, func(i edge.Imported) { came = append(came, i) })
	w.pass(time.Minute)
	if len(came) != 1 || s.closed != 1 {
		w.t.Fatalf("told %d times, closed %d times, want once each", len(came), s.closed)
	}
	return came[0]
}

// sealed seals v with the hub's key.
func (h *hubSide) sealed(of protocol.Context, v any) []byte {
	h.t.Helper()
	b, err := protocol.Seal(of, h.keys[protocol.RoleDesired], protocol.MustMarshal(v))
	if err != nil {
		h.t.Fatal(err)
	}
	return b
}

// D-24: an agent without any line takes a revision, and the same again changes nothing; an
// older one after a newer is refused and leaves what runs alone.
func TestImportWithoutALine(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	w.hub.deploy(w.hub.desired(2, w.hub.workflow("w")))
	w.hub.out = nil
	older := newWorld(t)
	older.hub.standard()
	older.hub.deploy(older.hub.desired(1, older.hub.workflow("w")))
	w.boot()

	later := start.Add(48 * time.Hour)
	moment := w.hub.sealed(protocol.ContextMoment, protocol.Moment{Time: later.UnixMilli()})
	got := w.carry(func(c *edge.Carried, _ *stick) { c.Moments = [][]byte{moment} })
	if got.Err != nil || !got.Taken || got.Revision != 2 {
		t.Fatalf("got %+v, want revision 2 taken", got)
	}
	s := w.agent.Status()
	if s.Revision != 2 || s.Assignments[0].Phase != protocol.PhaseRunning || s.Floor.Before(later) {
		t.Fatalf("status %+v: want revision 2 running and the floor at %v", s, later)
	}
	if len(w.hub.fetches) != 0 {
		t.Error("the line was asked")
	}
	started := len(w.plugins.started)
	if got := w.carry(nil); got.Err != nil || got.Taken || len(w.plugins.started) != started {
		t.Errorf("twice: got %+v, started %v", got, w.plugins.started[started:])
	}
	got = w.carry(func(c *edge.Carried, s *stick) {
		c.Desired, s.files = older.hub.files[older.hub.hint.Digest], older.hub.files
	})
	if protocol.CodeOf(got.Err) != protocol.CodeStale || w.agent.Status().Revision != 2 ||
		w.agent.Status().Refused != nil {
		t.Errorf("older: got %+v, status %+v", got, w.agent.Status())
	}
	w.boot() // and it stays
	if w.agent.Status().Revision != 2 {
		t.Errorf("after a power cut: revision %d", w.agent.Status().Revision)
	}
}

// What a carrier changes is refused, and what runs goes on.
func TestImportRefused(t *testing.T) {
	other := newHubSide(t)
	other.keys[protocol.RoleDesired] = protocol.SealKey{
		Role: protocol.RoleDesired, Private: slices.Clone(other.keys[protocol.RoleRelease].Private),
	}
	for _, c := range []struct {
		name   string
		change func(w *world, c *edge.Carried, s *stick)
		code   protocol.Code
	}{
		{"another hub's", func(w *world, c *edge.Carried, _ *stick) {
			c.Desired = other.sealed(protocol.ContextDesired, w.hub.desired(3))
		}, protocol.CodeBadSeal},
		{"another agent's", func(w *world, c *edge.Carried, _ *stick) {
			d := w.hub.desired(3)
			d.Address.Agent = "a2"
			c.Desired = w.hub.sealed(protocol.ContextDesired, d)
		}, protocol.CodeNotMine},
		{"another enrolment's", func(w *world, c *edge.Carried, _ *stick) {
			d := w.hub.desired(3)
			d.Epoch = 2
			c.Desired = w.hub.sealed(protocol.ContextDesired, d)
		}, protocol.CodeStale},
		{"sealed for something else", func(w *world, c *edge.Carried, _ *stick) {
			c.Desired = w.hub.sealed(protocol.ContextMoment, w.hub.desired(3))
		}, protocol.CodeBadSeal},
		{"acknowledgements sealed by nobody", func(_ *world, c *edge.Carried, _ *stick) {
			c.Acks = protocol.MustMarshal(protocol.Acks{Address: here, Epoch: 1})
		}, protocol.CodeBadSeal},
		{"another agent's acknowledgements", func(w *world, c *edge.Carried, _ *stick) {
			of := here
			of.Agent = "a2"
			c.Acks = w.hub.sealed(protocol.ContextAcks, protocol.Acks{Address: of, Epoch: 1})
		}, protocol.CodeNotMine},
		{"a file is bad", func(_ *world, _ *edge.Carried, s *stick) {
			s.files = spoilt(s.files, func(b []byte) []byte { return append([]byte{b[0] ^ 1}, b[1:]...) })
		}, protocol.CodeNotFound},
		{"a file is missing", func(w *world, _ *edge.Carried, s *stick) {
			s.files = spoilt(s.files, func([]byte) []byte { return nil })
		}, protocol.CodeNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.hub.standard()
			w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
			w.boot()
			w.online()
			w.pass(time.Minute)
			w.offline()
			w.hub.publish("tick", protocol.Trigger, "1.0.1", bytes.Repeat([]byte("tock"), 50000))
			w.hub.deploy(w.hub.desired(2, w.hub.workflow("w")))
			w.hub.out = nil
			got := w.carry(func(in *edge.Carried, s *stick) { c.change(w, in, s) })
			if protocol.CodeOf(got.Err) != c.code || got.Taken {
				t.Fatalf("got %+v, want code %s", got, c.code)
			}
			if s := w.agent.Status(); s.Revision != 1 || s.Assignments[0].Phase != protocol.PhaseRunning {
				t.Errorf("status %+v: want revision 1 running", s)
			}
		})
	}
}

// spoilt changes the files that are larger than a document; nil takes one out.
func spoilt(all map[protocol.Digest][]byte, f func([]byte) []byte) map[protocol.Digest][]byte {
	out := map[protocol.Digest][]byte{}
	for d, b := range all {
		if len(b) > 100_000 {
			b = f(b)
		}
		if b != nil {
			out[d] = b
		}
	}
	return out
}

// What was not brought waits for the line, and comes by it.
func TestImportGoesOnByTheLine(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
	w.boot()
	got := w.carry(func(_ *edge.Carried, s *stick) {
		s.files = spoilt(s.files, func([]byte) []byte { return nil })
	})
	if protocol.CodeOf(got.Err) != protocol.CodeNotFound || !strings.Contains(got.Err.Error(), "waits for the line") {
		t.Fatalf("got %+v", got)
	}
	w.online()
	w.pass(time.Minute)
	if w.agent.Status().Revision != 1 {
		t.Errorf("revision %d after the line came, want 1", w.agent.Status().Revision)
	}
}

// Records that were carried away are at the hub once, whether the line brings them again
// before or after the acknowledgement is carried back.
func TestExportAndAcks(t *testing.T) {
	w := backlog(t, 40)
	w.offline()
	acks := protocol.Acks{Address: here, Epoch: 1}
	var records int
	for of := protocol.LaneEvent; of < protocol.LaneEnd; of++ {
		for from, more := "", true; more; more = from != "" {
			all, _, next, err := edge.Unacknowledged(w.store, of, from)
			if err != nil {
				t.Fatal(err)
			}
			if from = next; len(all) == 0 {
				break
			}
			records += len(all)
			w.hub.keep(protocol.Batch{Epoch: 1, Lane: of, Records: all})
			last := protocol.LaneAck{Epoch: 1, Lane: of, Mark: all[len(all)-1].Mark}
			acks.Lanes = slices.DeleteFunc(acks.Lanes, func(a protocol.LaneAck) bool { return a.Lane == of })
			acks.Lanes = append(acks.Lanes, last)
		}
	}
	w.hub.out = nil
	pending := w.agent.Status().Pending
	if uint64(records) != pending || records < 100 {
		t.Fatalf("%d records were carried away, %d pend", records, pending)
	}
	events := len(w.hub.order)
	got := w.carry(func(c *edge.Carried, _ *stick) {
		c.Acks, c.Desired = w.hub.sealed(protocol.ContextAcks, acks), nil
	})
	if got.Err != nil || got.Freed != pending || w.agent.Status().Pending != 0 {
		t.Errorf("got %+v, %d pend still", got, w.agent.Status().Pending)
	}
	if got := w.carry(func(c *edge.Carried, _ *stick) {
		c.Acks, c.Desired = w.hub.sealed(protocol.ContextAcks, acks), nil
	}); got.Err != nil || got.Freed != 0 {
		t.Errorf("twice: got %+v", got)
	}
	w.hub.deaf = false
	w.online()
	w.pass(time.Minute)
	if len(w.hub.order) != events {
		t.Errorf("%d events at the hub, want the %d that were carried", len(w.hub.order), events)
	}
}
