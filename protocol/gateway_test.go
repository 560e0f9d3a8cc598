package protocol

import (
	"bytes"
	"testing"
)

// What a gateway carries is of its own site by its form, and of a kind that goes that way.
func TestCarriedCheck(t *testing.T) {
	for _, c := range []struct {
		name string
		in   Carried
		up   bool
		want Code
	}{
		{"up", Carried{Agent: "pump", Kind: UpRecords}, true, CodeOK},
		{"down", Carried{Agent: "pump", Kind: DownAck}, false, CodeOK},
		{"a name that is a topic", Carried{Agent: "oslo/pump", Kind: UpRecords}, true, CodeBadName},
		{"no name", Carried{Kind: UpRecords}, true, CodeBadName},
		{"the wrong way", Carried{Agent: "pump", Kind: DownAck}, true, CodeBadMessage},
		{"in another", Carried{Agent: "pump", Kind: UpCarried}, true, CodeBadMessage},
		{"a probe", Carried{Agent: "pump", Kind: UpProbe}, true, CodeBadMessage},
		{"a gateway's own word", Carried{Agent: "pump", Kind: DownUplink}, false, CodeBadMessage},
		{"no kind", Carried{Agent: "pump", Kind: "u/none"}, true, CodeBadMessage},
		{"the largest", Carried{Agent: "pump", Kind: UpRecords, Payload: make([]byte, MessageMax-CarryRoom)}, true, CodeOK},
		{"one more", Carried{Agent: "pump", Kind: UpRecords, Payload: make([]byte, MessageMax-CarryRoom+1)}, true, CodeLimit},
	} {
		if got := CodeOf(c.in.Check(c.up)); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// The largest payload that is carried fits a message with the longest names.
func TestCarriedFitsAMessage(t *testing.T) {
	name := AgentName(bytes.Repeat([]byte("a"), NameMax))
	b := MustMarshal(Carried{Agent: name, Kind: UpPresence, Payload: make([]byte, MessageMax-CarryRoom)})
	if len(b) > MessageMax {
		t.Errorf("%d bytes, MessageMax is %d", len(b), MessageMax)
	}
}
