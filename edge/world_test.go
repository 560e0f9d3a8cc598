package edge_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/storetest"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/delta"
	"github.com/stavily/stavily/wasmhost"
)

var here = protocol.Address{Site: "plant", Agent: "a1"}

var start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// world is one agent with a hub and plugins that do as a script says, on a time of
// its own. Everything is a queue that the test empties.
type world struct {
	desire  func(*protocol.Desired) // what is added to desired documents
	t       testing.TB
	now     time.Time
	cfg     edge.Config
	store   edge.Store
	disk    *storetest.Memory
	agent   *edge.Agent
	link    *line
	hub     *hubSide
	plugins *script
	seed    byte
	machine map[string]float64        // figures; nil: nobody to ask
	vault   *edge.DeviceVault         // nil: no secrets
	gone    func([]protocol.Gone)     // may be nil
	wall    func(time.Time) time.Time // what the clock shows; nil: the time
	asked   int                       // times that the machine was to be measured and was not yet
}

func newWorld(t testing.TB) *world { return newWorldAt(t, here) }

func newWorldAt(t testing.TB, at protocol.Address) *world {
	w := &world{t: t, now: start, disk: storetest.NewMemory(), hub: newHubSide(t)}
	w.hub.at = at
	w.store = w.disk
	w.cfg = edge.DefaultConfig()
	w.cfg.Address, w.cfg.Epoch, w.cfg.Keyring = at, 1, w.hub.ring()
	w.cfg.Metrics = 0 // the tests count what goes
	w.cfg.Device = protocol.Device{Platform: "linux-amd64", Engine: "compiler", Version: "test"}
	w.plugins = &script{answers: map[string]func(edge.Call) wasmhost.Answer{}}
	return w
}

// boot starts an agent on the world's disk, as after a power cut.
func (w *world) boot() {
	w.t.Helper()
	if err := w.tryBoot(); err != nil {
		w.t.Fatalf("boot: %v", err)
	}
}

func (w *world) tryBoot() error {
	w.link, w.plugins.queue = &line{}, nil
	w.seed++
	var log *slog.Logger
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	deps := edge.Deps{Link: w.link, Store: w.store, Plugins: w.plugins, Random: &counter{seed: w.seed}, Log: log, Wall: w.wall, Gone: w.gone}
	if w.vault != nil {
		deps.Vault = w.vault
	}
	if w.machine != nil {
		deps.Measure = func() { w.asked++ }
	}
	agent, err := edge.New(w.cfg, deps)
	if err != nil {
		w.t.Fatalf("new: %v", err)
	}
	w.agent = agent
	return agent.Boot(w.now)
}

// online brings the line up, and with it what the broker keeps: the hint.
func (w *world) online() {
	w.link.up = true
	w.agent.Online(w.now, true)
	w.hub.sayHint()
}

func (w *world) offline() {
	w.link.up = false
	w.agent.Online(w.now, false)
	for _, m := range w.link.sent {
		m.Done() // a link that holds nothing over its connections
	}
	w.link.sent, w.hub.out = nil, nil
}

// drain gives everything that is under way to the one it is for, until nothing is.
func (w *world) drain() {
	w.t.Helper()
	for range 100000 {
		if !w.one() {
			return
		}
	}
	w.t.Fatal("the world does not come to rest")
}

func (w *world) one() bool {
	switch {
	case w.asked > 0:
		w.asked--
		w.agent.Measured(w.now, maps.Clone(w.machine))
	case len(w.plugins.queue) > 0:
		c := w.plugins.queue[0]
		w.plugins.queue = w.plugins.queue[1:]
		w.agent.Answered(w.now, w.plugins.end(c))
	case len(w.link.sent) > 0:
		m := w.link.sent[0]
		w.link.sent = w.link.sent[1:]
		w.hub.handle(m)
		m.Done()
	case w.link.up && len(w.hub.out) > 0:
		m := w.hub.out[0]
		w.hub.out = w.hub.out[1:]
		w.agent.Handle(w.now, m)
	default:
		return false
	}
	return true
}

