package edge_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// backlog returns a world with n events that the hub does not have, and a line.
func backlog(t *testing.T, n int) *world {
	t.Helper()
	w := newWorld(t)
	w.hub.standard()
	w.plugins.answers["w/when"] = fires(n)
	w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
	w.boot()
	w.online()
	w.pass(w.cfg.Gather + time.Millisecond)
	w.offline()
	w.pass(time.Hour)
	if got := w.agent.Status().Pending; got < uint64(3*n-3) {
		t.Fatalf("%d records pend, want %d", got, 3*n)
	}
	w.hub.deaf = true
	w.online()
	w.pass(time.Second)
	w.hub.out = nil
	return w
}

// Only what was sent can be acknowledged, and only by the right epoch and lane.
func TestAckBounds(t *testing.T) {
	last := protocol.Mark{Boot: 1, Sequence: 256}
	for _, c := range []struct {
		name string
		ack  any
		gone uint64
	}{
		{"all of the batch", protocol.LaneAck{Epoch: 1, Lane: protocol.LaneEvent, Mark: last}, 255},
		{"a part of it", protocol.LaneAck{Epoch: 1, Lane: protocol.LaneEvent, Mark: protocol.Mark{Boot: 1, Sequence: 100}}, 99},
		{"more than was sent", protocol.LaneAck{Epoch: 1, Lane: protocol.LaneEvent, Mark: protocol.Mark{Boot: 99}}, 256},
		{"another life", protocol.LaneAck{Epoch: 2, Lane: protocol.LaneEvent, Mark: last}, 0},
		{"nothing", protocol.LaneAck{Epoch: 1, Lane: protocol.LaneEvent}, 0},
		{"another lane", protocol.LaneAck{Epoch: 1, Lane: protocol.LaneMetric, Mark: last}, 0},
		{"no lane", protocol.LaneAck{Epoch: 1, Lane: 200, Mark: last}, 0},
		{"with another lane", protocol.LaneAcks{
			{Epoch: 1, Lane: protocol.LaneMetric, Mark: last}, {Epoch: 1, Lane: protocol.LaneEvent, Mark: last},
		}, 255},
		{"none", protocol.LaneAcks{}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := backlog(t, 600) // the first event is at the hub already
			before := w.agent.Status().Pending
			w.hub.say(protocol.DownAck, c.ack)
			w.drain()
			if got := before - w.agent.Status().Pending; got != c.gone {
				t.Fatalf("%d records went, want %d", got, c.gone)
			}
			if c.gone == 0 {
				return
			}
			w.hub.deaf = false
			w.pass(time.Hour)
			if got := w.agent.Status().Pending; got != 0 {
				t.Fatalf("%d records pend in the end", got)
			}
		})
	}
}

// What comes of one event leaves together, and at once where nothing is to wait.
func TestGatherRecords(t *testing.T) {
	for _, c := range []struct {
		gather    time.Duration
		soon, all int
	}{{0, 3, 3}, {50 * time.Millisecond, 0, 2}} {
		w := newWorld(t)
		w.cfg.Gather = c.gather
		w.hub.standard()
		w.plugins.answers["w/when"] = fires(1)
		w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
		w.boot()
		w.online()
		w.pass(8 * time.Millisecond)
		soon := len(w.hub.batches)
		w.pass(time.Second)
		if all := len(w.hub.batches); soon != c.soon || all != c.all || len(w.hub.results) != 2 {
			t.Errorf("gather %s: %d batches soon, %d in all, %d results: want %d, %d, 2",
				c.gather, soon, all, len(w.hub.results), c.soon, c.all)
		}
	}
}

// Records come in order and in batches within their bounds, results before events.
func TestDrain(t *testing.T) {
	w := backlog(t, 600)
	w.hub.deaf, w.hub.batches = false, nil
	w.offline()
	w.online()
	w.pass(time.Hour)
	if len(w.hub.events) != 600 || len(w.hub.results) != 1200 {
		t.Fatalf("%d events, %d results", len(w.hub.events), len(w.hub.results))
	}
	if w.hub.batches[0].Lane != protocol.LaneResult {
		t.Fatalf("lane %s left first", w.hub.batches[0].Lane)
	}
	for _, b := range w.hub.batches {
		if n := len(protocol.MustMarshal(b)); n > protocol.MessageMax || len(b.Records) > protocol.BatchMax {
			t.Fatalf("batch of %d records, %d bytes", len(b.Records), n)
		}
	}
	if !slices.IsSortedFunc(w.hub.order, func(a, b protocol.Event) int { return int(a.Time.UnixMS - b.Time.UnixMS) }) {
		t.Fatal("events out of order")
	}
}

