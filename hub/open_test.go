package hub

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/protocol"
)

const tickText = `workflow: watch
trigger: {plugin: tick@1, at: {agent: pump}}
actions: [{plugin: work@1}]
outputs: [{plugin: note@1}]
`

// inMemory is a hub without a server, with one agent and three plugins.
func inMemory(t *testing.T) (*Memory, *Hub, *sentLink, protocol.Address) {
	t.Helper()
	m, err := NewMemory(t.Context(), bytes.NewReader(bytes.Repeat([]byte("seed"), 100)))
	check(t, err)
	t.Cleanup(func() { _ = m.Close() })
	link := &sentLink{}
	h, err := m.Open(DefaultConfig(""), day, link, slog.New(slog.DiscardHandler))
	check(t, err)
	at := protocol.Address{Site: "lab", Agent: "pump"}
	epochs, err := h.Enrol(day, []NewAgent{{Address: at, Device: protocol.Device{Platform: "linux-arm64"}, Time: day}})
	check(t, err)
	if len(epochs) != 1 || epochs[0] != 1 {
		t.Fatalf("epochs %d, want 1", epochs)
	}
	for _, p := range []struct {
		name protocol.PluginName
		kind protocol.PluginType
	}{{"tick", protocol.Trigger}, {"work", protocol.Action}, {"note", protocol.Output}} {
		_, err := h.Admit(day, Built{Module: []byte(p.name), Manifest: protocol.Manifest{
			Plugin:  protocol.PluginInfo{Name: p.name, Version: "1.0.0", Type: p.kind, Description: "x"},
			Runtime: protocol.Runtime{Language: "go"},
		}})
		check(t, err)
	}
	return m, h, link, at
}

func only(t *testing.T, h *Hub) fleet.Agent {
	t.Helper()
	all, err := h.Agents()
	check(t, err)
	if len(all) != 1 {
		t.Fatalf("%d agents, want 1", len(all))
	}
	return all[0]
}

func TestHubInMemoryOutlivesItsCrash(t *testing.T) {
	m, h, _, at := inMemory(t)
	_, err := h.Deploy(day, "watch.yaml", []byte(tickText))
	check(t, err)
	before := only(t, h)
	h.Handle(day, protocol.Message{
		Topic: protocol.Topic(at, protocol.UpPresence), Payload: protocol.MustMarshal(protocol.Presence{Online: true, Boot: 1, Session: 1}),
	})
	h.Halt() // before it flushed
	h, err = m.Open(DefaultConfig(""), day, &sentLink{}, slog.New(slog.DiscardHandler))
	check(t, err)
	after := only(t, h)
	if after.Presence.Boot != 0 || after.Desired.Revision != 1 || after.Desired.Digest != before.Desired.Digest {
		t.Errorf("after the crash: %+v, %+v", after.Presence, after.Desired)
	}
}

// O-07: an agent that holds what the books do not know, as after a restore, is left as it is,
// without a storm of hints and refusals, until a person says that this hub is right.
func TestHubAsksAfterARestore(t *testing.T) {
	m, h, _, at := inMemory(t)
	path := filepath.Join(t.TempDir(), "backup.db")
	check(t, m.Backup(t.Context(), path))
	_, err := h.Deploy(day, "watch.yaml", []byte(tickText))
	check(t, err)
	lost := only(t, h).Desired
	h.Halt()
	check(t, m.Restore(t.Context(), path))
	link := &sentLink{}
	h, err = m.Open(DefaultConfig(""), day, link, slog.New(slog.DiscardHandler))
	check(t, err)
	report := func(revision uint64, digest protocol.Digest, sequence uint64) fleet.Agent {
		h.Handle(day, protocol.Message{Topic: protocol.Topic(at, protocol.UpReported), Payload: protocol.MustMarshal(protocol.Reported{
			Epoch: 1, Boot: 1, Sequence: sequence, Revision: revision, Digest: digest, Device: protocol.Device{Platform: "linux-arm64"},
		})})
		check(t, h.Flush())
		return only(t, h)
	}
	before := report(0, protocol.Digest{}, 1).Desired
	link.take()
	_, err = h.Adopt(day, []protocol.AgentName{at.Agent})
	refused(t, err, protocol.CodeRefused, "holds nothing that the books do not know")

	if now := report(lost.Revision, lost.Digest, 2); !now.Ahead() || now.Desired != before || len(link.take()) != 0 {
		t.Fatalf("the agent was told something: %+v", now.Desired)
	}
	out, err := h.Deploy(day, "watch.yaml", []byte(strings.Replace(tickText, "workflow: watch", "workflow: next", 1)))
	check(t, err)
	if len(out.Agents) != 1 || out.Agents[0].Changed || out.Agents[0].Excluded == nil || len(link.take()) != 0 {
		t.Fatalf("a deployment changed it: %+v", out.Agents)
	}

	_, err = h.Adopt(day, []protocol.AgentName{"nobody"})
	refused(t, err, protocol.CodeNotFound, `agent "nobody"`)
	changes, err := h.Adopt(day, nil)
	check(t, err)
	now := only(t, h)
	if len(changes) != 1 || now.Desired.Revision != lost.Revision+1 || now.Ahead() || len(link.take()) != 1 {
		t.Fatalf("adopted: %+v, %+v", changes, now.Desired)
	}
	if again := report(lost.Revision, lost.Digest, 3); again.Desired.Revision != now.Desired.Revision || len(link.take()) != 1 {
		t.Errorf("desired revision %d after the same report, want %d and a hint", again.Desired.Revision, now.Desired.Revision)
	}
	report(now.Desired.Revision, now.Desired.Digest, 4)
	if last := report(1<<63, lost.Digest, 5); last.Ahead() {
		t.Errorf("an agent holds revision %d", last.Reported.Revision)
	}
}
