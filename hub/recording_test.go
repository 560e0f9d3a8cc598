package hub

import (
	"bytes"
	"testing"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// orders returns what was sent to a device about recordings.
func (w *world) orders(d *device) (out []protocol.RecordOrder) {
	w.Helper()
	for _, m := range w.sent.take() {
		if m.Topic == protocol.Topic(d.at, protocol.DownRecord) {
			var o protocol.RecordOrder
			check(w, protocol.Unmarshal(m.Payload, &o))
			out = append(out, o)
		}
	}
	return out
}

func recordingNow(tx *store.Tx) (savedRecording, error) { return recordingOf(tx, "pump") }

// A recording is ordered from an agent that is there, and comes part by part, each once.
func TestRecording(t *testing.T) {
	w := newWorld(t)
	d := w.enrol("pump", nil)
	wish := api.NewRecording{Workflow: "guard", Step: "act", Calls: 3}
	_, err := w.hub.OrderRecording(w.now, "pump", wish)
	refused(t, err, protocol.CodeUnavailable, `"pump" is not connected`)
	w.says(d.at, protocol.UpPresence, protocol.MustMarshal(protocol.Presence{Online: true, Boot: 1, Session: 1}))
	for _, calls := range []uint32{0, protocol.RecordCallsMax + 1} {
		_, err = w.hub.OrderRecording(w.now, "pump", api.NewRecording{Workflow: "guard", Step: "act", Calls: calls})
		refused(t, err, protocol.CodeLimit, "calls")
	}
	_, err = w.hub.OrderRecording(w.now, "nobody", wish)
	refused(t, err, protocol.CodeNotFound, "nobody")
	w.sent.take()
	r, err := w.hub.OrderRecording(w.now, "pump", wish)
	check(t, err)
	if sent := w.orders(d); len(sent) != 1 || sent[0].ID != r.ID || sent[0].Calls != 3 || sent[0].Step != "act" {
		t.Fatalf("sent %+v", sent)
	}
	data := bytes.Repeat([]byte("0123456789"), 10_000)
	part := func(id uint64, index uint32) protocol.RecordPart {
		from := int(index) * protocol.ChunkSize
		return protocol.RecordPart{
			Epoch: 1, ID: id, Index: index, Size: uint32(len(data)), Data: data[from:min(from+protocol.ChunkSize, len(data))],
		}
	}
	for i, c := range []struct {
		part protocol.RecordPart
		have uint32 // 0: no answer
	}{
		{part(r.ID, 1), 0}, {part(r.ID-1, 0), 0}, {part(r.ID, 0), 1}, {part(r.ID, 0), 1}, {part(r.ID, 1), 2}, {part(r.ID, 1), 2},
	} {
		if !w.says(d.at, protocol.UpRecord, protocol.MustMarshal(c.part)) {
			t.Errorf("%d: not acknowledged", i)
		}
		sent := w.orders(d)
		if got := len(sent); c.have == 0 && got > 0 && sent[0].Have > 0 || c.have > 0 && (got != 1 || sent[0].Have != c.have) {
			t.Errorf("%d: answered %+v, want %d", i, sent, c.have)
		}
	}
	kept := look(w, recordingNow)
	if got := kept.told(); !got.Done || !bytes.Equal(got.Data, data) {
		t.Errorf("done %v, %d bytes of %d", got.Done, got.Have, got.Size)
	}
	r, err = w.hub.OrderRecording(w.now.Add(1), "pump", wish)
	check(t, err)
	no := protocol.RecordPart{Epoch: 1, ID: r.ID, Error: protocol.Errorf(protocol.CodeRefused, "not here")}
	w.says(d.at, protocol.UpRecord, protocol.MustMarshal(no))
	kept = look(w, recordingNow)
	if got := kept.told(); got.Error == nil || got.Done || got.ID != r.ID {
		t.Errorf("%+v", got)
	}
	_, err = w.hub.Remove(w.now, "pump")
	check(t, err)
}