// pass lets the time go on by d, with every tick that is due on the way.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	end := w.now.Add(d)
	for range 100000 {
		w.drain()
		next := w.agent.Next()
		if next.IsZero() || next.After(end) {
			w.now = end
			return
		}
		if next.After(w.now) {
			w.now = next
		}
		w.agent.Tick(w.now)
	}
	w.t.Fatal("the time stands still")
}

// counter is a random source whose bytes tell boots and draws apart.
type counter struct {
	seed byte
	n    uint32
}

func (c *counter) Read(p []byte) (int, error) {
	c.n++
	copy(p, fmt.Sprintf("%02x-%08d-------", c.seed, c.n))
	return len(p), nil
}

var _ io.Reader = (*counter)(nil)

// line is a Link whose messages wait until the test takes them.
type line struct {
	up   bool
	sent []protocol.Message
}

func (l *line) Send(m protocol.Message) error {
	if !l.up {
		return protocol.Errorf(protocol.CodeUnavailable, "down")
	}
	l.sent = append(l.sent, m)
	return nil
}

func (l *line) Listen(string, func(protocol.Message)) error { return nil }

// script answers calls by "workflow/step" and "workflow/step/load".
type script struct {
	queue   []edge.Call
	answers map[string]func(edge.Call) wasmhost.Answer
	started []string // what was begun, in order
	stopped []string
	keys    []string // idempotency keys asked with, in order
	orders  []protocol.RecordOrder
	lost    []string        // "workflow/step" whose next question finds it lost
	begin   func(edge.Call) // hears of each call that starts; may be nil
}

func (s *script) Start(c edge.Call) {
	if s.begin != nil {
		s.begin(c)
	}
	s.queue = append(s.queue, c)
	what := "load"
	if c.Request != nil {
		what = string(c.Request.Kind)
	}
	s.started = append(s.started, fmt.Sprintf("%s/%s %s", c.Instance.Workflow, c.Instance.Step, what))
}

func (s *script) Stop(i edge.Instance) {
	s.stopped = append(s.stopped, fmt.Sprintf("%s/%s", i.Workflow, i.Step))
	s.queue = slices.DeleteFunc(s.queue, func(c edge.Call) bool { return c.Instance == i })
}

func (s *script) end(c edge.Call) edge.Answered {
	name := fmt.Sprintf("%s/%s", c.Instance.Workflow, c.Instance.Step)
	if at := slices.Index(s.lost, name); at >= 0 && c.Request != nil {
		s.lost = slices.Delete(s.lost, at, at+1)
		return edge.Answered{ID: c.ID, Instance: c.Instance, Lost: true, Answer: refuses(protocol.CodeDigest, "rotten")(c)}
	}
	return edge.Answered{ID: c.ID, Instance: c.Instance, Answer: s.answer(c)}
}

func (s *script) answer(c edge.Call) wasmhost.Answer {
	name := fmt.Sprintf("%s/%s", c.Instance.Workflow, c.Instance.Step)
	if c.Load != nil {
		name += "/load"
	} else if c.Request.Key != "" {
		s.keys = append(s.keys, c.Request.Key)
	}
	if f := s.answers[name]; f != nil {
		return f(c)
	}
	return wasmhost.Answer{}
}

// hubSide is what an agent sees of a hub: it has files, a newest revision, and a
// store of records.
type hubSide struct {
	state    protocol.StateFormat // of what is published
	t        testing.TB
	at       protocol.Address   // of its one agent
	hop      func(protocol.Hop) // relays to other agents
	keys     map[protocol.Role]protocol.SealKey
	files    map[protocol.Digest][]byte
	hint     *protocol.Hint
	out      []protocol.Message
	events   map[protocol.RunID]int // how many distinct records carry this run
	results  []protocol.Result
	order    []protocol.Event
	newest   map[protocol.Lane]protocol.Mark
	reports  []protocol.Reported
	presence []protocol.Presence
	fetches  []protocol.FetchRequest
	batches  []protocol.Batch
	wishes   []protocol.SecretsWish
	parts    []protocol.RecordPart
	sent     int // bytes of chunks
	replays  []protocol.ReplayAnswer
	gaps     map[protocol.Lane][]protocol.Gap
	marks    map[protocol.Lane][]protocol.Mark // of all that was kept
	deaf     bool                              // acknowledges nothing
	deafTo   protocol.Lane                     // a lane that it does not know
	mute     bool                              // keeps all, and its acknowledgements are lost
	spoil    func(*protocol.Chunk)             // changes chunks on their way
	offer    func(*protocol.Offer)             // makes differences, and changes what is said of them
	shuffle  bool                              // the chunks of a request come backwards
	release  map[string]protocol.ReleaseRef    // by plugin
	art      map[protocol.PluginName]protocol.Artifact
}

