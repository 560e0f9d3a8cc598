package edge_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// bus is a world in which the trigger of w listens to "line/+".
func bus(t *testing.T, filters ...string) (w *world, woken *[]string) {
	w = newWorld(t)
	w.cfg.Policy.Allow = append(w.cfg.Policy.Allow, protocol.Grant{Capability: protocol.CapListen})
	w.hub.standard()
	of := w.hub.workflow("w")
	of.Trigger.Grants = []protocol.Grant{{Capability: protocol.CapListen, Scopes: []string{"line/+", "all/#", "site/door"}}}
	woken = &[]string{}
	w.plugins.answers["w/when"] = func(c edge.Call) wasmhost.Answer {
		said := string(c.Request.Why)
		out := wasmhost.Answer{Next: wasmhost.Next{Topics: filters, AfterMS: time.Hour.Milliseconds()}}
		if m := c.Request.Message; m != nil {
			said = fmt.Sprintf("%s %s %d", m.Topic, m.Data, c.Depth)
			out.Events = []protocol.Raw{protocol.MustMarshal("fired")}
		}
		*woken = append(*woken, said)
		return out
	}
	w.boot()
	w.online()
	w.hub.deploy(w.hub.desired(1, of))
	w.pass(time.Second)
	return w, woken
}

func message(topic, data string, depth uint8) edge.Publication {
	return edge.Publication{
		From: edge.Instance{Workflow: "other", Step: "say"}, Depth: depth,
		Message: wasmhost.Message{Topic: topic, Data: protocol.Raw(data)},
	}
}

// A trigger is woken by messages on the topics that it waits for and may hear, one after
// another, and by no other; what follows from it lies one deeper.
func TestMessagesWakeTriggers(t *testing.T) {
	w, woken := bus(t, "line/+", "all/a")
	deep := uint8(0)
	w.plugins.answers["w/do"] = func(c edge.Call) wasmhost.Answer {
		deep = c.Depth
		return wasmhost.Answer{}
	}
	w.agent.Published(w.now, []edge.Publication{
		message("line/1", "\x01", 3), message("other/1", "\x02", 1), message("all/a", "\x03", 1), message("all/b", "\x04", 1),
	})
	w.pass(time.Second)
	if want := []string{"start", "line/1 \x01 3", "all/a \x03 1"}; !slices.Equal(*woken, want) {
		t.Errorf("woken %q, want %q", *woken, want)
	}
	if deep != 1 || len(w.hub.order) != 2 {
		t.Errorf("an action at depth %d, %d events", deep, len(w.hub.order))
	}
	w.pass(time.Hour)
	if n := len(*woken); n != 4 || (*woken)[3] != "timer" {
		t.Errorf("its timer is gone: %q", *woken)
	}
}

// Deny by default: a filter beyond the grant hears nothing, and is told to the hub once.
func TestMessagesNeedAGrant(t *testing.T) {
	w, woken := bus(t, "#", "line/#", "secret/+")
	w.agent.Published(w.now, []edge.Publication{message("line/1", "\x01", 1), message("secret/x", "\x01", 1)})
	w.pass(2 * time.Hour)
	if slices.ContainsFunc(*woken, func(s string) bool { return s != "start" && s != "timer" }) {
		t.Errorf("woken %q", *woken)
	}
	if n := w.hub.newest[protocol.LaneAudit].Sequence; n != 3 {
		t.Errorf("%d audits, want one for each filter", n)
	}
}

// A queue of messages is bounded, and one that the trigger cannot take is given up.
func TestMessagesAreBounded(t *testing.T) {
	w, woken := bus(t, "line/+")
	var all []edge.Publication
	for i := range 100 {
		all = append(all, message("line/1", string([]byte{byte(i % 24)}), 1))
	}
	w.agent.Published(w.now, all)
	w.pass(time.Second)
	if n := len(*woken); n != 1+32 || (*woken)[1] != "line/1 \x14 1" {
		t.Errorf("woken %d times, first by %q", n, (*woken)[1])
	}
	tries := 0
	w.plugins.answers["w/when"] = func(c edge.Call) wasmhost.Answer {
		if c.Request.Message == nil {
			return wasmhost.Answer{Next: wasmhost.Next{Topics: []string{"line/+"}}}
		}
		tries++
		return wasmhost.Answer{Error: protocol.Errorf(protocol.CodePlugin, "no")}
	}
	w.agent.Published(w.now, all[:1])
	w.pass(time.Hour)
	if tries != 3 {
		t.Errorf("a message that fails was tried %d times", tries)
	}
}

// What is for the whole site goes to the gateway, if there is one: a hub has no use for it.
func TestSiteGetsMessages(t *testing.T) {
	w, _ := bus(t)
	all := []edge.Publication{message("line/1", "\x01", 1), message("site/door", "\x01", 2)}
	w.kinds()
	w.agent.Published(w.now, all)
	if n := w.kinds()[protocol.UpLocal]; n != 0 {
		t.Errorf("the hub got %d local messages", n)
	}
	for _, u := range []protocol.Uplink{{Up: true, Same: true}, {Up: true}, {}} {
		w.uplinked(u)
		if n := w.kinds()[protocol.UpPresence]; u.Same && n > 0 {
			t.Error("an agent that came by a gateway says again what it is")
		}
		w.agent.Published(w.now, all)
		var got []protocol.Local
		for _, m := range w.link.sent {
			if m.Topic == protocol.Topic(w.cfg.Address, protocol.UpLocal) {
				var l protocol.Local
				if err := protocol.Unmarshal(m.Payload, &l); err != nil {
					t.Fatal(err)
				}
				got = append(got, l)
			}
		}
		if len(got) != 1 || got[0].Topic != "site/door" || string(got[0].Data) != "\x01" || got[0].Depth != 2 {
			t.Errorf("told %+v the gateway got %+v", u, got)
		}
	}
}

// What a neighbour's plugin says wakes triggers as if it were said here, but on no topic that is
// the device's own, nor deeper than anything may lie.
func TestSiteBringsMessages(t *testing.T) {
	w, woken := bus(t, "line/+", "all/#")
	comes := func(topic string, depth uint8) {
		w.agent.Handle(w.now, protocol.Message{
			Topic:   protocol.Topic(w.cfg.Address, protocol.DownLocal),
			Payload: protocol.MustMarshal(protocol.Local{Topic: topic, Data: protocol.Raw("\x07"), Depth: depth}),
		})
		w.pass(time.Second)
	}
	comes("line/1", 1) // forged: only the device's own plugins speak there
	comes("all/site/door", 1)
	if len(*woken) != 1 {
		t.Errorf("woken %q", *woken)
	}
	w, woken = bus(t, "site/+") // beyond its grant
	comes("site/door", 3)
	if len(*woken) != 1 {
		t.Errorf("woken without a grant: %q", *woken)
	}
	w, woken = bus(t, "site/door")
	comes("site/door", protocol.PublishDepthMax+1)
	comes("site/door", 3)
	if want := []string{"start", "site/door \x07 3"}; !slices.Equal(*woken, want) {
		t.Errorf("woken %q, want %q", *woken, want)
	}
}

// The inbox takes only so many messages that nobody has looked at yet.
func TestInboxBoundsMessages(t *testing.T) {
	i := edge.NewInbox()
	n := 0
	for ; i.Publish(message("a", "", 1)) == nil && n < 10_000; n++ {
	}
	if n != 256 {
		t.Errorf("took %d messages", n)
	}
	if err := i.Publish(message("a", "", 1)); protocol.CodeOf(err) != protocol.CodeLimit {
		t.Error(err)
	}
}
