package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing/fstest"
	"time"

	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// sampleName is the plugin that every SDK has: it judges an event's value, and reads and
// writes one key of its store, which makes two host calls.
const sampleName = "threshold"

// The languages that an engine runs; those that are modules themselves are inGo and inRust.
const (
	inJavaScript = "JavaScript"
	inPython     = "Python"
)

// languages are what the rows L1 to L4 measure, the one beside which the others stand first.
var languages = []string{inGo, inRust, inJavaScript, inPython}

// sample is the plugin in one language as an agent has it.
type sample struct {
	language string
	module   []byte // metered; an engine's for a script
	script   []byte // of an engine
	args     []string
	mounts   []wasmhost.Mount
	library  int // bytes of the engine's libraries
}

// errNoEngine says that a language cannot be measured here.
var errNoEngine = errors.New("no engine: make engines")

// sample builds the plugin in a language, once a row. The error has errNoEngine in its
// chain where the language's engine was never made.
func (b *bench) sample(language string) (*sample, error) {
	switch language {
	case inGo:
		out := b.path("threshold.wasm")
		err := b.goBuild("plugins/sdk/go", out, "./samples/"+sampleName, "GOWORK=off", "GOOS=wasip1", "GOARCH=wasm")
		if err != nil {
			return nil, err
		}
		return moduleSample(language, out)
	case inRust:
		return moduleSample(language, "wasmhost/testdata/rust/"+sampleName+".wasm")
	case inJavaScript:
		return b.scriptSample(language, "quickjs", "js/samples/"+sampleName+"/main.js")
	}
	return b.scriptSample(language, "cpython", "python/samples/"+sampleName+"/main.py")
}

func moduleSample(language, file string) (*sample, error) {
	plain, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	metered, err := build.Meter(plain)
	return &sample{language: language, module: metered}, err
}

// scriptSample builds a script as the hub does.
func (b *bench) scriptSample(language, engine, file string) (*sample, error) {
	with, err := build.FindEngine(engine)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoEngine, err)
	}
	text, err := os.ReadFile(filepath.Join("plugins/sdk", filepath.FromSlash(file)))
	if err != nil {
		return nil, err
	}
	builder, err := build.New(build.Config{CacheDir: b.path("builds"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	m := sampleManifest(language)
	got, err := builder.Build(b.ctx, build.Request{
		Tree:       memoryTree{fstest.MapFS{filepath.Base(file): &fstest.MapFile{Data: text, Mode: 0o644}}},
		TreeDigest: protocol.DigestOf(text), Manifest: &m,
	})
	if err != nil {
		return nil, err
	}
	s := &sample{language: language, script: got.Outputs[0].Bytes, args: with.Args}
	for _, l := range with.Libraries {
		s.library += len(l.Bytes)
	}
	if s.mounts, err = with.Mounts(s.script); err != nil {
		return nil, err
	}
	s.module, err = build.Meter(with.Module)
	return s, err
}

// memoryTree is a source in memory.
type memoryTree struct{ fs.FS }

// WriteTo writes the source into a folder.
func (t memoryTree) WriteTo(dir string) error { return os.CopyFS(dir, t.FS) }

func sampleManifest(language string) protocol.Manifest {
	m := protocol.Manifest{
		Plugin: protocol.PluginInfo{
			Name: sampleName, Version: "1.0.0", Type: protocol.Action, Description: "x",
		},
		Limits: guestLimits(),
	}
	m.Permissions.System = []string{string(protocol.CapKV)}
	m.Runtime.Language = map[string]string{
		inGo: "go", inRust: "rust", inJavaScript: "javascript", inPython: "python",
	}[language]
	return m
}

// load loads the sample, without an instance yet.
func (s *sample) load(b *bench, host *wasmhost.Host) (*wasmhost.Plugin, error) {
	step := protocol.Step{
		Name: sampleName, Limits: guestLimits(), Grants: []protocol.Grant{{Capability: protocol.CapKV}},
		Config: protocol.MustMarshal(map[string]float64{"max": 80}),
	}
	return host.Load(b.ctx, wasmhost.Spec{
		Manifest: sampleManifest(s.language), Wasm: s.module, Digest: protocol.DigestOf(s.module),
		Step: step, Workflow: benchWorkflow, Args: s.args, Mounts: s.mounts,
	})
}

// sampleHost is an agent's host for plugins, on the compiler or on the interpreter.
func (b *bench) sampleHost(interpreted bool) (*wasmhost.Host, error) {
	return wasmhost.New(b.ctx, wasmhost.Config{CacheDir: b.path("code"), Interpreter: interpreted})
}

// call has the sample judge an event of 200 bytes.
func (b *bench) call(p *wasmhost.Plugin) error {
	data, err := wasmhost.FromJSON([]byte(event200))
	if err != nil {
		return err
	}
	now := protocol.Stamp{UnixMS: time.Now().UnixMilli(), Quality: protocol.QualityClock}
	event := &protocol.Event{Workflow: benchWorkflow, Revision: 1, Time: now, Data: data}
	a := p.Call(b.ctx, wasmhost.Request{Kind: wasmhost.Run, Now: now, Event: event, Key: "key"})
	if a.Error != nil {
		return a.Error
	}
	return nil
}

var _ build.Tree = memoryTree{}
