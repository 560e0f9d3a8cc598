package edge_test

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/condition"
	"github.com/stavily/stavily/wasmhost"
)

// running returns a world whose agent runs workflow "w" at revision 5.
func running(t testing.TB) *world {
	t.Helper()
	w := newWorld(t)
	w.hub.standard()
	w.plugins.answers["w/when"] = fires(1)
	w.hub.deploy(w.hub.desired(5, w.hub.workflow("w")))
	w.boot()
	w.online()
	w.pass(10 * time.Second)
	if r := w.hub.reported(); r.Revision != 5 || r.Assignments[0].Phase != protocol.PhaseRunning {
		t.Fatalf("revision 5 does not run: %+v", r)
	}
	w.plugins.stopped = nil // the trials of its artifacts
	return w
}

// Every bad revision is refused with its code, and the one that runs is not touched.
func TestRefused(t *testing.T) {
	other := protocol.SealKey{Role: protocol.RoleDesired, Private: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32))}
	good := func(w *world) protocol.Desired { return w.hub.desired(6, w.hub.workflow("v")) }
	for _, c := range []struct {
		name string
		code protocol.Code
		text string
		send func(w *world)
	}{
		{"unknown key", protocol.CodeBadSeal, "not in keyring", func(w *world) {
			d := good(w)
			w.hub.deploySealed(d, protocol.MustMarshal(d), other)
		}},
		{"changed on the way", protocol.CodeBadSeal, "open", func(w *world) {
			d := w.hub.deploy(good(w))
			b := bytes.Clone(w.hub.files[d])
			b[len(b)-1] ^= 1
			w.hub.hint.Digest = w.hub.put(b)
			w.hub.out = nil
			w.hub.sayHint()
		}},
		{"sealed as something else", protocol.CodeBadSeal, "sealed as", func(w *world) {
			d := good(w)
			d.Address.Agent = here.Agent
			sealed, err := protocol.Seal(protocol.ContextRelease, w.hub.keys[protocol.RoleRelease], protocol.MustMarshal(d))
			if err != nil {
				w.t.Fatal(err)
			}
			w.hub.hint = &protocol.Hint{Epoch: 1, Revision: 6, Digest: w.hub.put(sealed), Size: int64(len(sealed))}
			w.hub.sayHint()
		}},
		{"no condition", protocol.CodeBadMessage, "operation 99 is not known", func(w *world) {
			d := good(w)
			d.Assignments[0].If = protocol.MustMarshal(condition.Tree{Nodes: []condition.Node{{Op: 99}}})
			w.hub.deploy(d)
		}},
		{"condition of a trigger", protocol.CodeBadMessage, "before there is an event", func(w *world) {
			d := good(w)
			d.Assignments[0].Trigger.If = above(1)
			w.hub.deploy(d)
		}},
		{"same revision", protocol.CodeStale, "not above 5", func(w *world) {
			d := good(w)
			d.Revision = 5
			w.hub.deploy(d)
		}},
		{"older than its hint", protocol.CodeStale, "not above 5", func(w *world) {
			d := good(w)
			d.Revision = 4
			w.hub.deploy(d)
			w.hub.out = nil
			w.hub.hint.Revision = 9
			w.hub.sayHint()
		}},
		{"of another epoch", protocol.CodeStale, "epoch 2", func(w *world) {
			d := good(w)
			d.Epoch = 2
			w.hub.deploy(d)
		}},
		{"for another agent", protocol.CodeNotMine, "for plant/a2", func(w *world) {
			d := good(w)
			d.Address.Agent = "a2"
			w.hub.deploy(d)
		}},
		{"unknown field", protocol.CodeBadMessage, "keys unknown here", func(w *world) {
			d := good(w)
			w.hub.deploySealed(d, append([]byte{0xa8}, append(protocol.MustMarshal(d)[1:], 0x18, 0x63, 0x01)...),
				w.hub.keys[protocol.RoleDesired])
		}},
		{"release not listed", protocol.CodeBadMessage, "not listed", func(w *world) {
			d := good(w)
			d.Releases = d.Releases[1:]
			w.hub.deploy(d)
		}},
		{"action in a trigger's place", protocol.CodeIncompatible, "of type action, want trigger", func(w *world) {
			d := good(w)
			d.Assignments[0].Trigger.Release = w.hub.release["work"].Digest
			w.hub.deploy(d)
		}},
		{"release under another name", protocol.CodeIncompatible, "desired says tick@9.9.9", func(w *world) {
			d := good(w)
			d.Releases[0].Version = "9.9.9"
			w.hub.deploy(d)
		}},
		{"no artifact for the platform", protocol.CodeIncompatible, "no artifact", func(w *world) {
			art := protocol.NewArtifact("linux-mips", []byte("native"))
			r := protocol.Release{Artifacts: []protocol.Artifact{art}}
			r.Manifest.Plugin = protocol.PluginInfo{Name: "tick", Version: "1.0.1", Type: protocol.Trigger}
			w.hub.release["tick"] = w.hub.sealRelease(r)
			w.hub.deploy(good(w))
		}},
		{
			"a native artifact, and the agent runs none", protocol.CodeIncompatible, "runs native artifacts: false",
			func(w *world) {
				art := protocol.NewArtifact(w.cfg.Device.Platform, []byte("native"))
				r := protocol.Release{Artifacts: []protocol.Artifact{art}}
				r.Manifest.Plugin = protocol.PluginInfo{Name: "tick", Version: "1.0.1", Type: protocol.Trigger}
				w.hub.release["tick"] = w.hub.sealRelease(r)
				d := good(w)
				d.Assignments[0].Trigger.Platform = art.Platform
				w.hub.deploy(d)
			},
		},
		{"wrong count of chunks", protocol.CodeBadMessage, "chunk digests", func(w *world) {
			art := protocol.NewArtifact(protocol.PlatformWASM, []byte("new"))
			art.Chunks = append(art.Chunks, protocol.Digest{})
			r := protocol.Release{Artifacts: []protocol.Artifact{art}}
			r.Manifest.Plugin = protocol.PluginInfo{Name: "tick", Version: "1.0.1", Type: protocol.Trigger}
			w.hub.release["tick"] = w.hub.sealRelease(r)
			w.hub.deploy(good(w))
		}},
		{"missing artifact", protocol.CodeNotFound, "no such file", func(w *world) {
			w.hub.publish("tick", protocol.Trigger, "1.1.0", []byte("tick 1.1.0"))
			delete(w.hub.files, protocol.DigestOf([]byte("tick 1.1.0")))
			w.hub.deploy(good(w))
		}},
		{"artifact of other bytes", protocol.CodeDigest, "bad chunks", func(w *world) {
			w.hub.publish("tick", protocol.Trigger, "1.1.0", []byte("tick 1.1.0"))
			w.hub.files[protocol.DigestOf([]byte("tick 1.1.0"))] = []byte("tock 1.1.0")
			w.hub.deploy(good(w))
		}},
		{"module asks for more than its manifest", protocol.CodeUnverified, "import", func(w *world) {
			w.hub.publish("tick", protocol.Trigger, "1.1.0", []byte("tick 1.1.0"))
			w.plugins.answers["v//load"] = refuses(protocol.CodeUnverified, "import env.evil")
			w.hub.deploy(good(w))
		}},
		{"two assignments of one workflow", protocol.CodeBadMessage, "assigned twice", func(w *world) {
			w.hub.deploy(w.hub.desired(6, w.hub.workflow("v"), w.hub.workflow("v")))
		}},
		{"bad workflow name", protocol.CodeBadName, "workflow name", func(w *world) {
			w.hub.deploy(w.hub.desired(6, w.hub.workflow("V/../x")))
		}},
		{"same step twice", protocol.CodeBadMessage, "twice", func(w *world) {
			d := good(w)
			d.Assignments[0].Outputs[0].Name = "do"
			w.hub.deploy(d)
		}},
		{"configuration too large", protocol.CodeLimit, "ConfigMax", func(w *world) {
			d := good(w)
			d.Assignments[0].Trigger.Config = protocol.MustMarshal(make([]byte, protocol.ConfigMax))
			w.hub.deploy(d)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := running(t)
			begun := len(w.plugins.started)
			c.send(w)
			w.pass(10 * time.Minute)
			r := w.hub.reported()
			if r.Refused == nil || r.Refused.Error.Code != c.code || !strings.Contains(r.Refused.Error.Text, c.text) {
				t.Fatalf("refused %+v, want %s with %q", r.Refused, c.code, c.text)
			}
			if r.Revision != 5 || len(r.Assignments) != 1 || r.Assignments[0].Phase != protocol.PhaseRunning {
				t.Fatalf("revision 5 was touched: %+v", r)
			}
			for _, s := range w.plugins.started[begun:] {
				if !strings.HasPrefix(s, "v/ load") {
					t.Fatalf("started %q", s)
				}
			}
			for _, s := range w.plugins.stopped {
				if strings.HasPrefix(s, "w/") {
					t.Fatalf("stopped %q", s)
				}
			}
			// A good revision is taken afterwards.
			w.plugins.answers["v//load"] = nil
			w.hub.standard()
			w.hub.deploy(w.hub.desired(20, w.hub.workflow("v")))
			w.pass(time.Minute)
			if r := w.hub.reported(); r.Revision != 20 || r.Refused != nil {
				t.Fatalf("good revision afterwards: %+v", r)
			}
		})
	}
}

