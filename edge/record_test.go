package edge_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// Record makes script a Recorder.
func (s *script) Record(_ edge.Instance, o protocol.RecordOrder) { s.orders = append(s.orders, o) }

func (w *world) order(o protocol.RecordOrder) {
	w.t.Helper()
	o.Epoch = 1
	w.hub.say(protocol.DownRecord, o)
	w.drain()
}

// have says which parts the hub has.
func (w *world) have(id uint64, n uint32) { w.order(protocol.RecordOrder{ID: id, Have: n}) }

// A recording comes back part by part, each again until the hub has it, also over a line that
// breaks, and then it is forgotten.
func TestRecordingComesBack(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	w.boot()
	w.online()
	w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
	w.pass(time.Second)
	o := protocol.RecordOrder{ID: 7, Workflow: "w", Step: "do", Calls: 3}
	w.order(o)
	w.order(o) // it came twice
	if len(w.plugins.orders) != 1 || w.plugins.orders[0].Bytes != protocol.RecordBytesMax || len(w.hub.parts) != 0 {
		t.Fatalf("orders %+v, %d parts", w.plugins.orders, len(w.hub.parts))
	}
	data := bytes.Repeat([]byte("0123456789"), 20_000)
	w.agent.Recorded(w.now, edge.Recorded{Order: protocol.RecordOrder{ID: 6}, Data: []byte("of an older order")})
	w.agent.Recorded(w.now, edge.Recorded{Order: w.plugins.orders[0], Data: data})
	w.drain()
	if n := len(w.hub.parts); n != 1 {
		t.Fatalf("%d parts before the first was had", n)
	}
	w.pass(30 * time.Second)
	if n := len(w.hub.parts); n != 2 || w.hub.parts[1].Index != 0 {
		t.Errorf("%d parts: the first is not said again", n)
	}
	w.offline()
	w.online()
	w.drain()
	var got []byte
	for i := range uint32(4) {
		part := w.hub.parts[len(w.hub.parts)-1]
		if err := part.Check(); err != nil || part.Index != i || part.ID != 7 {
			t.Fatalf("part %d: %+v, %v", i, part.Index, err)
		}
		got = append(got, part.Data...)
		w.have(7, i+1)
	}
	if !bytes.Equal(got, data) {
		t.Errorf("%d bytes came of %d", len(got), len(data))
	}
	n := len(w.hub.parts)
	w.pass(time.Hour)
	if len(w.hub.parts) != n {
		t.Error("it is said after the hub has it")
	}
}

// What cannot be recorded, or may not, is said with its reason.
func TestRecordingRefused(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	w.boot()
	w.online()
	w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
	w.pass(time.Second)
	for i, c := range []struct {
		order protocol.RecordOrder
		code  protocol.Code
	}{
		{protocol.RecordOrder{Workflow: "other", Step: "do", Calls: 1}, protocol.CodeNotFound},
		{protocol.RecordOrder{Workflow: "w", Step: "other", Calls: 1}, protocol.CodeNotFound},
		{protocol.RecordOrder{Workflow: "w", Step: "do", Calls: protocol.RecordCallsMax + 1}, protocol.CodeLimit},
	} {
		c.order.ID = uint64(i + 1)
		w.order(c.order)
		part := w.hub.parts[len(w.hub.parts)-1]
		if part.ID != c.order.ID || part.Error == nil || part.Error.Code != c.code {
			t.Errorf("%+v: %+v, want %s", c.order, part.Error, c.code)
		}
		w.have(c.order.ID, 1)
	}
	w.cfg.Policy.NoRecord = true // the device's word
	w.boot()
	w.online()
	w.pass(time.Second)
	w.order(protocol.RecordOrder{ID: 9, Workflow: "w", Step: "do", Calls: 1})
	if last := w.hub.parts[len(w.hub.parts)-1]; last.ID != 9 || last.Error == nil || last.Error.Code != protocol.CodeRefused {
		t.Errorf("%+v", last)
	}
	if len(w.plugins.orders) != 0 {
		t.Errorf("recorded all the same: %+v", w.plugins.orders)
	}
}
