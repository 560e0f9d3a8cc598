package edge_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/disk"
	"github.com/stavily/stavily/edge/storetest"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
	"github.com/stavily/stavily/wasmhost/meter"
)

// guest builds testdata/guest as a plugin of a type, metered as the hub would.
func guest(t *testing.T, name string, of protocol.PluginType) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), name+".wasm")
	flags := "-s -w -X main.name=" + name + " -X main.kind=" + string(of)
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", flags, "-o", out, "./testdata/guest")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build guest: %v\n%s", err, text)
	}
	wasm, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	metered, err := meter.Instrument(wasm)
	if err != nil {
		t.Fatal(err)
	}
	return metered
}

// loop is a link whose hub answers at once, on the agent's own goroutine.
type loop struct {
	hub   *hubSide
	inbox *edge.Inbox
	done  func() // called after each message
}

func (l *loop) Send(m protocol.Message) error {
	l.hub.handle(m)
	m.Done()
	for _, back := range l.hub.out {
		l.inbox.Message(back)
	}
	l.hub.out = nil
	l.done()
	return nil
}

func (l *loop) Listen(string, func(protocol.Message)) error { return nil }

// The whole way with real plugins, a real disk and the real time, twice: the second
// agent boots from the first one's disk.
func TestRealPlugins(t *testing.T) {
	if testing.Short() {
		t.Skip("builds three WebAssembly modules")
	}
	hub := newHubSide(t)
	for name, of := range map[string]protocol.PluginType{
		"tick": protocol.Trigger, "work": protocol.Action, "tell": protocol.Output,
	} {
		hub.publish(name, of, "1.0.0", guest(t, name, of))
	}
	hub.deploy(hub.desired(1, hub.workflow("w")))
	hub.out = nil
	dir := t.TempDir()

	runReal(t, dir, hub, func() bool { return len(hub.results) >= 6 && len(hub.events) >= 3 })
	checkEachRun(t, hub, 3)
	i := 0
	for _, res := range hub.results {
		if res.Step != "do" {
			continue
		}
		i++
		data := protocol.MustMarshal(map[string]int{"double": 2 * i})
		if !bytes.Equal(res.Data, data) {
			t.Errorf("result %d has data %x, want %x", i, res.Data, data)
		}
	}
	if hub.results[0].TookUS <= 0 {
		t.Error("a result took no time")
	}
	runReal(t, dir, hub, func() bool {
		r := hub.reported()
		return r.Boot == 2 && len(r.Assignments) == 1 && r.Assignments[0].Phase == protocol.PhaseRunning
	})
	if len(hub.events) != 3 {
		t.Fatalf("hub has %d events after the second boot, want 3: the trigger lost its state", len(hub.events))
	}
}

// runReal lets an agent live on dir until done, and waits until all of it has ended.
func runReal(t *testing.T, dir string, hub *hubSide, done func() bool) {
	t.Helper()
	real{dir: dir, hub: hub, done: done}.run(t)
}

// loads loads native plugins.
type loads func(context.Context, wasmhost.Spec) (wasmhost.Loaded, error)

// real is an agent with real plugins, a real disk and the real time.
type real struct {
	dir     string
	hub     *hubSide
	native  func(*wasmhost.Host) loads // makes what runs native artifacts; nil for none
	compile wasmhost.Compile
	done    func() bool // called after each message of the agent's
}