func newHubSide(t testing.TB) *hubSide {
	h := &hubSide{
		t: t, at: here, keys: map[protocol.Role]protocol.SealKey{}, files: map[protocol.Digest][]byte{},
		events: map[protocol.RunID]int{}, newest: map[protocol.Lane]protocol.Mark{},
		gaps: map[protocol.Lane][]protocol.Gap{}, marks: map[protocol.Lane][]protocol.Mark{},
		release: map[string]protocol.ReleaseRef{}, art: map[protocol.PluginName]protocol.Artifact{},
	}
	for _, r := range []protocol.Role{protocol.RoleRelease, protocol.RoleDesired} {
		seed := bytes.Repeat([]byte{byte(r)}, ed25519.SeedSize)
		h.keys[r] = protocol.SealKey{Role: r, Private: ed25519.NewKeyFromSeed(seed)}
	}
	return h
}

func (h *hubSide) ring() protocol.Keyring {
	return protocol.Keyring{Version: 1, Keys: []protocol.PublicKey{
		h.keys[protocol.RoleRelease].Public(), h.keys[protocol.RoleDesired].Public(),
	}}
}

func (h *hubSide) put(b []byte) protocol.Digest {
	d := protocol.DigestOf(b)
	h.files[d] = b
	return d
}

// publish makes a release of a plugin whose artifact is the bytes of body.
func (h *hubSide) publish(name string, of protocol.PluginType, version string, body []byte) protocol.ReleaseRef {
	h.t.Helper()
	art := protocol.NewArtifact(protocol.PlatformWASM, body)
	h.put(body)
	r := protocol.Release{
		Manifest: protocol.Manifest{
			Plugin:  protocol.PluginInfo{Name: protocol.PluginName(name), Version: version, Type: of, Description: "x"},
			Runtime: protocol.Runtime{Language: "go"}, State: h.state,
		},
		Artifacts: []protocol.Artifact{art},
	}
	ref := h.sealRelease(r)
	h.release[name], h.art[ref.Plugin] = ref, art
	return ref
}

func (h *hubSide) sealRelease(r protocol.Release) protocol.ReleaseRef {
	h.t.Helper()
	sealed, err := protocol.Seal(protocol.ContextRelease, h.keys[protocol.RoleRelease], protocol.MustMarshal(r))
	if err != nil {
		h.t.Fatal(err)
	}
	info := r.Manifest.Plugin
	return protocol.ReleaseRef{Plugin: info.Name, Version: info.Version, Digest: h.put(sealed), Size: int64(len(sealed))}
}

// standard publishes a trigger "tick", an action "work" and an output "tell".
func (h *hubSide) standard() {
	h.publish("tick", protocol.Trigger, "1.0.0", bytes.Repeat([]byte("tick"), 50000))
	h.publish("work", protocol.Action, "1.0.0", []byte("work"))
	h.publish("tell", protocol.Output, "1.0.0", []byte("tell"))
}

// workflow returns an assignment of the standard plugins.
func (h *hubSide) workflow(name string) protocol.Assignment {
	step := func(n, plugin string) protocol.Step {
		return protocol.Step{Name: protocol.StepName(n), Release: h.release[plugin].Digest}
	}
	return protocol.Assignment{
		Workflow: protocol.WorkflowName(name), Trigger: step("when", "tick"),
		Actions: []protocol.Step{step("do", "work")}, Outputs: []protocol.Step{step("say", "tell")},
	}
}

