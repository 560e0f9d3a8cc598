package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

const (
	warmRounds = 200
	warmTime   = 5 * time.Millisecond // of one host in each round, as the peer's

	peerFolder = "internal/bench/extism"
)

// event200 is an event of about 200 bytes, as a device would fire it.
const event200 = `{"metric":"temperature.cpu","value":83.5,"unit":"celsius","above":80,"for_s":30,` +
	`"host":"gateway-07.plant.example","labels":{"env":"production","role":"gateway","line":"7"},"seq":123456}`

// warmCall is the cost of one call of a warm action with an event of 200 bytes, beside the
// same action called through the Extism SDK on the same engine: without a bound on time,
// and with the one that it offers. Ours always has all its bounds.
func warmCall(b *bench) (out []line, err error) {
	peer, err := b.buildPeer()
	if err != nil {
		return nil, err
	}
	engine, err := wasmhost.New(b.ctx, wasmhost.Config{CacheDir: b.path("cache")})
	if err != nil {
		return nil, err
	}
	defer engine.Close(b.ctx)
	for _, v := range []struct{ language, module, event string }{
		{inC, "wasmhost/testdata/c/extism.wasm", b.path("event.cbor")},
		{inGo, b.path("extism-go.wasm"), b.path("event.json")},
	} {
		action, err := b.warmAction(engine, v.language)
		if err != nil {
			return out, err
		}
		for _, bound := range []struct{ name, timeout string }{{"Extism", "0s"}, {"Extism with timeout", "30s"}} {
			p, err := b.start(peer, v.module, v.event, bound.timeout)
			if err != nil {
				return out, err
			}
			if _, err := p.hear(); err != nil { // that it is ready
				return out, err
			}
			value, base, err := calmInTurn(warmRounds, action, p.number)
			if err != nil {
				return out, err
			}
			what := "warm call of a " + v.language + " action, event of 200 bytes"
			out = append(out, line{what, value / 1000, "µs", bound.name, base / 1000, ratioAtMost(1)})
		}
	}
	return out, nil
}

// number asks a peer for its next number.
func (p *process) number() (float64, error) {
	if _, err := fmt.Fprintln(p.in); err != nil {
		return 0, err
	}
	text, err := p.hear()
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(text, 64)
}

// buildPeer makes the program that calls through Extism, its Go plugin and the events.
func (b *bench) buildPeer() (program string, err error) {
	data, err := wasmhost.FromJSON([]byte(event200))
	if err != nil {
		return "", err
	}
	for name, text := range map[string][]byte{"event.cbor": data, "event.json": []byte(event200)} {
		if err := os.WriteFile(b.path(name), text, 0o600); err != nil {
			return "", err
		}
	}
	program = b.path("extism")
	if err := b.goBuild(peerFolder, program, ".", "GOWORK=off"); err != nil {
		return "", err
	}
	return program, b.goBuild(peerFolder, b.path("extism-go.wasm"), "./guest",
		"GOWORK=off", "GOFLAGS=-buildmode=c-shared", "GOOS=wasip1", "GOARCH=wasm")
}

// warmAction returns what calls our action for a while and tells the ns of one call.
func (b *bench) warmAction(engine *wasmhost.Host, language string) (func() (float64, error), error) {
	if err := b.buildGuests(language); err != nil {
		return nil, err
	}
	p, err := b.loadGuest(engine, language, protocol.Action, 1)
	if err != nil {
		return nil, err
	}
	data, err := wasmhost.FromJSON([]byte(event200))
	if err != nil {
		return nil, err
	}
	now := protocol.Stamp{UnixMS: time.Now().UnixMilli(), Quality: protocol.QualityClock}
	event := &protocol.Event{Workflow: benchWorkflow, Revision: 1, Time: now, Data: data}
	return func() (float64, error) {
		began, calls := time.Now(), 0
		for time.Since(began) < warmTime {
			a := p.Call(b.ctx, wasmhost.Request{Kind: wasmhost.Run, Now: now, Event: event, Key: "key"})
			if a.Error != nil {
				return 0, a.Error
			}
			calls++
		}
		return float64(time.Since(began).Nanoseconds()) / float64(calls), nil
	}, nil
}

// loadGuest loads a guest that is built; a trigger gives so many events each time.
func (b *bench) loadGuest(
	engine *wasmhost.Host, language string, kind protocol.PluginType, events int,
) (*wasmhost.Plugin, error) {
	wasm, err := os.ReadFile(b.guestFile(language, kind))
	if err != nil {
		return nil, err
	}
	return engine.Load(b.ctx, wasmhost.Spec{
		Manifest: guestManifest(language, kind), Wasm: wasm, Digest: protocol.DigestOf(wasm),
		Step: guestStep(kind, protocol.Digest{}, events, 1), Workflow: benchWorkflow,
	})
}
