//go:build linux && (amd64 || arm64 || riscv64)

package native

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// builtDir is where the programs of the tests are built to, once for a run.
var builtDir string

func TestMain(m *testing.M) {
	if IsChild(os.Args) {
		os.Exit(Child())
	}
	if len(os.Args) == 3 && os.Args[1] == "jail-a-program" {
		os.Exit(jailProgram(os.Args[2]))
	}
	if len(os.Args) == 3 && os.Args[1] == "be-an-agent" {
		os.Exit(beAgent(os.Args[2]))
	}
	dir, err := os.MkdirTemp("", "native-tests")
	if err != nil {
		panic(err)
	}
	builtDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

var builds sync.Map // source -> func() (string, error)

type source struct{ dir, pkg, flags string }

// build returns the file of a program that is built once.
func build(t testing.TB, s source) string {
	t.Helper()
	f, _ := builds.LoadOrStore(s, sync.OnceValues(func() (string, error) {
		out := filepath.Join(builtDir, protocol.DigestOf(fmt.Append(nil, s)).Short())
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w "+s.flags, "-o", out, s.pkg)
		cmd.Dir, cmd.Env = s.dir, append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %v: %w\n%s", s, err, text)
		}
		return out, nil
	}))
	once, _ := f.(func() (string, error))
	file, err := once()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// probe returns the program of testdata/probe.
func probe(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile(build(t, source{".", "./testdata/probe", ""}))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newHost(t testing.TB, cfg Config) *Host {
	t.Helper()
	ctx := context.Background()
	calls, err := wasmhost.New(ctx, wasmhost.Config{})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Calls, cfg.Dir = calls, filepath.Join(t.TempDir(), "native")
	h, err := New(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(ctx); err != nil {
			t.Error(err)
		}
		_ = calls.Close(ctx)
	})
	return h
}

// action is the manifest of the probe.
func action() protocol.Manifest {
	return protocol.Manifest{
		Plugin:  protocol.PluginInfo{Name: "probe", Version: "1.0.0", Type: protocol.Action},
		Sandbox: true, Limits: protocol.Limits{CPUCores: 1, Seconds: 10},
	}
}

func spec(m protocol.Manifest, artifact []byte) wasmhost.Spec {
	return wasmhost.Spec{Manifest: m, Wasm: artifact, Digest: protocol.DigestOf(artifact), Workflow: "w"}
}

func load(t testing.TB, h *Host, m protocol.Manifest, artifact []byte) *Plugin {
	t.Helper()
	p, err := h.Load(context.Background(), spec(m, artifact))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(context.Background()) })
	return p
}

// ask asks the probe to do something.
func ask(p *Plugin, do, text string, n int) wasmhost.Answer {
	data := protocol.MustMarshal(map[string]any{"do": do, "text": text, "n": n})
	return p.Call(context.Background(), wasmhost.Request{Kind: wasmhost.Run, Event: &protocol.Event{Data: data}})
}

// tell is ask for an answer that must come.
func tell(t testing.TB, p *Plugin, do, text string, n int) string {
	t.Helper()
	a := ask(p, do, text, n)
	if a.Error != nil {
		t.Fatalf("%s: %v", do, a.Error)
	}
	var said string
	if err := protocol.Unmarshal(a.Data, &said); err != nil {
		t.Fatal(err)
	}
	return said
}

// jailProgram is a command that runs a program in a jail, with this process's streams.
func jailProgram(file string) int {
	ctx := context.Background()
	artifact, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "native-jail")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	calls, err := wasmhost.New(ctx, wasmhost.Config{})
	if err != nil {
		panic(err)
	}
	h, err := New(ctx, Config{Calls: calls, Dir: filepath.Join(dir, "native")})
	if err != nil {
		panic(err)
	}
	defer h.Close(ctx)
	m := action()
	var proc *process
	s := spec(m, artifact)
	_, err = calls.LoadIn(ctx, s, func(desk *wasmhost.Desk) (wasmhost.Room, error) {
		r := &room{host: h, manifest: m}
		if err := r.furnish(desk, &s); err != nil {
			panic(err)
		}
		if proc, err = h.launch(ctx, r.plan, desk, os.Stderr); err != nil {
			panic(err)
		}
		return nil, errOurs
	})
	if !errors.Is(err, errOurs) {
		panic(err)
	}
	go func() {
		_, _ = io.Copy(proc, os.Stdin)
		proc.stdin.Close()
	}()
	_, _ = io.Copy(os.Stdout, proc)
	<-proc.done
	proc.Free()
	return proc.cmd.ProcessState.ExitCode()
}

// errOurs says that no plugin is to be loaded: the process is spoken to by somebody else.
var errOurs = errors.New("ours")

// beAgent loads the probe of file, says which process it is, and waits to be killed.
func beAgent(file string) int {
	ctx := context.Background()
	artifact, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	calls, err := wasmhost.New(ctx, wasmhost.Config{})
	if err != nil {
		panic(err)
	}
	h, err := New(ctx, Config{Calls: calls, Dir: filepath.Join(filepath.Dir(file), "agent")})
	if err != nil {
		panic(err)
	}
	p, err := h.Load(ctx, spec(action(), artifact))
	if err != nil {
		panic(err)
	}
	fmt.Println(p.room.last.Load().cmd.Process.Pid)
	ask(p, "sleep", "", 0)
	return 0
}
