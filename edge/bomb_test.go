//go:build linux && (amd64 || arm64)

package edge_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/edge/storetest"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
	"github.com/stavily/stavily/wasmhost/meter"
)

// TestMain compiles a module when an agent of a test starts this program for that.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == wasmhost.CompileCommand {
		os.Exit(wasmhost.CompileChild(os.Args[2:], os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// returns is a module whose shape is within all limits and which holds the compiler for long.
func returns(functions, each int) []byte {
	section := func(id byte, b []byte) []byte {
		return append(binary.AppendUvarint([]byte{id}, uint64(len(b))), b...)
	}
	code := bytes.Repeat([]byte{0x20, 0, 0x04, 0x40, 0x0f, 0x0b}, each) // local.get, if, return, end
	body := slices.Concat([]byte{1, 1, 0x7f}, code, []byte{0x0b})
	body = append(binary.AppendUvarint(nil, uint64(len(body))), body...)
	export := append([]byte{2, 6}, "memory\x02\x00\x06_start\x00\x00"...)
	return slices.Concat([]byte("\x00asm\x01\x00\x00\x00"), section(1, []byte{1, 0x60, 0, 0}),
		section(3, append([]byte{byte(functions)}, make([]byte, functions)...)), section(5, []byte{1, 0, 1}),
		section(7, export), section(10, append([]byte{byte(functions)}, bytes.Repeat(body, functions)...)))
}

// A module of less than 2 MiB that its shape admits and that takes long to compile is refused by
// the agent's host when it has had what such a module may have, which is 2 s of a processor of the
// reference, and a plugin beside it is answered meanwhile as before. F9.
func TestHostRefusesBombs(t *testing.T) {
	if testing.Short() || raceDetector() {
		t.Skip("compiles for seconds, in a process whose memory is bounded")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	engine, err := wasmhost.New(ctx, wasmhost.Config{CacheDir: t.TempDir(), Compile: wasmhost.Compile{
		Command: []string{self, wasmhost.CompileCommand}, Wall: 10 * time.Minute, // of a busy machine
	}})
	if err != nil {
		t.Fatal(err)
	}
	store, loaded, answered := storetest.NewMemory(), make(chan edge.Answered, 2), make(chan edge.Answered, 1)
	host := edge.NewHost(ctx, edge.HostConfig{Engine: engine, Store: store, Answered: func(a edge.Answered) {
		if a.ID == 0 {
			answered <- a
		} else {
			loaded <- a
		}
	}})
	defer engine.Close(context.WithoutCancel(ctx))
	defer host.Wait()
	defer cancel()

	good := edge.Instance{Workflow: "w", Step: "good"}
	host.Start(edge.Call{ID: 1, Instance: good, Load: loadOf(t, store, rust(t, "action"))})
	if a := <-loaded; a.Answer.Error != nil {
		t.Fatal(a.Answer.Error)
	}
	pace := time.NewTicker(3 * time.Millisecond)
	defer pace.Stop()
	ask := func() time.Duration {
		<-pace.C
		began := time.Now()
		event := &protocol.Event{Data: protocol.MustMarshal(map[string]any{"metric": "x", "value": 81.5})}
		host.Start(edge.Call{Instance: good, Request: &wasmhost.Request{Kind: wasmhost.Run, Event: event}})
		if a := <-answered; a.Answer.Error != nil {
			t.Fatal(a.Answer.Error)
		}
		return time.Since(began)
	}
	var alone, beside []time.Duration
	for range 60 {
		alone = append(alone, ask())
	}
	before, began := childTime(t), time.Now()
	host.Start(edge.Call{ID: 2, Instance: edge.Instance{Workflow: "w", Step: "bomb"}, Load: loadOf(t, store, metered(t, returns(7, 40_000)))})
	for len(loaded) == 0 {
		beside = append(beside, ask())
	}
	refused, took, used := (<-loaded).Answer.Error, time.Since(began), childTime(t)-before
	var bound float64
	if refused == nil || refused.Code != protocol.CodeLimit {
		t.Fatalf("the bomb: %v, want %s", refused, protocol.CodeLimit)
	}
	if _, err := fmt.Sscanf(refused.Text[strings.Index(refused.Text, "than"):], "than %f s of a processor", &bound); err != nil {
		t.Fatalf("the bomb: %v, want that it names the time of a processor", refused)
	}
	if most := time.Duration(bound*float64(time.Second)) + 300*time.Millisecond; used > most {
		t.Errorf("it had %v of a processor, want %v at most", used, most)
	}
	slices.Sort(alone)
	slices.Sort(beside)
	was, is := alone[len(alone)/2], beside[len(beside)/2]
	t.Logf("refused after %v, %v of a processor: %v; %d calls beside it took %v, %v alone", took, used, refused, len(beside), is, was)
	if is > 5*was+time.Millisecond {
		t.Errorf("a call beside it took %v, %v alone", is, was)
	}
}

// loadOf puts a module into the store and returns how an action of it is loaded.
func loadOf(t *testing.T, store edge.Store, wasm []byte) *edge.Load {
	t.Helper()
	if len(wasm) > 2<<20 {
		t.Fatalf("a module of %d bytes, want 2 MiB at most", len(wasm))
	}
	art := protocol.Artifact{Platform: protocol.PlatformWASM, Digest: protocol.DigestOf(wasm), Size: int64(len(wasm))}
	for i := range protocol.ChunkCount(art.Size) {
		chunk := wasm[int(i)*protocol.ChunkSize : min(len(wasm), int(i+1)*protocol.ChunkSize)]
		if err := store.AddChunk(art.Digest, i, art.Size, chunk); err != nil {
			t.Fatal(err)
		}
	}
	return &edge.Load{Artifact: art, Manifest: protocol.Manifest{
		Plugin: protocol.PluginInfo{Name: "action", Version: "1.0.0", Type: protocol.Action},
	}}
}

// childTime returns what processes that this one waited for had of a processor.
func childTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// rust returns a plugin of wasmhost's tests, metered.
func rust(t *testing.T, name string) []byte {
	t.Helper()
	plain, err := os.ReadFile("../wasmhost/testdata/rust/" + name + ".wasm")
	if err != nil {
		t.Fatal(err)
	}
	return metered(t, plain)
}

func metered(t *testing.T, plain []byte) []byte {
	t.Helper()
	wasm, err := meter.Instrument(plain)
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}
