package edge

import (
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

var inboxOf = protocol.Address{Site: "s", Agent: "a"}

// An Inbox is bounded, loses no hint, and rings once for many.
func TestInboxBounds(t *testing.T) {
	i := NewInbox()
	chunk := protocol.Message{Topic: protocol.Topic(inboxOf, protocol.DownChunk)}
	for range 3 * messagesMax {
		i.Message(chunk)
	}
	for n := range 3 {
		i.Message(protocol.Message{Topic: protocol.Topic(inboxOf, protocol.DownHint), Payload: []byte{byte(n)}})
	}
	if len(i.wake) != 1 {
		t.Fatal("the inbox did not ring")
	}
	m := i.take()
	if len(m.messages) != messagesMax+1 {
		t.Fatalf("%d messages, want messagesMax and the hint", len(m.messages))
	}
	if last := m.messages[messagesMax]; last.Payload[0] != 2 {
		t.Fatalf("hint %d was kept, want the newest", last.Payload[0])
	}
	for range 3 * linesMax {
		i.Line(protocol.LogLine{Level: 8})
		i.Line(protocol.LogLine{Level: 0}) // stays in the device's log
	}
	if told := i.listen(time.Unix(1, 0), false); len(told.Lines) != linesMax || told.Lost != 2*linesMax {
		t.Fatalf("%d lines, %d lost", len(told.Lines), told.Lost)
	}
}

// Uses of grants are counted together for a while; a denial is told at once (S-09).
func TestInboxAudit(t *testing.T) {
	i := NewInbox()
	use := func(allowed, denied uint64) {
		i.Audit([]protocol.Audit{{Plugin: "p", Workflow: "w", Capability: protocol.CapKV, Allowed: allowed, Denied: denied}})
	}
	now := time.Unix(1e9, 0)
	i.audited = now
	use(1, 0)
	use(2, 0)
	if told := i.listen(now.Add(time.Second), false); len(told.Audits) != 0 {
		t.Fatalf("told %+v before it was due", told.Audits)
	}
	use(4, 0)
	if told := i.listen(now.Add(auditEvery), false); len(told.Audits) != 1 || told.Audits[0].Allowed != 7 {
		t.Fatalf("told %+v, want 7 uses in one", told.Audits)
	}
	use(1, 1)
	if told := i.listen(now.Add(auditEvery+time.Second), false); len(told.Audits) != 1 || told.Audits[0].Denied != 1 {
		t.Fatalf("a denial was not told at once: %+v", told.Audits)
	}
	use(1, 0)
	if told := i.listen(now.Add(auditEvery+2*time.Second), true); len(told.Audits) != 1 {
		t.Fatalf("at the end %+v was told", told.Audits)
	}
}