// An equal assignment is never restarted, whatever else a revision brings (complaint 4).
func TestEqualUntouched(t *testing.T) {
	w := running(t)
	begun := len(w.plugins.started)
	w.offline()
	w.pass(time.Hour)
	w.online()
	w.pass(time.Minute)
	if got := w.plugins.started[begun:]; len(got) != 0 {
		t.Fatalf("a reconnection started %q", got)
	}
	w.hub.deploy(w.hub.desired(6, w.hub.workflow("w"), w.hub.workflow("v")))
	w.pass(time.Minute)
	for _, s := range w.plugins.started[begun:] {
		if strings.HasPrefix(s, "w/") {
			t.Fatalf("a new workflow beside it started %q", s)
		}
	}
	if len(w.plugins.stopped) != 0 {
		t.Fatalf("stopped %q", w.plugins.stopped)
	}
	w.hub.deploy(w.hub.desired(7, w.hub.workflow("v")))
	w.pass(time.Minute)
	want := []string{"w/when", "w/do", "w/say"}
	if !slices.Equal(w.plugins.stopped, want) {
		t.Fatalf("leaving w out stopped %q, want %q", w.plugins.stopped, want)
	}
}

// With nothing deployed an agent enrols, syncs, reports, and nothing else (P-01).
func TestNothingDeployed(t *testing.T) {
	w := newWorld(t)
	w.boot()
	w.online()
	w.pass(24 * time.Hour)
	if len(w.plugins.started) != 0 || len(w.hub.fetches) != 0 || len(w.hub.batches) != 0 {
		t.Fatalf("started %q, fetched %d, sent %d batches", w.plugins.started, len(w.hub.fetches), len(w.hub.batches))
	}
	if len(w.hub.presence) != 1 || len(w.hub.reports) < 2 || w.hub.reported().Revision != 0 {
		t.Fatalf("presence %d times, %d reports, the last %+v", len(w.hub.presence), len(w.hub.reports), w.hub.reported())
	}
}