func (h *hubSide) desired(revision uint64, of ...protocol.Assignment) protocol.Desired {
	d := protocol.Desired{
		Address: h.at, Epoch: 1, Revision: revision, Issued: start.UnixMilli(), Assignments: of,
	}
	for _, name := range []string{"tick", "work", "tell"} {
		if ref, ok := h.release[name]; ok {
			d.Releases = append(d.Releases, ref)
		}
	}
	return d
}

// deploy makes d the newest and tells the agent so.
func (h *hubSide) deploy(d protocol.Desired) protocol.Digest {
	h.t.Helper()
	return h.deploySealed(d, protocol.MustMarshal(d), h.keys[protocol.RoleDesired])
}

func (h *hubSide) deploySealed(d protocol.Desired, payload []byte, key protocol.SealKey) protocol.Digest {
	h.t.Helper()
	sealed, err := protocol.Seal(protocol.ContextDesired, key, payload)
	if err != nil {
		h.t.Fatal(err)
	}
	h.hint = &protocol.Hint{
		Epoch: 1, Revision: d.Revision, Digest: h.put(sealed), Size: int64(len(sealed)), Time: start.UnixMilli(),
	}
	h.sayHint()
	return h.hint.Digest
}

func (h *hubSide) sayHint() {
	if h.hint != nil {
		h.say(protocol.DownHint, h.hint)
	}
}

func (h *hubSide) say(kind protocol.Kind, v any) {
	h.out = append(h.out, protocol.Message{Topic: protocol.Topic(h.at, kind), Payload: protocol.MustMarshal(v)})
}

func (h *hubSide) handle(m protocol.Message) {
	h.t.Helper()
	of, kind, err := protocol.ParseTopic(m.Topic)
	if err != nil || of != h.at || !protocol.May(h.at, protocol.Sends, m.Topic) {
		h.t.Fatalf("agent sent to %q: %v", m.Topic, err)
	}
	switch kind {
	case protocol.UpPresence:
		h.presence = append(h.presence, decode[protocol.Presence](h.t, m))
	case protocol.UpReported:
		h.reports = append(h.reports, decode[protocol.Reported](h.t, m))
	case protocol.UpFetch:
		h.serve(decode[protocol.FetchRequest](h.t, m))
	case protocol.UpRecord:
		h.parts = append(h.parts, decode[protocol.RecordPart](h.t, m))
	case protocol.UpReplay:
		h.replays = append(h.replays, decode[protocol.ReplayAnswer](h.t, m))
	case protocol.UpSecrets:
		h.wishes = append(h.wishes, decode[protocol.SecretsWish](h.t, m))
	case protocol.UpHop:
		h.hop(decode[protocol.Hop](h.t, m))
	case protocol.UpRecords:
		h.keep(decode[protocol.Batch](h.t, m))
	default:
		h.t.Fatalf("agent sent a %s", kind)
	}
}

func (h *hubSide) serve(req protocol.FetchRequest) {
	h.fetches = append(h.fetches, req)
	b, ok := h.files[req.Digest]
	if !ok {
		no := protocol.AsError(protocol.Errorf(protocol.CodeNotFound, "no such file"))
		h.say(protocol.DownChunk, protocol.Chunk{Digest: req.Digest, Index: req.First, Error: no})
		return
	}
	if h.offer != nil && len(req.Bases) > 0 {
		base := req.Bases[0]
		d, err := delta.Make(h.files[base], b)
		if err != nil {
			h.t.Fatal(err)
		}
		o := &protocol.Offer{Digest: h.put(d), Size: int64(len(d)), Base: base}
		h.offer(o)
		h.say(protocol.DownChunk, protocol.Chunk{Digest: req.Digest, Index: req.First, Offer: o})
		return
	}
	for i := req.First; i < req.First+req.Count && int(i)*protocol.ChunkSize < len(b); i++ {
		if !req.Wants(i) {
			continue
		}
		at := int(i) * protocol.ChunkSize
		data := bytes.Clone(b[at:min(at+protocol.ChunkSize, len(b))])
		c := protocol.Chunk{Digest: req.Digest, Index: i, Size: int64(len(b)), Data: data}
		if h.spoil != nil {
			h.spoil(&c)
		}
		h.sent += len(c.Data)
		h.say(protocol.DownChunk, c)
		if h.shuffle && len(h.out) > 1 {
			h.out[len(h.out)-2], h.out[len(h.out)-1] = h.out[len(h.out)-1], h.out[len(h.out)-2]
		}
	}
}

