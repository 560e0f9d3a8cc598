package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"testing/fstest"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost/meter"
)

const (
	callRounds = 2000
	callTime   = 300 * time.Microsecond // of a guest in each round
	guestFuel  = 2_000_000              // as the agent gives it

	// calmest is the share of rounds of which the slowest counts: what the machine does
	// meanwhile disturbs the others, and not all guests alike. The rounds are as short as
	// they are so that some run undisturbed on a busy machine.
	calmest = 0.05
)

// talk is how a guest is spoken to without a host: what it is told until it is ready,
// and the question that is put again and again. Each answer is one write of the guest.
type talk struct {
	prelude  []string
	question string
	args     []string // of an engine, which finds script as /app/main.js
	script   string
}

// smallWork is a line with the work of a small plugin in it.
const smallWork = `{"words":["fan-12","pump-7","valve-3","fan-9"],"nums":[1.5,-2,80.25],"turns":4}` + "\n"

// goTalk is that of the meter's Go guest: JSON both ways, a regular expression, a hash, a
// sort, a recursion.
func goTalk() talk { return talk{question: smallWork} }

// scriptTalk is the same work in JavaScript.
func scriptTalk(args []string) talk {
	const script = `const fib = (n) => n < 2 ? n : fib(n - 1) + fib(n - 2);
for (let line = readLine(); line !== null; line = readLine()) {
	const q = JSON.parse(line);
	let hash = 2166136261;
	for (const word of q.words) for (const c of word) hash = Math.imul(hash ^ c.charCodeAt(0), 16777619);
	const found = q.words.filter((word) => /^[a-z]+-[0-9]+$/.test(word)).sort();
	const sum = q.nums.reduce((a, b) => a + b, 0);
	writeLine(JSON.stringify({ found, hash, sum, fib: fib(q.turns) }));
}
`
	return talk{question: smallWork, args: args, script: script}
}

// wakeTalk is that of the triggers in C and in Rust, which answer 64 events each time.
func wakeTalk() talk {
	config := map[string]any{
		"config": map[string]int{"events": wakeEvents, "every_ms": 1}, "limits": map[string]any{},
		"grants": []any{}, "workflow": "bench", "step": "trigger",
	}
	wake := map[string]any{"why": "timer", "now_ms": 1, "state": nil}
	return talk{
		prelude:  []string{"", string(protocol.MustMarshal(map[string]any{"init": config}))},
		question: string(protocol.MustMarshal(map[string]any{"id": 1, "wake": wake})),
	}
}

// meteredCall is N6: one question to a guest that pays for its work, against the same
// module unmetered, and that against the engine's own way to stop a guest.
func meteredCall(b *bench) ([]line, error) {
	goFile := b.path("guest.wasm")
	err := b.goBuild(".", goFile, "./wasmhost/meter/testdata/goguest", "GOOS=wasip1", "GOARCH=wasm")
	if err != nil {
		return nil, err
	}
	var out []line
	for _, v := range []struct {
		name, file string
		talk       talk
	}{
		{"Go", goFile, goTalk()},
		{"C", "wasmhost/testdata/c/trigger.wasm", wakeTalk()},
		{"Rust", "wasmhost/testdata/rust/trigger.wasm", wakeTalk()},
	} {
		lines, err := meteredGuest(b, v.name, v.file, v.talk)
		out = append(out, lines...)
		if err != nil {
			return out, fmt.Errorf("%s guest: %w", v.name, err)
		}
	}
	lines, err := meteredScript(b)
	return append(out, lines...), err
}

// meteredScript is the engine of scripts at work; a line without a number where there is none.
func meteredScript(b *bench) ([]line, error) {
	if engine, err := build.FindEngine("quickjs"); err == nil {
		return meteredModule(b, "QuickJS", engine.Module, scriptTalk(engine.Args))
	}
	return []line{{
		metric: "metered call of a QuickJS guest: " + errNoEngine.Error(), value: math.NaN(),
		baseline: "unmetered", base: math.NaN(), target: ratioAtMost(1.25),
	}}, nil
}

