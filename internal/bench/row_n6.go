package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/stavily/stavily/wasmhost/meter"
)

const (
	callRounds = 15
	callsRound = 100
	guestFuel  = 2_000_000 // as the agent gives it
)

// question is a line for the meter's Go guest, with the work of a small plugin in it:
// JSON both ways, a regular expression, a hash, a sort, a recursion.
const question = `{"words":["fan-12","pump-7","valve-3","fan-9"],"nums":[1.5,-2,80.25],"turns":4}` + "\n"

// meteredCall is N6: one question to a Go guest that pays for its work, against the
// same module unmetered, and that against the engine's own way to stop a guest.
func meteredCall(b *bench) ([]line, error) {
	file := b.path("guest.wasm")
	err := b.goBuild(".", file, "./wasmhost/meter/testdata/goguest", "GOOS=wasip1", "GOARCH=wasm")
	if err != nil {
		return nil, err
	}
	plain, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	paying, err := meter.Instrument(plain)
	if err != nil {
		return nil, err
	}
	var guests []*guest
	for _, g := range []struct {
		wasm  []byte
		watch bool
	}{{plain, false}, {paying, false}, {plain, true}} {
		one, err := startGuest(b.ctx, g.wasm, g.watch)
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
		{"metered call of a Go guest", times[1], "µs", "unmetered", times[0], ratioAtMost(1.25)},
		{"call under WithCloseOnContextDone", times[2], "µs", "unmetered", times[0], ratioAtMost(1.25)},
	}, nil
}

// askInTurn returns the median time of a question to each guest, in µs.
func askInTurn(guests []*guest) ([]float64, error) {
	rounds := make([][]float64, len(guests))
	for range callRounds {
		for i, g := range guests {
			began := time.Now()
			for range callsRound {
				if err := g.ask(); err != nil {
					return nil, err
				}
			}
			rounds[i] = append(rounds[i], time.Since(began).Seconds()*1e6/callsRound)
		}
	}
	out := make([]float64, len(guests))
	for i := range guests {
		out[i] = median(rounds[i])
	}
	return out, nil
}

// guest is a module that runs and answers lines, in an engine without anything of ours
// but the fuel.
type guest struct {
	runtime wazero.Runtime
	in      *io.PipeWriter
	out     *io.PipeReader
	buf     []byte
	ended   chan error
}

// startGuest starts a module; watch lets the engine check at every loop whether the
// context has ended.
func startGuest(ctx context.Context, wasm []byte, watch bool) (*guest, error) {
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
	g := &guest{runtime: r, in: inW, out: outR, buf: make([]byte, 64<<10), ended: make(chan error, 1)}
	config := wazero.NewModuleConfig().WithStdin(inR).WithStdout(outW).WithStderr(io.Discard)
	go func() {
		_, err := r.InstantiateWithConfig(ctx, wasm, config)
		_ = outW.CloseWithError(fmt.Errorf("guest ended: %w", errors.Join(err, io.EOF)))
		g.ended <- err
	}()
	return g, g.ask() // it is warm from here on
}

func refuel(_ context.Context, m api.Module) {
	fuel, ok := m.ExportedGlobal(meter.FuelGlobal).(api.MutableGlobal)
	if ok {
		fuel.Set(guestFuel)
	}
}

// ask puts the question and reads the answer, which is one write of the guest.
func (g *guest) ask() error {
	if _, err := io.Copy(g.in, strings.NewReader(question)); err != nil {
		return err
	}
	n, err := g.out.Read(g.buf)
	if err == nil && !bytes.HasSuffix(g.buf[:n], []byte("\n")) {
		err = fmt.Errorf("guest says %q: want one line", g.buf[:n])
	}
	return err
}

func (g *guest) end() {
	_ = g.in.Close()
	<-g.ended //nolint:errcheck // a guest that is told to end ends with an exit code
	_ = g.runtime.Close(context.Background())
}