// Power on with no network: everything runs from the disk (D-3, P-10, U-06, complaint 3).
func TestBootOffline(t *testing.T) {
	w := running(t)
	w.plugins.answers["w/when"] = fires(3)
	w.offline()
	w.now = w.now.Add(400 * 24 * time.Hour)
	w.boot()
	w.pass(time.Minute)
	s := w.agent.Status()
	if s.Revision != 5 || s.Assignments[0].Phase != protocol.PhaseRunning || s.Assignments[0].Fired != 2 || s.Boot != 2 {
		t.Fatalf("offline: %+v", s)
	}
	w.online()
	w.pass(time.Minute)
	if len(w.hub.events) != 3 || w.agent.Status().Pending != 0 {
		t.Fatalf("hub has %d events, want 3; %d pend", len(w.hub.events), w.agent.Status().Pending)
	}
}

// A disk that lost a part of the current generation runs the previous one, and fetches
// the current one again.
func TestPreviousGeneration(t *testing.T) {
	w := running(t)
	digest := w.hub.deploy(w.hub.desired(6, w.hub.workflow("w"), w.hub.workflow("v")))
	w.pass(time.Minute)
	w.offline()
	if !w.disk.Rot(digest) {
		t.Fatal("the current document is not on the disk")
	}
	w.boot()
	w.pass(time.Minute)
	if s := w.agent.Status(); s.Revision != 5 || s.Assignments[0].Phase != protocol.PhaseRunning {
		t.Fatalf("with a rotten current generation: %+v", s)
	}
	w.online()
	w.pass(time.Minute)
	if s := w.agent.Status(); s.Revision != 6 || len(s.Assignments) != 2 || s.Refused != nil {
		t.Fatalf("after fetching it again: %+v", s)
	}
}

