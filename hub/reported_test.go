package hub

import (
	"testing"
	"time"

	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// D-5: what an agent says again and again is in the books each time, although they are not
// asked for it; and it is compared anew as soon as they changed.
func TestReportsThatSayTheSame(t *testing.T) {
	w := newWorld(t)
	d := w.enrol("pump", nil)
	r := protocol.Reported{Epoch: d.Epoch, Boot: 2, Device: protocol.Device{Platform: "linux-arm64"}}
	now := day
	say := func(sequence uint64) []protocol.Message {
		t.Helper()
		r.Sequence = sequence
		now = now.Add(time.Minute)
		w.sent.take()
		w.hub.Handle(now, protocol.Message{Topic: protocol.Topic(d.at, protocol.UpReported), Payload: protocol.MustMarshal(r)})
		check(t, w.hub.Flush())
		return w.sent.take()
	}
	want := func(pending uint64, seen time.Time) {
		t.Helper()
		var a fleet.Agent
		check(t, w.hub.books.View(t.Context(), func(tx *store.Tx) (err error) {
			a, err = fleet.Get(tx, "pump")
			return err
		}))
		if a.Reported == nil || a.Reported.Pending != pending || !a.LastSeen.Equal(seen) {
			t.Errorf("the books have %+v, seen %s; want %d pending, seen %s", a.Reported, a.LastSeen, pending, seen)
		}
	}
	document := []byte("sealed")
	desire := func(revision uint64) {
		t.Helper()
		document = append(document, '!')
		check(t, w.hub.Operate(func(tx *store.Tx) error {
			return fleet.SetDesired(tx, "pump", fleet.Desired{Revision: revision, Issued: day}, document)
		}))
	}
	hinted := func(sent []protocol.Message) bool {
		return len(sent) == 1 && sent[0].Topic == protocol.Topic(d.at, protocol.DownHint)
	}

	say(0) // of what it is, a plan follows
	desire(1000)
	if !hinted(say(1)) || !hinted(say(2)) {
		t.Error("an agent without its document is not told each time")
	}
	r.Revision, r.Digest = 1000, protocol.DigestOf(document)
	for n := range uint64(3) {
		r.Pending = n
		if sent := say(3 + n); len(sent) != 0 {
			t.Errorf("answered %+v", sent)
		}
		want(n, now)
	}
	if s := w.hub.standing[d.at]; s == nil || s.mark.Sequence != 5 {
		t.Error("the report is not remembered: this test shows nothing")
	}
	seen := now
	r.Pending = 9
	say(4) // late: a newer one is here
	want(2, seen)

	desire(2000)
	if !hinted(say(10)) {
		t.Error("told of no new document")
	}
	want(9, now)
	r.Revision, r.Digest = 2000, protocol.DigestOf(document)
	say(11)
	r.Device.Labels = map[string]string{"floor": "2"}
	say(12)
	if got := w.agent("pump").Device.Labels["floor"]; got != "2" {
		t.Errorf("label %q", got)
	}
	_, err := w.hub.Remove(now, "pump")
	check(t, err)
	say(13)
	if len(w.agents()) != 0 {
		t.Error("a removed agent is back")
	}
}
