// Package station is an agent in this process with all that it has on a device, disk and
// plugins too, but for the network. It is apart from the rows of package main so that a
// process which is only an agent links no more than an agent does.
package station

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/disk"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// Workflow is what the station's workflow is called.
const Workflow = "bench"

// Address is the agent of a station.
func Address() protocol.Address { return protocol.Address{Site: "lab", Agent: "agent-0"} }

// Station is one agent. Its hub is a few lines that serve files and keep records in the
// process's memory.
type Station struct {
	// Out is closed when the first output has delivered.
	Out chan struct{}
	// Woke is closed when the trigger has answered first.
	Woke chan struct{}

	store  *disk.Store
	engine *wasmhost.Host
	host   *edge.Host
	agent  *edge.Agent
	inbox  *edge.Inbox
	hub    *Hub

	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu        sync.Mutex // guards the fields below
	kinds     map[edge.CallID]wasmhost.RequestKind
	fired     []time.Time // of events that are not delivered yet
	delays    []float64   // from an event to the end of its output, µs
	wakes     int
	delivered int
}

// Open starts an agent on a state directory. hub is nil for one without a line,
// which runs what its disk has.
func Open(ctx context.Context, dir string, hub *Hub) (s *Station, err error) {
	log := slog.New(slog.DiscardHandler)
	s = &Station{
		hub: hub, inbox: edge.NewInbox(), kinds: map[edge.CallID]wasmhost.RequestKind{}, Out: make(chan struct{}),
		Woke: make(chan struct{}),
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
		Engine: s.engine, Store: s.store, Together: s.answered, Log: log, Loads: min(2, runtime.NumCPU()),
	})
	c := edge.DefaultConfig()
	c.Address, c.Epoch = Address(), 1
	if c.Keyring, err = ring(); err != nil {
		return nil, err
	}
	c.LaneBytes[protocol.LaneEvent] = 1 << 30 // a backlog is to stay
	c.Device = protocol.Device{Platform: "linux-amd64", Engine: "compiler", Version: "bench"}
	s.agent, err = edge.New(c, edge.Deps{
		Link: s, Store: s.store, Plugins: s, Random: bufio.NewReader(rand.Reader), Log: log,
	})
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
		s.say(protocol.DownHint, hub.Hint)
	}
	return s, nil
}

// Close ends the agent as a signal does.
func (s *Station) Close() error {
	s.cancel()
	s.ended.Wait()
	s.host.Wait()
	_ = s.engine.Close(context.Background())
	return s.store.Close()
}

// Start passes a call on and remembers what it asks.
func (s *Station) Start(c edge.Call) { s.StartAll([]edge.Call{c}) }

// StartAll passes calls on and remembers what they ask.
func (s *Station) StartAll(calls []edge.Call) {
	s.mu.Lock()
	for i := range calls {
		if c := &calls[i]; c.Request != nil {
			s.kinds[c.ID] = c.Request.Kind
		}
	}
	s.mu.Unlock()
	s.host.StartAll(calls)
}

// Stop passes on.
func (s *Station) Stop(i edge.Instance) { s.host.Stop(i) }

// answered notes when events come and when their outputs are through.
func (s *Station) answered(all []edge.Answered) {
	now := time.Now()
	s.mu.Lock()
	for i := range all {
		s.note(now, &all[i])
	}
	s.mu.Unlock()
	s.inbox.Together(all)
}

// note is answered for one answer. Called with mu.
func (s *Station) note(now time.Time, in *edge.Answered) {
	kind := s.kinds[in.ID]
	delete(s.kinds, in.ID)
	switch {
	case kind == wasmhost.Wake:
		if s.wakes++; s.wakes == 1 {
			close(s.Woke)
		}
		for range in.Answer.Events {
			s.fired = append(s.fired, now)
		}
	case kind == wasmhost.Deliver && in.Answer.Error == nil:
		if len(s.fired) > 0 { // a run that was begun before a restart has no time here
			s.delays = append(s.delays, float64(now.Sub(s.fired[0]).Nanoseconds())/1000)
			s.fired = s.fired[1:]
		}
		if s.delivered++; s.delivered == 1 {
			close(s.Out)
		}
	}
}

// Count returns how many outputs have delivered, and the times from their events in µs since
// it was asked last.
func (s *Station) Count() (delivered int, delays []float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delays, s.delays = s.delays, nil
	return s.delivered, delays
}

// Send is the agent's line to its hub.
func (s *Station) Send(m protocol.Message) error {
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
func (s *Station) Listen(string, func(protocol.Message)) error { return nil }

func (s *Station) say(kind protocol.Kind, v any) {
	s.inbox.Message(protocol.Message{Topic: protocol.Topic(Address(), kind), Payload: protocol.MustMarshal(v)})
}

func (s *Station) serve(payload []byte) error {
	var req protocol.FetchRequest
	if err := protocol.Unmarshal(payload, &req); err != nil {
		return err
	}
	b := s.hub.files[req.Digest]
	for i := req.First; i < req.First+req.Count && i < protocol.ChunkCount(int64(len(b))); i++ {
		if !req.Wants(i) {
			continue
		}
		data, size, err := protocol.CutChunk(req.Digest, b, i)
		if err != nil {
			return err
		}
		s.say(protocol.DownChunk, protocol.Chunk{Digest: req.Digest, Index: i, Size: size, Data: data})
	}
	return nil
}

// keep acknowledges a batch. Of its records only the last one's mark is read: what a hub
// does with them is no part of what an agent costs.
func (s *Station) keep(payload []byte) error {
	ack, err := lastMark(payload)
	if err == nil {
		s.say(protocol.DownAck, ack)
	}
	return err
}

// Hub is what a hub has for one agent.
type Hub struct {
	// Hint is what the agent is told first, of Desired.
	Hint    protocol.Hint
	Desired protocol.Desired
	files   map[protocol.Digest][]byte
}

// Put keeps a file for the agent to fetch.
func (h *Hub) Put(b []byte) protocol.Digest {
	d := protocol.DigestOf(b)
	if h.files == nil {
		h.files = map[protocol.Digest][]byte{}
	}
	h.files[d] = b
	return d
}

// Key is a seal key that every process of a row knows.
func Key(r protocol.Role) protocol.SealKey {
	seed := bytes.Repeat([]byte{byte(r)}, ed25519.SeedSize)
	return protocol.SealKey{Role: r, Private: ed25519.NewKeyFromSeed(seed)}
}

// The public halves of Key, as a device has them: it never computes one.
const (
	releasePublic = "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394"
	desiredPublic = "ed4928c628d1c2c6eae90338905995612959273a5c63f93636c14614ac8737d1"
)

func ring() (protocol.Keyring, error) {
	release, err := hex.DecodeString(releasePublic)
	if err != nil {
		return protocol.Keyring{}, err
	}
	desired, err := hex.DecodeString(desiredPublic)
	return protocol.Keyring{Version: 1, Keys: []protocol.PublicKey{
		{Role: protocol.RoleRelease, Key: release}, {Role: protocol.RoleDesired, Key: desired},
	}}, err
}

var (
	_ edge.Plugins  = (*Station)(nil)
	_ protocol.Link = (*Station)(nil)
)