// Runs that wait go on in the order in which they fired, also after a boot.
func TestRunsInOrder(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	w.plugins.answers["w/when"] = fires(20)
	w.plugins.answers["w/do"] = refuses(protocol.CodeUnavailable, "starting")
	w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
	for range 4 { // some runs are born in each boot, with IDs that sort the other way
		w.seed -= 2
		w.boot()
		w.online()
		w.pass(5 * time.Second)
	}
	w.plugins.answers["w/do"], w.plugins.keys = nil, nil
	w.boot()
	w.online()
	w.pass(time.Hour)
	var did []string
	for _, key := range w.plugins.keys {
		if run, ok := strings.CutSuffix(key, "/do"); ok {
			did = append(did, run)
		}
	}
	var fired []string
	for _, ev := range w.hub.order {
		fired = append(fired, ev.Run.String())
	}
	if len(fired) != 20 || !slices.Equal(did, fired) {
		t.Fatalf("fired %d runs, done in another order:\n%q\n%q", len(fired), fired, did)
	}
	if slices.IsSorted(fired) {
		t.Fatal("the IDs sort as they fired: this test shows nothing")
	}
}

// quota is a disk with so many bytes for what is written under keys.
type quota struct {
	edge.Store
	left  int
	sizes map[string]int
}

func (q *quota) Apply(changes []edge.Change) error {
	grows := 0
	for _, c := range changes {
		grows -= q.sizes[c.Key]
		if c.Value != nil {
			grows += len(c.Key) + len(c.Value)
		}
	}
	if grows > q.left {
		return protocol.Errorf(protocol.CodeStorage, "write state: %w", edge.ErrFull)
	}
	if err := q.Store.Apply(changes); err != nil {
		return err
	}
	for _, c := range changes {
		q.left += q.sizes[c.Key]
		delete(q.sizes, c.Key)
		if c.Value != nil {
			q.sizes[c.Key] = len(c.Key) + len(c.Value)
			q.left -= q.sizes[c.Key]
		}
	}
	return nil
}

// A disk far smaller than the lanes' bounds: work goes on without a line, the least
// important lane gives way and every drop is counted; with the line back all that is left
// reaches the hub, and nothing more is dropped.
func TestFullDiskMakesRoom(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
	w.boot()
	w.online()
	w.pass(time.Minute)
	w.offline()
	small := &quota{Store: w.disk, left: 20_000, sizes: map[string]int{}}
	w.store = small
	w.plugins.answers["w/when"] = fires(2000)
	w.boot()
	w.pass(time.Hour)
	s := w.agent.Status()
	if s.DiskRefuses || s.Assignments[0].Fired < 1990 || s.Dropped == 0 {
		t.Fatalf("without a line: disk refuses %v, %d fired, %d dropped", s.DiskRefuses, s.Assignments[0].Fired, s.Dropped)
	}
	w.online()
	w.pass(time.Hour)
	after := w.agent.Status()
	if after.Pending != 0 || after.DiskRefuses || after.Dropped != s.Dropped {
		t.Errorf("with the line back: %d pending, disk refuses %v, %d dropped, %d before", after.Pending, after.DiskRefuses, after.Dropped, s.Dropped)
	}
	if got := len(w.hub.events) + len(w.hub.results) + int(after.Dropped); got < 3*1990 {
		t.Errorf("%d events, %d results and %d dropped: some are neither", len(w.hub.events), len(w.hub.results), after.Dropped)
	}
}

// A full disk with a line: the hub makes the room, and nothing is lost.
func TestFullDiskDrains(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
	w.boot()
	w.online()
	w.pass(time.Minute)
	w.store = &quota{Store: w.disk, left: 3_000, sizes: map[string]int{}}
	w.plugins.answers["w/when"] = fires(200)
	w.boot()
	w.online()
	w.pass(time.Hour)
	if s := w.agent.Status(); s.Dropped != 0 || s.Pending != 0 || len(w.hub.events) != 200 || len(w.hub.results) != 400 {
		t.Errorf("%d dropped, %d pending; hub has %d events, %d results", s.Dropped, s.Pending, len(w.hub.events), len(w.hub.results))
	}
}

// What comes while the disk refuses is done with at once, but for the newest hint: a connection
// bears only so many messages without an acknowledgement, and an agent that leaves them would be
// deaf when its disk is well again.
func TestStuckDiskLeavesNothingUnacknowledged(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
	w.boot()
	w.online()
	w.pass(time.Minute)
	small := &quota{Store: w.disk, left: 0, sizes: map[string]int{}}
	w.store = small
	w.plugins.answers["w/when"] = fires(20)
	small.left = 1 << 20
	w.boot()
	w.online()
	small.left = -1 << 20
	w.pass(time.Second)
	if !w.agent.Status().DiskRefuses {
		t.Fatal("the disk took it")
	}
	open := 0
	for i := range 100 {
		w.hub.sayHint()
		w.hub.say(protocol.DownAck, protocol.LaneAck{Epoch: 1, Lane: protocol.LaneMetric, Mark: protocol.Mark{Boot: 9}})
		w.hub.say(protocol.DownHop, protocol.Hop{})
		for _, m := range w.hub.out {
			open++
			m.Ack = func() { open-- }
			w.agent.Handle(w.now, m)
		}
		w.hub.out = nil
		if open > 1 {
			t.Fatalf("%d messages without an acknowledgement after %d rounds, want the newest hint alone", open, i+1)
		}
	}
	small.left = 1 << 20
	w.pass(time.Hour)
	if s := w.agent.Status(); open != 0 || s.DiskRefuses || s.Pending != 0 {
		t.Errorf("in the end %d messages without an acknowledgement, disk refuses %v, %d records pend", open, s.DiskRefuses, s.Pending)
	}
}