func meteredGuest(b *bench, name, file string, t talk) ([]line, error) {
	plain, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return meteredModule(b, name, plain, t)
}

func meteredModule(b *bench, name string, plain []byte, t talk) ([]line, error) {
	paying, err := meter.Instrument(plain)
	if err != nil {
		return nil, err
	}
	var guests []*guest
	for _, g := range []struct {
		wasm  []byte
		watch bool
	}{{plain, false}, {paying, false}, {plain, true}} {
		one, err := startGuest(b.ctx, g.wasm, t, g.watch)
		if err != nil {
			return nil, err
		}
		defer one.end()
		guests = append(guests, one)
	}
	times, err := askInTurn(guests)
	if err != nil {
		return nil, err
	}
	return []line{
		{"metered call of a " + name + " guest", times[1], "µs", "unmetered", times[0], ratioAtMost(1.25)},
		{"the same under WithCloseOnContextDone", times[2], "µs", "unmetered", times[0], ratioAtMost(1.25)},
	}, nil
}

// askInTurn returns the time of a question to each guest, in µs.
func askInTurn(guests []*guest) ([]float64, error) {
	rounds := make([][]float64, len(guests))
	for range callRounds {
		for i, g := range guests {
			calls := 0
			began := time.Now()
			for time.Since(began) < callTime {
				if err := g.ask(); err != nil {
					return nil, err
				}
				calls++
			}
			rounds[i] = append(rounds[i], time.Since(began).Seconds()*1e6/float64(calls))
		}
	}
	out := make([]float64, len(guests))
	for i := range guests {
		out[i] = quantile(rounds[i], calmest)
	}
	return out, nil
}

// guest is a module that runs and answers lines, in an engine without anything of ours
// but the fuel.
type guest struct {
	runtime wazero.Runtime
	in      *io.PipeWriter
	out     *io.PipeReader
	talk    talk
	buf     []byte
	ended   chan error
}

// startGuest starts a module; watch lets the engine check at every loop whether the
// context has ended.
func startGuest(ctx context.Context, wasm []byte, t talk, watch bool) (*guest, error) {
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCloseOnContextDone(watch))
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
		return nil, err
	}
	_, err := r.NewHostModuleBuilder(meter.ImportModule).NewFunctionBuilder().WithFunc(refuel).
		Export(meter.ImportName).Instantiate(ctx)
	if err != nil {
		return nil, err
	}
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	g := &guest{runtime: r, in: inW, out: outR, talk: t, buf: make([]byte, 64<<10), ended: make(chan error, 1)}
	config := wazero.NewModuleConfig().WithStdin(inR).WithStdout(outW).WithStderr(io.Discard).WithArgs(t.args...)
	if t.script != "" {
		app := fstest.MapFS{"main.js": &fstest.MapFile{Data: []byte(t.script)}}
		config = config.WithFSConfig(wazero.NewFSConfig().WithFSMount(app, "/app"))
	}
	go func() {
		_, err := r.InstantiateWithConfig(ctx, wasm, config)
		_ = outW.CloseWithError(fmt.Errorf("guest ended: %w", errors.Join(err, io.EOF)))
		g.ended <- err
	}()
	for _, text := range t.prelude {
		if err := g.say(text); err != nil {
			return g, err
		}
	}
	return g, g.ask() // it is warm from here on
}

func refuel(_ context.Context, m api.Module) {
	fuel, ok := m.ExportedGlobal(meter.FuelGlobal).(api.MutableGlobal)
	if ok {
		fuel.Set(guestFuel)
	}
}

// ask puts the question and reads the answer.
func (g *guest) ask() error { return g.say(g.talk.question) }

// say writes and then reads one write of the guest.
func (g *guest) say(text string) error {
	if text != "" {
		if _, err := io.WriteString(g.in, text); err != nil {
			return err
		}
	}
	_, err := g.out.Read(g.buf)
	return err
}

func (g *guest) end() {
	_ = g.in.Close()
	<-g.ended //nolint:errcheck // a guest that is told to end ends with an exit code
	_ = g.runtime.Close(context.Background())
}