// keep stores what is new of a batch and acknowledges what is stored.
func (h *hubSide) keep(b protocol.Batch) {
	h.batches = append(h.batches, b)
	if _, ahead := b.Lane.Ahead(); ahead || h.deaf || h.deafTo != 0 && b.Lane == h.deafTo {
		return
	}
	gaps := b.Gaps
	for _, rec := range b.Records {
		for ; len(gaps) > 0 && rec.Mark.After(gaps[0].To); gaps = gaps[1:] {
			h.gap(b.Lane, gaps[0])
		}
		if !rec.Mark.After(h.newest[b.Lane]) {
			continue
		}
		h.newest[b.Lane] = rec.Mark
		h.marks[b.Lane] = append(h.marks[b.Lane], rec.Mark)
		switch b.Lane.Holds(rec.Body) {
		case protocol.LaneEvent:
			ev := decode[protocol.Event](h.t, protocol.Message{Payload: rec.Body})
			h.events[ev.Run]++
			h.order = append(h.order, ev)
		case protocol.LaneResult:
			h.results = append(h.results, decode[protocol.Result](h.t, protocol.Message{Payload: rec.Body}))
		}
	}
	for _, g := range gaps {
		h.gap(b.Lane, g)
	}
	if !h.mute {
		h.say(protocol.DownAck, protocol.LaneAck{Epoch: b.Epoch, Lane: b.Lane, Mark: h.newest[b.Lane]})
	}
}

// gap takes what the agent says that it let go of.
func (h *hubSide) gap(of protocol.Lane, g protocol.Gap) {
	if g = g.After(h.newest[of]); g.Count > 0 {
		h.gaps[of], h.newest[of] = append(h.gaps[of], g), g.To
	}
}

func decode[T any](t testing.TB, m protocol.Message) (v T) {
	t.Helper()
	if err := protocol.Unmarshal(m.Payload, &v); err != nil {
		t.Fatalf("agent sent %T: %v", v, err)
	}
	return v
}

func (h *hubSide) reported() protocol.Reported {
	h.t.Helper()
	if len(h.reports) == 0 {
		h.t.Fatal("nothing was reported")
	}
	return h.reports[len(h.reports)-1]
}

// said returns the results as "step status", in order.
func (h *hubSide) said() string {
	var out []string
	for _, r := range h.results {
		s := fmt.Sprintf("%s %s", r.Step, r.Status)
		if r.Last {
			s += "."
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

// fires answers n wakes with one event each, a second apart, and then with none.
func fires(n int) func(edge.Call) wasmhost.Answer {
	return func(c edge.Call) wasmhost.Answer {
		var at int
		if c.Request.State != nil {
			if err := protocol.Unmarshal(c.Request.State, &at); err != nil {
				panic(err)
			}
		}
		if at >= n {
			return wasmhost.Answer{State: c.Request.State}
		}
		return wasmhost.Answer{
			Events: []protocol.Raw{protocol.MustMarshal(map[string]int{"n": at})},
			State:  protocol.MustMarshal(at + 1), Next: wasmhost.Next{AfterMS: 1000},
		}
	}
}

func refuses(code protocol.Code, text string) func(edge.Call) wasmhost.Answer {
	return func(edge.Call) wasmhost.Answer {
		return wasmhost.Answer{Error: protocol.AsError(protocol.Errorf(code, "%s", text))}
	}
}

var (
	_ protocol.Link = (*line)(nil)
	_ edge.Plugins  = (*script)(nil)
)
