package hub

import (
	"strings"
	"testing"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

const poolText = `workflow: watch
trigger: { plugin: tick@1, at: { agent: gw-1 } }
actions: [{ plugin: work@1, on: { pool: office } }]
outputs: [{ plugin: note }]
`

// hops returns what agents were told by others since.
func (w *world) hops() (out []protocol.Hop) {
	w.Helper()
	for _, m := range w.sent.take() {
		_, kind, err := protocol.ParseTopic(m.Topic)
		check(w, err)
		if kind == protocol.DownHop {
			var h protocol.Hop
			check(w, protocol.Unmarshal(m.Payload, &h))
			out = append(out, h)
		}
	}
	return out
}

// T-02: who is in a pool runs its steps, and the one on which the workflow fires knows of
// everyone who comes and goes.
func TestPoolFollowsItsMembers(t *testing.T) {
	w := newLongWorld(t)
	w.three()
	w.enrol("gw-1", nil)
	w.enrol("pc-1", map[string]string{"pool": "office"})
	w.deploy(poolText)
	members := func() string {
		var names []string
		for _, m := range w.desired("gw-1").Assignments[0].Actions[0].Place.Members {
			names = append(names, string(m.Agent))
		}
		return strings.Join(names, " ")
	}
	if got := members(); got != "pc-1" {
		t.Fatalf("members %q", got)
	}
	w.enrol("pc-2", map[string]string{"pool": "office"})
	if got, doc := members(), w.desired("pc-2"); got != "pc-1 pc-2" || len(doc.Hosts) != 1 || len(doc.Releases) != 1 {
		t.Fatalf("members %q, and the new one has %+v", got, doc)
	}
	_, err := w.hub.Label(w.now, "pc-2", map[string]string{"pool": "attic"})
	check(t, err)
	if got := members(); got != "pc-1" || len(w.desired("pc-2").Hosts) != 0 {
		t.Fatalf("members %q after one left", got)
	}
	_, err = w.hub.Label(w.now, "pc-2", map[string]string{"pool": "office"})
	check(t, err)
	_, err = w.hub.Remove(w.now, "pc-1")
	check(t, err)
	if got := members(); got != "pc-2" {
		t.Fatalf("members %q after one was removed", got)
	}
	x := look(w, func(tx *store.Tx) (*api.Explained, error) { return w.hub.Explain(tx, "watch", "pc-2") })
	if !x.Placed || !strings.Contains(x.Rules[0].Text, "here run their steps work") {
		t.Errorf("explained: %+v", x)
	}
}

// The hub passes words on between agents that a workflow connects, says who spoke, and
// passes on nothing else.
func TestHopIsPassedOn(t *testing.T) {
	w := newLongWorld(t)
	w.three()
	gw, pc, other := w.enrol("gw-1", nil), w.enrol("pc-1", map[string]string{"pool": "office"}), w.enrol("other", nil)
	w.deploy(poolText)
	w.sent.take()
	word := func(from, to *device, change func(*protocol.Hop)) protocol.Hop {
		h := protocol.Hop{
			To: to.at, From: other.at, Word: protocol.HopOffer, Run: protocol.RunID{1}, Workflow: "watch", Step: "work",
		}
		if change != nil {
			change(&h)
		}
		if !w.says(from.at, protocol.UpHop, protocol.MustMarshal(h)) {
			t.Error("not taken: it would come again for ever")
		}
		return h
	}
	word(gw, pc, nil)
	if got := w.hops(); len(got) != 1 || got[0].From != gw.at || got[0].To != pc.at {
		t.Fatalf("offer: %+v", got)
	}
	word(pc, gw, func(h *protocol.Hop) { h.Word = protocol.HopTake })
	if got := w.hops(); len(got) != 1 || got[0].From != pc.at {
		t.Fatalf("take: %+v", got)
	}
	for name, send := range map[string]func(){
		"a stranger's":          func() { word(other, pc, nil) },
		"to a stranger":         func() { word(gw, other, nil) },
		"the wrong way":         func() { word(pc, gw, nil) },
		"another step":          func() { word(gw, pc, func(h *protocol.Hop) { h.Step = "note" }) },
		"another workflow":      func() { word(gw, pc, func(h *protocol.Hop) { h.Workflow = "none" }) },
		"to nobody":             func() { word(gw, pc, func(h *protocol.Hop) { h.To.Agent = "nobody" }) },
		"to another site":       func() { word(gw, pc, func(h *protocol.Hop) { h.To.Site = "elsewhere" }) },
		"a go without a run":    func() { word(gw, pc, func(h *protocol.Hop) { h.Word = protocol.HopGo }) },
		"a word nobody knows":   func() { word(gw, pc, func(h *protocol.Hop) { h.Word = 77 }) },
		"a done with no result": func() { word(pc, gw, func(h *protocol.Hop) { h.Word = protocol.HopDone }) },
	} {
		send()
		if got := w.hops(); len(got) != 0 {
			t.Errorf("%s was passed on: %+v", name, got)
		}
	}
}
