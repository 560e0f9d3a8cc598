package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stavily/stavily/hub"
	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/registry"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// handledAtOnce is how many messages the hub's loop handles for one commit.
const handledAtOnce = 256

// rollout is N11: a workflow is deployed, every agent is told, fetches its sealed
// document, and reports that it holds it. The hub's core and its books on disk are
// real; the agents do nothing but answer, and there is no network. Beside it the
// signatures alone.
func rollout(b *bench) ([]line, error) {
	var out []line
	for _, v := range []struct {
		agents, rounds int
		name           string
		most           float64
	}{{1000, 3, "1,000", 0.5}, {10_000, 1, "10,000", 4}} {
		core, err := newCore(b, v.name, v.agents)
		if err != nil {
			return out, err
		}
		l := line{
			metric: "new workflow until " + v.name + " agents report it, in process", unit: "s",
			baseline: "signatures alone", target: atMost(v.most),
		}
		signed := func() (float64, error) { return signatures(v.agents) }
		l.value, l.base, err = inTurn(v.rounds, core.deploy, signed)
		if err = closing(core.books, err); err != nil {
			return out, err
		}
		out = append(out, l)
	}
	return out, nil
}

func closing(books *store.Store, err error) error {
	if bad := books.Close(); err == nil {
		return bad
	}
	return err
}

func signatures(n int) (float64, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return 0, err
	}
	document := make([]byte, 1024)
	return timed(func() {
		for range n {
			ed25519.Sign(key, document)
		}
	}) / 1000, nil
}

// core is a hub without its loop: the benchmark calls it as the loop does.
type core struct {
	hub    *hub.Hub
	books  *store.Store
	keys   *hub.Keys
	files  *registry.Files
	agents int
	rounds int
	sent   []protocol.Message // by the hub, not yet answered
}