// An artifact that the flash changed is fetched again, alone.
func TestRottenArtifact(t *testing.T) {
	w := running(t)
	art := w.hub.art["tick"].Digest
	w.plugins.answers["w/when/load"] = func(c edge.Call) wasmhost.Answer {
		_, err := w.disk.ReadFile(c.Load.Artifact.Digest)
		return wasmhost.Answer{Error: protocol.AsError(err)}
	}
	w.disk.Rot(art)
	w.offline()
	w.boot()
	w.pass(time.Minute)
	if s := w.agent.Status(); s.Assignments[0].Phase != protocol.PhaseFailed || s.Assignments[0].Error.Code != protocol.CodeNotFound {
		t.Fatalf("with a rotten artifact: %+v", s.Assignments[0])
	}
	w.hub.fetches = nil
	w.online()
	w.pass(time.Hour)
	if s := w.agent.Status(); s.Assignments[0].Phase != protocol.PhaseRunning || s.Revision != 5 {
		t.Fatalf("after fetching it again: %+v", s.Assignments[0])
	}
	for _, f := range w.hub.fetches {
		if f.Digest != art {
			t.Fatalf("fetched %s beside the artifact", f.Digest.Short())
		}
	}
}

// A fetch goes on where the disk ends, through cuts of line and power.
func TestFetchResumes(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	body := make([]byte, 20*protocol.ChunkSize+5)
	for i := range body {
		body[i] = byte(i >> 8)
	}
	w.hub.publish("tick", protocol.Trigger, "2.0.0", body)
	w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
	w.boot()
	kept := uint32(0)
	for cut := range 100 {
		w.online()
		for range 8 {
			w.one()
		}
		if w.agent.Status().Revision == 1 {
			if cut < 3 {
				t.Fatal("the world did not cut the fetch at all")
			}
			return
		}
		w.offline()
		held, whole, _ := w.disk.Chunks(protocol.DigestOf(body), int64(len(body)))
		have := held.Count()
		if whole {
			have = protocol.ChunkCount(int64(len(body)))
		}
		if have < kept {
			t.Fatalf("cut %d: %d chunks, %d were here", cut, have, kept)
		}
		kept = have
		if cut%2 == 1 {
			w.boot()
		}
	}
	t.Fatalf("not fetched after 100 cuts: %d chunks", kept)
}

