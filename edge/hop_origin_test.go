package edge_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

// A member runs a step for nobody of its site whom the hub did not name, whoever relays, and
// tells the hub that somebody tried. Who may is not the step's business: it is not loaded anew.
func TestHopStranger(t *testing.T) {
	m := newMesh(t, 3, protocol.PickRendezvous, 1)
	member, stranger, other := m.all[1], addressOf(2), protocol.Address{Site: "office", Agent: "a9"}
	var told []protocol.Address
	runs := byte(0)
	m.relay = func(h protocol.Hop) []protocol.Hop {
		told = append(told, h.To)
		return nil
	}
	ask := func(from protocol.Address, word protocol.HopWord, nonce uint64) {
		h := protocol.Hop{To: member.cfg.Address, From: from, Word: word, Run: protocol.RunID{1}, Workflow: "w", Step: "do"}
		runs++
		h.Run[15] = runs
		if word == protocol.HopGo {
			h.Nonce, h.Event = nonce, &protocol.Event{Run: h.Run, Workflow: "w"}
		}
		m.held = append(m.held, h)
		m.pass(time.Second)
	}
	hosts := func(revision uint64, of protocol.Host) {
		d := member.hub.desired(revision)
		of.Workflow, of.Type = "w", protocol.Action
		of.Step = protocol.Step{Name: "do", Release: member.hub.release["work"].Digest, Timeout: 10_000}
		d.Hosts = []protocol.Host{of}
		member.hub.deploy(d)
		m.pass(time.Second)
	}
	for range 3 {
		ask(stranger, protocol.HopOffer, 0)
	}
	ask(stranger, protocol.HopGo, 1)
	if len(told) > 0 || len(m.asked) > 0 {
		t.Errorf("a stranger was answered: %v, %v", told, m.asked)
	}
	denied := 0
	for _, b := range member.hub.batches {
		for _, rec := range b.Records {
			if b.Lane == protocol.LaneAudit {
				audit := decode[protocol.Audit](t, protocol.Message{Payload: rec.Body})
				if audit.Capability != protocol.AuditHop || audit.Denied != 1 || audit.Subject != stranger.String() {
					t.Errorf("audit %+v", audit)
				}
				denied++
			}
		}
	}
	if denied != 1 {
		t.Errorf("%d audit records, want one", denied)
	}
	member.plugins.started, member.plugins.stopped = nil, nil
	for i, c := range []struct {
		of   protocol.Host
		from protocol.Address
		want bool
	}{
		{protocol.Host{Origins: []protocol.AgentName{"a1", "a3"}}, stranger, true},
		{protocol.Host{Origins: []protocol.AgentName{"a1"}}, stranger, false},
		{protocol.Host{Origins: []protocol.AgentName{"a1"}}, other, true}, // by the hub
		{protocol.Host{}, addressOf(0), false},
		{protocol.Host{Open: true}, stranger, true},
	} {
		told = nil
		hosts(uint64(i+2), c.of)
		ask(c.from, protocol.HopOffer, 0)
		if got := slices.Contains(told, c.from); got != c.want {
			t.Errorf("%d: answered %v, want %v", i, got, c.want)
		}
	}
	if len(member.plugins.started)+len(member.plugins.stopped) > 0 {
		t.Errorf("loaded anew: %v, stopped %v", member.plugins.started, member.plugins.stopped)
	}
}