// newCore opens a hub with enrolled agents and the releases that a workflow needs.
func newCore(b *bench, name string, agents int) (*core, error) {
	dir := b.path("core-" + name)
	for _, sub := range []string{"keys", "files"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	files, err := registry.OpenFiles(filepath.Join(dir, "files"))
	if err != nil {
		return nil, err
	}
	keys, err := hub.OpenKeys(filepath.Join(dir, "keys"))
	if err != nil {
		return nil, err
	}
	ca, err := hub.OpenCA(filepath.Join(dir, "keys"), time.Now())
	if err != nil {
		return nil, err
	}
	books, err := store.Open(b.ctx, filepath.Join(dir, "books.db"))
	if err != nil {
		return nil, err
	}
	c := &core{books: books, keys: keys, files: files, agents: agents}
	c.hub = hub.New(hub.DefaultConfig(dir), hub.Deps{
		Log: slog.New(slog.DiscardHandler), Books: books, Files: files,
		Keys: keys, CA: ca, Link: c,
	})
	return c, books.Update(b.ctx, c.fill)
}

// Send is the hub's link: what it sends waits for the agents.
func (c *core) Send(m protocol.Message) error {
	c.sent = append(c.sent, m)
	return nil
}

// Listen hears nothing: the agents' messages are handed to the hub.
func (c *core) Listen(string, func(protocol.Message)) error { return nil }

func (c *core) fill(tx *store.Tx) error {
	labels := map[string]string{"env": "production", "line": "l0"}
	for i := range c.agents {
		_, err := fleet.Enrol(tx, fleet.Enrolment{
			Address: agentAt(i), Labels: labels, Time: time.Now(),
			Device: protocol.Device{Platform: "linux-arm64", Engine: "compiler", Version: "bench"},
			Identity: fleet.Identity{
				KeyFingerprint: fmt.Sprint(i), Serial: fmt.Sprint(i), NotAfter: time.Now().Add(time.Hour),
			},
		})
		if err != nil {
			return err
		}
	}
	for name, of := range map[string]protocol.PluginType{
		"system-health": protocol.Trigger, "system-command": protocol.Action, "append-file": protocol.Output,
	} {
		if err := c.publish(tx, protocol.PluginName(name), of); err != nil {
			return err
		}
	}
	return nil
}

// publish puts a release into the books as if it had been built.
func (c *core) publish(tx *store.Tx, name protocol.PluginName, of protocol.PluginType) error {
	artifact := protocol.NewArtifact(protocol.PlatformWASM, []byte(name))
	artifact.Metered = true
	r := protocol.Release{Manifest: planRelease(name, of).Manifest, Artifacts: []protocol.Artifact{artifact}}
	sealed, err := protocol.Seal(protocol.ContextRelease, c.keys.Release, protocol.MustMarshal(r))
	if err != nil {
		return err
	}
	digest, err := c.files.Put(sealed)
	if err != nil {
		return err
	}
	err = registry.AddPlugin(tx, registry.Plugin{
		Name: name, Type: of, Repository: "https://example.com/" + string(name), Added: time.Now(),
	})
	if err != nil {
		return err
	}
	return registry.PutRelease(tx, registry.Release{
		Plugin: name, Version: "1.0.0", Digest: digest, Size: int64(len(sealed)), State: registry.Published,
		Repository: "https://example.com/" + string(name), Tag: "v1.0.0", Created: time.Now(),
		Commit: strings.Repeat("a", 40), TagObject: strings.Repeat("b", 40),
		Artifacts: []registry.Artifact{{
			Platform: artifact.Platform, Digest: artifact.Digest, Size: artifact.Size, Metered: true,
		}},
	})
}

// deploy deploys one more workflow and returns the seconds until all have reported it.
func (c *core) deploy() (float64, error) {
	text := fmt.Appendf(nil, planText, c.rounds, 0)
	c.rounds++
	began := time.Now()
	if _, err := c.hub.Deploy(began, "bench.yaml", text); err != nil {
		return 0, err
	}
	reported := 0
	for len(c.sent) > 0 {
		heard := c.sent[:min(len(c.sent), handledAtOnce)]
		c.sent = c.sent[len(heard):]
		for _, m := range heard {
			last, err := c.answer(m)
			if err != nil {
				return 0, err
			}
			reported += last
		}
		if err := c.hub.Flush(); err != nil {
			return 0, err
		}
	}
	took := time.Since(began).Seconds()
	return took, c.check(reported)
}

// answer says what an agent says to m: to a hint that it wants the document, to the
// document that it holds it, which counts 1.
func (c *core) answer(m protocol.Message) (int, error) {
	a, kind, err := protocol.ParseTopic(m.Topic)
	if err != nil {
		return 0, err
	}
	say := func(k protocol.Kind, v any) {
		c.hub.Handle(time.Now(), protocol.Message{Topic: protocol.Topic(a, k), Payload: protocol.MustMarshal(v)})
	}
	if kind == protocol.DownHint {
		var hint protocol.Hint
		if err := protocol.Unmarshal(m.Payload, &hint); err != nil {
			return 0, err
		}
		say(protocol.UpFetch, protocol.FetchRequest{Digest: hint.Digest, Count: protocol.ChunkCount(hint.Size)})
		return 0, nil
	}
	var chunk protocol.Chunk
	if err := protocol.Unmarshal(m.Payload, &chunk); err != nil {
		return 0, err
	}
	if chunk.Error != nil {
		return 0, chunk.Error
	}
	say(protocol.UpReported, protocol.Reported{
		Epoch: 1, Revision: uint64(c.rounds), Digest: chunk.Digest, Boot: 1, Sequence: uint64(c.rounds),
		Device: protocol.Device{Platform: "linux-arm64", Engine: "compiler", Version: "bench"},
	})
	return 1, nil
}

// check looks into the books whether every agent's report is there.
func (c *core) check(reported int) error {
	var agents []fleet.Agent
	err := c.books.View(context.Background(), func(tx *store.Tx) (err error) {
		agents, err = fleet.List(tx)
		return err
	})
	if err != nil {
		return err
	}
	holds := 0
	for i := range agents {
		if r := agents[i].Reported; r != nil && r.Digest == agents[i].Desired.Digest && !r.Digest.IsZero() {
			holds++
		}
	}
	if holds != c.agents || reported != c.agents {
		return fmt.Errorf("%d agents reported, %d hold the newest revision, want %d", reported, holds, c.agents)
	}
	return nil
}

var _ protocol.Link = (*core)(nil)
