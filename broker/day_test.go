package broker_test

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stavily/stavily/broker"
	"github.com/stavily/stavily/protocol"
)

// What is retained for an agent that is away is there when it comes on the next day: mochi's own
// default forgets it after 24 hours (complaint 16).
func TestRetainedOutlastsADay(t *testing.T) {
	if testing.Short() {
		t.Skip("a day of virtual time: the broker looks at its clock each second")
	}
	synctest.Test(t, func(t *testing.T) {
		b, err := broker.New(broker.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}()
		w := &world{TB: t, broker: b}
		hint := protocol.Topic(pump, protocol.DownHint)
		if err := b.Send(protocol.Message{Topic: hint, Payload: []byte("revision 5"), Retained: true}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Hour) // of virtual time
		r := w.in(pump)
		r.send(subscribePacket(1, protocol.DownFilter(pump)))
		kind, body, err := r.read()
		if kind == suback { // either may come first
			kind, body, err = r.read()
		}
		if err != nil || kind != publish || !bytes.Contains(body, []byte(hint)) || !bytes.HasSuffix(body, []byte("revision 5")) {
			t.Errorf("on the next day came packet type %d, %q, %v; want the hint", kind, body, err)
		}
		_ = r.Close()
	})
}