// Chunks come late, out of order or never: each is kept where it belongs, and asked for are
// only those that are missing.
func TestFetchOutOfOrder(t *testing.T) {
	w := newWorld(t)
	w.cfg.FetchAhead = protocol.FetchAheadMax
	body := make([]byte, 20*protocol.ChunkSize)
	for i := range body {
		body[i] = byte(i >> 16)
	}
	artifact := w.hub.publish("tick", protocol.Trigger, "1.0.0", body)
	w.hub.publish("work", protocol.Action, "1.0.0", []byte("work"))
	w.hub.publish("tell", protocol.Output, "1.0.0", []byte("tell"))
	w.boot()
	lost := map[uint32]int{}
	w.hub.spoil = func(c *protocol.Chunk) {
		if c.Size == int64(len(body)) && c.Index%3 == 1 && lost[c.Index] == 0 {
			lost[c.Index]++
			c.Digest = protocol.Digest{}
		}
	}
	w.hub.shuffle = true
	w.hub.deploy(w.hub.desired(1, w.hub.workflow("w")))
	w.online()
	w.pass(5 * time.Minute)
	if s := w.agent.Status(); s.Revision != 1 {
		t.Fatalf("revision %d, want 1: %+v", s.Revision, s.Refused)
	}
	asked := map[uint32]int{}
	for _, req := range w.hub.fetches {
		for i := req.First; req.Digest == protocol.DigestOf(body) && i < req.First+req.Count; i++ {
			if req.Wants(i) {
				asked[i]++
			}
		}
	}
	if len(lost) != 7 {
		t.Fatalf("%d chunks were lost, want 7: %s tested nothing", len(lost), artifact.Plugin)
	}
	for i := range uint32(20) {
		if asked[i] != 1+lost[i] {
			t.Errorf("chunk %d was asked for %d times, want %d", i, asked[i], 1+lost[i])
		}
	}
}

// A newer revision takes the place of one that never arrives (complaint 7).
func TestNewerSupersedes(t *testing.T) {
	w := running(t)
	w.hub.publish("tick", protocol.Trigger, "1.1.0", []byte("tick 1.1.0"))
	w.hub.deploy(w.hub.desired(6, w.hub.workflow("w")))
	w.hub.spoil = func(c *protocol.Chunk) { c.Digest = protocol.Digest{} } // never arrives
	w.pass(time.Hour)
	if s := w.agent.Status(); s.Revision != 5 {
		t.Fatalf("revision %d without its files", s.Revision)
	}
	w.hub.spoil = nil
	w.hub.standard()
	w.hub.deploy(w.hub.desired(7, w.hub.workflow("w")))
	w.pass(time.Minute)
	if s := w.agent.Status(); s.Revision != 7 {
		t.Fatalf("revision %d, want 7", s.Revision)
	}
}

// The disk keeps two generations and nothing else.
func TestKeepsTwoGenerations(t *testing.T) {
	w := running(t)
	var artifacts []protocol.Digest
	for i := range 4 {
		body := bytes.Repeat([]byte{byte('a' + i)}, 100)
		w.hub.publish("tick", protocol.Trigger, "1.0."+string(rune('1'+i)), body)
		artifacts = append(artifacts, protocol.DigestOf(body))
		w.hub.deploy(w.hub.desired(uint64(6+i), w.hub.workflow("w")))
		w.pass(time.Minute)
	}
	for i, d := range artifacts {
		_, whole, _ := w.disk.Chunks(d, 100)
		if want := i >= 2; whole != want {
			t.Errorf("artifact of revision %d is here: %v, want %v", 6+i, whole, want)
		}
	}
}

// The device's own policy bounds what a hub grants (C-8, S-11).
func TestPolicy(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	of := w.hub.workflow("w")
	of.Actions[0].Grants = []protocol.Grant{
		{Capability: protocol.CapProcess, Scopes: []string{"uptime", "rm"}}, {Capability: protocol.CapKV},
	}
	w.cfg.Policy.Allow = append(w.cfg.Policy.Allow, protocol.Grant{Capability: protocol.CapProcess, Scopes: []string{"uptime"}})
	var got []protocol.Grant
	w.plugins.answers["w/do/load"] = func(c edge.Call) wasmhost.Answer {
		got = c.Load.Step.Grants
		return wasmhost.Answer{}
	}
	w.hub.deploy(w.hub.desired(1, of))
	w.boot()
	w.online()
	w.pass(time.Minute)
	want := []protocol.Grant{{Capability: protocol.CapProcess, Scopes: []string{"uptime"}}, {Capability: protocol.CapKV}}
	if !slices.EqualFunc(got, want, func(a, b protocol.Grant) bool {
		return a.Capability == b.Capability && slices.Equal(a.Scopes, b.Scopes)
	}) {
		t.Fatalf("granted %+v, want %+v", got, want)
	}
	s := w.hub.reported().Assignments[0]
	if s.Phase != protocol.PhaseRunning || s.Error == nil || !strings.Contains(s.Error.Text, "process.execute:rm") {
		t.Fatalf("status %+v: want it running, with what was cut", s)
	}
}

