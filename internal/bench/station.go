package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/disk"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

const benchWorkflow = "bench"

// station is one agent in this process with all that it has on a device, disk and
// plugins too, but for the network: its hub is a few lines that serve files and keep
// records in the process's memory.
type station struct {
	store  *disk.Store
	engine *wasmhost.Host
	host   *edge.Host
	agent  *edge.Agent
	inbox  *edge.Inbox
	hub    *nearHub

	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu        sync.Mutex // guards the fields below
	kinds     map[edge.CallID]wasmhost.RequestKind
	fired     []time.Time // of events that are not delivered yet
	delays    []float64   // from an event to the end of its output, µs
	delivered int
	out       chan struct{} // closed when the first output has delivered
}

// openStation starts an agent on a state directory. hub is nil for one without a line,
// which runs what its disk has.
func openStation(ctx context.Context, dir string, hub *nearHub) (s *station, err error) {
	log := slog.New(slog.DiscardHandler)
	s = &station{
		hub: hub, inbox: edge.NewInbox(), kinds: map[edge.CallID]wasmhost.RequestKind{}, out: make(chan struct{}),
	}
	if s.store, err = disk.Open(dir, log); err != nil {
		return nil, err
	}
	s.engine, err = wasmhost.New(ctx, wasmhost.Config{
		Log: log, CacheDir: filepath.Join(dir, "cache"), Verdicts: s.store.Verdicts("bench"),
	})
	if err != nil {
		return nil, err
	}
	ctx, s.cancel = context.WithCancel(ctx)
	s.host = edge.NewHost(ctx, edge.HostConfig{
		Engine: s.engine, Store: s.store, Answered: s.answered, Log: log, Loads: min(2, runtime.NumCPU()),
	})
	c := edge.DefaultConfig()
	c.Address, c.Epoch, c.Keyring = agentAt(0), 1, benchRing()
	c.Device = protocol.Device{Platform: "linux-amd64", Engine: "compiler", Version: "bench"}
	s.agent, err = edge.New(c, edge.Deps{Link: s, Store: s.store, Plugins: s, Random: rand.Reader, Log: log})
	if err != nil {
		return nil, err
	}
	if err := s.agent.Boot(time.Now()); err != nil {
		return nil, err
	}
	runner := &edge.Runner{Agent: s.agent, Inbox: s.inbox}
	s.ended.Go(func() { runner.Run(ctx) })
	if hub != nil {
		s.inbox.Online(true, 1)
		s.say(protocol.DownHint, hub.hint)
	}
	return s, nil
}

// close ends the agent as a signal does.
func (s *station) close() error {
	s.cancel()
	s.ended.Wait()
	s.host.Wait()
	_ = s.engine.Close(context.Background())
	return s.store.Close()
}

// Start passes a call on and remembers what it asks.
func (s *station) Start(c edge.Call) {
	if c.Request != nil {
		s.mu.Lock()
		s.kinds[c.ID] = c.Request.Kind
		s.mu.Unlock()
	}
	s.host.Start(c)
}

// Stop passes on.
func (s *station) Stop(i edge.Instance) { s.host.Stop(i) }

// answered notes when events come and when their outputs are through.
func (s *station) answered(in edge.Answered) {
	now := time.Now()
	s.mu.Lock()
	kind := s.kinds[in.ID]
	delete(s.kinds, in.ID)
	if kind == wasmhost.Wake {
		for range in.Answer.Events {
			s.fired = append(s.fired, now)
		}
	}
	if kind == wasmhost.Deliver && in.Answer.Error == nil {
		if len(s.fired) > 0 { // a run that was begun before a restart has no time here
			s.delays = append(s.delays, float64(now.Sub(s.fired[0]).Nanoseconds())/1000)
			s.fired = s.fired[1:]
		}
		if s.delivered++; s.delivered == 1 {
			close(s.out)
		}
	}
	s.mu.Unlock()
	s.inbox.Answered(in)
}

// count returns how many outputs have delivered, and forgets the delays so far.
func (s *station) count() (delivered int, delays []float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delays, s.delays = s.delays, nil
	return s.delivered, delays
}

// Send is the agent's line to its hub.
func (s *station) Send(m protocol.Message) error {
	if s.hub == nil {
		return protocol.Errorf(protocol.CodeUnavailable, "no line")
	}
	_, kind, err := protocol.ParseTopic(m.Topic)
	switch {
	case err != nil:
		return err
	case kind == protocol.UpFetch:
		return s.serve(m.Payload)
	case kind == protocol.UpRecords:
		return s.keep(m.Payload)
	}
	return nil
}