// run lets the agent live until done, and waits until all of it has ended.
func (r real) run(t *testing.T) {
	t.Helper()
	store, err := disk.Open(r.dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	engine, err := wasmhost.New(ctx, wasmhost.Config{CacheDir: filepath.Join(r.dir, "cache"), Compile: r.compile})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close(ctx)
	inbox := edge.NewInbox()
	c := edge.DefaultConfig()
	c.Address, c.Epoch, c.Keyring = here, 1, r.hub.ring()
	c.Device = protocol.Device{Platform: "linux-" + runtime.GOARCH}
	plugins := edge.HostConfig{
		Engine: engine, Store: store, Answered: inbox.Answered, Audit: inbox.Audit, Rest: 20 * time.Millisecond,
		KV: func(i edge.Instance) wasmhost.KV { return store.KV(i) },
	}
	if r.native != nil {
		c.Native, plugins.Native = true, r.native(engine)
	}
	host := edge.NewHost(ctx, plugins)
	running, stop := context.WithCancel(ctx)
	defer stop()
	link := &loop{hub: r.hub, inbox: inbox, done: func() {
		if r.done() {
			stop()
		}
	}}
	agent, err := edge.New(c, edge.Deps{
		Link: link, Store: store, Plugins: host, Random: rand.Reader, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.Boot(time.Now()); err != nil {
		t.Fatal(err)
	}
	inbox.Online(true, 1)
	r.hub.sayHint()
	(&edge.Runner{Agent: agent, Inbox: inbox}).Run(running)
	if ctx.Err() != nil {
		t.Fatalf("not done in time: %+v", agent.Status())
	}
	cancel()
	host.Wait()
}

// A plugin that rested comes back when it is asked, from a disk that is checked again,
// and with what it put by (N4, S-01).
func TestHostRests(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a WebAssembly module")
	}
	hub, store := newHubSide(t), storetest.NewMemory()
	wasm := guest(t, "work", protocol.Action)
	ref := hub.publish("work", protocol.Action, "1.0.0", wasm)
	art := hub.art[ref.Plugin]
	keep := func() {
		for i := range protocol.ChunkCount(art.Size) {
			chunk := wasm[int(i)*protocol.ChunkSize : min(len(wasm), int(i+1)*protocol.ChunkSize)]
			if err := store.AddChunk(art.Digest, i, art.Size, chunk); err != nil {
				t.Fatal(err)
			}
		}
	}
	keep()
	ctx, cancel := context.WithCancel(context.Background())
	engine, err := wasmhost.New(ctx, wasmhost.Config{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close(context.WithoutCancel(ctx))
	answers, freed := make(chan edge.Answered, 1), make(chan struct{}, 8)
	host := edge.NewHost(ctx, edge.HostConfig{
		Engine: engine, Store: store, Rest: time.Millisecond, Answered: func(a edge.Answered) { answers <- a },
		Freed: func() { freed <- struct{}{} },
	})
	i := edge.Instance{Workflow: "w", Step: "s"}
	load := &edge.Load{Artifact: art, Manifest: protocol.Manifest{Plugin: protocol.PluginInfo{
		Name: "work", Version: "1.0.0", Type: protocol.Action,
	}}}
	run := &wasmhost.Request{Kind: wasmhost.Run, Event: &protocol.Event{Data: protocol.MustMarshal(map[string]int{"n": 4})}}
	steps := []struct {
		name string
		load *edge.Load
		rest bool // wait for it to rest, after the load
		do   func()
		want protocol.Code
		lost bool
	}{
		{name: "load", load: load, rest: true},
		{name: "after a rest"},
		{name: "load again", load: load, rest: true},
		{name: "rotten", do: func() { _ = store.KeepFiles(nil) }, want: protocol.CodeNotFound, lost: true},
		{name: "fetched again", do: keep},
	}
	for _, s := range steps {
		if s.do != nil {
			s.do()
		}
		c := edge.Call{ID: 1, Instance: i, Load: s.load}
		if s.load == nil {
			c.Request = run
		}
		host.Start(c)
		a := <-answers
		if protocol.CodeOf(asError(a.Answer.Error)) != s.want || a.Lost != s.lost {
			t.Fatalf("%s: %+v, want %s", s.name, a, s.want)
		}
		if got := protocol.MustMarshal(map[string]int{"double": 8}); s.load == nil && s.want == 0 && !bytes.Equal(a.Answer.Data, got) {
			t.Fatalf("%s: data %x, want %x", s.name, a.Answer.Data, got)
		}
		if s.rest {
			<-freed // the load
			<-freed // the rest
		}
		for len(freed) > 0 {
			<-freed
		}
	}
	cancel()
	host.Wait()
}

func asError(err *protocol.Error) error {
	if err == nil {
		return nil
	}
	return err
}

// An instance that is stopped answers what waits, and its place can be taken at once.
func TestHostStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	answers := make(chan edge.Answered, 32)
	host := edge.NewHost(ctx, edge.HostConfig{Answered: func(a edge.Answered) { answers <- a }})
	i := edge.Instance{Workflow: "w", Step: "s"}
	for round := range 5 {
		host.Start(edge.Call{ID: edge.CallID(round + 1), Instance: i, Request: &wasmhost.Request{Kind: wasmhost.Run}})
		host.Stop(i)
	}
	for range 5 { // each is answered once, wherever the stop met it
		if a := <-answers; a.Answer.Error == nil || a.Answer.Error.Code != protocol.CodeUnavailable {
			t.Fatalf("answer %+v, want unavailable", a.Answer)
		}
	}
	cancel()
	host.Wait()
	if len(answers) != 0 {
		t.Fatalf("%d answers too many", len(answers))
	}
}

// checkEachRun checks that so many runs went through both steps, each in order. A queue is
// worked off step by step, so that results of several runs may stand between each other.
func checkEachRun(t *testing.T, hub *hubSide, runs int) {
	t.Helper()
	steps := map[protocol.RunID]string{}
	for _, res := range hub.results {
		steps[res.Run] += string(res.Step) + " " + res.Status.String() + " "
	}
	for run, said := range steps {
		if said != "do ok say ok " {
			t.Errorf("run %s: %q, want do ok and say ok", run, said)
		}
	}
	if len(steps) != runs || len(hub.results) != 2*runs {
		t.Fatalf("%d runs with %d results, want %d with two each", len(steps), len(hub.results), runs)
	}
}
