//go:build linux && (amd64 || arm64 || riscv64)

package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
	"github.com/stavily/stavily/wasmhost/native"
)

func TestMain(m *testing.M) {
	if isJail(os.Args) {
		os.Exit(beJail())
	}
	os.Exit(m.Run())
}

// --native gives an agent a host for native plugins that starts its own program, and
// tells the log of each plugin how it is confined.
func TestNative(t *testing.T) {
	o, err := parseOptions("run", []string{"--native"})
	if err != nil || !o.native || o.nativeNeed != "namespaces,seccomp" {
		t.Fatalf("--native: %v, %+v", err, o)
	}
	program := filepath.Join(t.TempDir(), "guest")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w -X main.name=work -X main.kind=action",
		"-o", program, "../testdata/guest")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	artifact, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	engine, err := wasmhost.New(ctx, wasmhost.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close(ctx)
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))
	n, err := newNative(ctx, &house{state: t.TempDir(), log: log, engine: engine})
	if err != nil {
		t.Fatal(err)
	}
	defer n.close(ctx)
	if !n.host.Layers().Of(native.LayerNamespaces).Enforced {
		t.Skipf("no jail here: %s", n.host.Layers())
	}
	if m := n.machine(); !slices.Contains(m.Layers, native.LayerNamespaces) || (*nativeHost)(nil).machine() != nil {
		t.Errorf("the machine says %+v", m)
	}
	p, err := n.loader()(ctx, wasmhost.Spec{
		Manifest: protocol.Manifest{
			Plugin: protocol.PluginInfo{Name: "work", Version: "1.0.0", Type: protocol.Action}, Sandbox: true,
		},
		Wasm: artifact, Digest: protocol.DigestOf(artifact),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(ctx)
	data := protocol.MustMarshal(map[string]int{"n": 21})
	a := p.Call(ctx, wasmhost.Request{Kind: wasmhost.Run, Event: &protocol.Event{Data: data}})
	if want := protocol.MustMarshal(map[string]int{"double": 42}); a.Error != nil || !bytes.Equal(a.Data, want) {
		t.Errorf("answered %+v", a)
	}
	for _, field := range []string{"execution_limits.max_memory_mb", "allowed_system_calls", "landlock"} {
		if !strings.Contains(said.String(), "plugin=work@1.0.0 field="+field+" enforced=") {
			t.Errorf("the log does not tell of %s:\n%s", field, &said)
		}
	}
	if (*nativeHost)(nil).loader() != nil {
		t.Error("an agent without --native loads native plugins")
	}
}