// Listen hears nothing: what the hub says comes by say.
func (s *station) Listen(string, func(protocol.Message)) error { return nil }

func (s *station) say(kind protocol.Kind, v any) {
	s.inbox.Message(protocol.Message{Topic: protocol.Topic(agentAt(0), kind), Payload: protocol.MustMarshal(v)})
}

func (s *station) serve(payload []byte) error {
	var req protocol.FetchRequest
	if err := protocol.Unmarshal(payload, &req); err != nil {
		return err
	}
	b := s.hub.files[req.Digest]
	for i := req.First; i < req.First+req.Count && i < protocol.ChunkCount(int64(len(b))); i++ {
		at := int(i) * protocol.ChunkSize
		data := bytes.Clone(b[at:min(at+protocol.ChunkSize, len(b))])
		s.say(protocol.DownChunk, protocol.Chunk{Digest: req.Digest, Index: i, Size: int64(len(b)), Data: data})
	}
	return nil
}

func (s *station) keep(payload []byte) error {
	var b protocol.Batch
	if err := protocol.Unmarshal(payload, &b); err != nil || len(b.Records) == 0 {
		return err
	}
	last := b.Records[len(b.Records)-1].Mark
	s.say(protocol.DownAck, protocol.LaneAck{Epoch: b.Epoch, Lane: b.Lane, Mark: last})
	return nil
}

// nearHub is what a hub has for one agent.
type nearHub struct {
	files map[protocol.Digest][]byte
	hint  protocol.Hint
}

// newNearHub seals the guests and a workflow of them.
func (b *bench) newNearHub(language string, events, everyMS int) (*nearHub, error) {
	h := &nearHub{files: map[protocol.Digest][]byte{}}
	of := protocol.Assignment{Workflow: benchWorkflow}
	d := protocol.Desired{Address: agentAt(0), Epoch: 1, Revision: 1, Issued: time.Now().UnixMilli()}
	for _, kind := range guestKinds {
		ref, err := h.release(b.guestFile(language, kind), guestManifest(language, kind))
		if err != nil {
			return nil, err
		}
		d.Releases = append(d.Releases, ref)
		step := guestStep(kind, ref.Digest, events, everyMS)
		switch kind {
		case protocol.Trigger:
			of.Trigger = step
		case protocol.Action:
			of.Actions = append(of.Actions, step)
		default:
			of.Outputs = append(of.Outputs, step)
		}
	}
	d.Assignments = []protocol.Assignment{of}
	key := benchKey(protocol.RoleDesired)
	sealed, err := protocol.Seal(protocol.ContextDesired, key, protocol.MustMarshal(d))
	h.hint = protocol.Hint{
		Epoch: 1, Revision: 1, Digest: h.put(sealed), Size: int64(len(sealed)), Time: time.Now().UnixMilli(),
	}
	return h, err
}

func (h *nearHub) release(file string, m protocol.Manifest) (ref protocol.ReleaseRef, err error) {
	wasm, err := os.ReadFile(file)
	if err != nil {
		return ref, err
	}
	h.put(wasm)
	artifact := protocol.NewArtifact(protocol.PlatformWASM, wasm)
	artifact.Metered = true
	r := protocol.Release{Manifest: m, Artifacts: []protocol.Artifact{artifact}}
	key := benchKey(protocol.RoleRelease)
	sealed, err := protocol.Seal(protocol.ContextRelease, key, protocol.MustMarshal(r))
	if err != nil {
		return ref, fmt.Errorf("seal %s: %w", file, err)
	}
	info := r.Manifest.Plugin
	return protocol.ReleaseRef{
		Plugin: info.Name, Version: info.Version, Digest: h.put(sealed), Size: int64(len(sealed)),
	}, nil
}

func (h *nearHub) put(b []byte) protocol.Digest {
	d := protocol.DigestOf(b)
	h.files[d] = b
	return d
}

// benchKey is a seal key that every process of a row knows.
func benchKey(r protocol.Role) protocol.SealKey {
	seed := bytes.Repeat([]byte{byte(r)}, ed25519.SeedSize)
	return protocol.SealKey{Role: r, Private: ed25519.NewKeyFromSeed(seed)}
}

func benchRing() protocol.Keyring {
	return protocol.Keyring{Version: 1, Keys: []protocol.PublicKey{
		benchKey(protocol.RoleRelease).Public(), benchKey(protocol.RoleDesired).Public(),
	}}
}

var (
	_ edge.Plugins  = (*station)(nil)
	_ protocol.Link = (*station)(nil)
)