// A load that goes wrong is tried again, up to a limit, and fails only its assignment.
func TestLoadFails(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	loads := 0
	w.plugins.answers["w/do/load"] = func(c edge.Call) wasmhost.Answer {
		loads++
		return refuses(protocol.CodeBadInput, "config: no such thing")(c)
	}
	w.plugins.answers["v/when"] = fires(1)
	w.hub.deploy(w.hub.desired(1, w.hub.workflow("w"), w.hub.workflow("v")))
	w.boot()
	w.online()
	w.pass(24 * time.Hour)
	r := w.hub.reported()
	if r.Revision != 1 || r.Assignments[0].Phase != protocol.PhaseRunning || r.Assignments[1].Phase != protocol.PhaseFailed {
		t.Fatalf("reported %+v", r)
	}
	if e := r.Assignments[1].Error; e == nil || e.Code != protocol.CodeBadInput {
		t.Fatalf("error %+v", e)
	}
	if loads != w.cfg.LoadTries {
		t.Fatalf("%d loads, want %d", loads, w.cfg.LoadTries)
	}
	if len(w.hub.events) != 1 {
		t.Fatalf("the other workflow fired %d times, want 1", len(w.hub.events))
	}
}

// A keyring with the key that was missing lets the revision in that it kept out.
func TestNewKeyring(t *testing.T) {
	w := running(t)
	rotated := protocol.SealKey{Role: protocol.RoleDesired, Private: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32))}
	d := w.hub.desired(6, w.hub.workflow("w"))
	w.hub.deploySealed(d, protocol.MustMarshal(d), rotated)
	w.pass(time.Minute)
	if s := w.agent.Status(); s.Refused == nil || s.Revision != 5 {
		t.Fatalf("with an unknown key: %+v", s)
	}
	ring := w.hub.ring()
	ring.Keys = append(ring.Keys, rotated.Public())
	w.agent.Believe(w.now, ring) // the same version: nothing changes
	w.pass(time.Minute)
	if s := w.agent.Status(); s.Revision != 5 {
		t.Fatalf("a keyring of the same version was believed: %+v", s)
	}
	ring.Version++
	w.agent.Believe(w.now, ring)
	w.pass(time.Minute)
	if s := w.agent.Status(); s.Revision != 6 || s.Refused != nil {
		t.Fatalf("with the key: %+v", s)
	}
}

// What its plugins put by goes with a workflow, and only with it.
func TestKVGoes(t *testing.T) {
	w := running(t)
	for _, name := range []protocol.WorkflowName{"w", "w2"} {
		if err := w.disk.Apply([]edge.Change{{Key: edge.KeyKV(name) + "do/k", Value: []byte{1}}}); err != nil {
			t.Fatal(err)
		}
	}
	w.hub.deploy(w.hub.desired(6, w.hub.workflow("v")))
	w.pass(time.Minute)
	var left []string
	for _, key := range w.disk.Keys() {
		if strings.HasPrefix(key, "kv/") || strings.HasPrefix(key, "trigger/w") {
			left = append(left, key)
		}
	}
	if !slices.Equal(left, []string{"kv/w2/do/k"}) {
		t.Fatalf("left on the disk: %q", left)
	}
}

// Plugins' lines and audits reach the hub in their own lanes.
func TestTold(t *testing.T) {
	w := running(t)
	w.agent.Told(w.now, edge.Told{
		Lines:  []protocol.LogLine{{Plugin: "tick", Level: 8, Text: strings.Repeat("x", 3000)}},
		Audits: []protocol.Audit{{Plugin: "tick", Capability: protocol.CapKV, Allowed: 3}},
	})
	w.pass(time.Minute)
	got := map[protocol.Lane]int{}
	for _, b := range w.hub.batches {
		got[b.Lane] += len(b.Records)
	}
	if got[protocol.LaneLog] != 1 || got[protocol.LaneAudit] != 1 || w.agent.Status().Pending != 0 {
		t.Fatalf("lanes %v, %d pend", got, w.agent.Status().Pending)
	}
}
