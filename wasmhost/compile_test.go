//go:build linux && (amd64 || arm64)

package wasmhost

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost/meter"
)

// bombs are valid modules that hold the compiler for longer than anyone would wait, if
// nobody limits their shape: F9.
func bombs() map[string][]byte {
	ends := func(n int) []byte { return bytes.Repeat([]byte{0x0b}, n) }
	const nest, blocks, ifs = 300, 60_000, 60_000
	var loops []byte
	put := func(code []byte, index int) {
		loops = binary.AppendUvarint(append(loops, code...), uint64(index))
	}
	add := func(to int) { // local.get, i64.const 1, i64.add, local.set
		put([]byte{0x20}, (to+1)%nest)
		put([]byte{0x42, 1, 0x7c, 0x21}, to)
	}
	for i := range nest {
		loops = append(loops, 0x03, 0x40)
		add(i)
	}
	for i := range nest { // local.get, i32.wrap_i64, br_if 0, end
		add(nest - 1 - i)
		put([]byte{0x20}, i)
		loops = append(loops, 0xa7, 0x0d, 0, 0x0b)
	}
	return map[string][]byte{
		"loops over locals": tiny{pages: 1, locals: nest, body: loops}.wasm(),
		"nested blocks":     tiny{pages: 1, body: append(bytes.Repeat([]byte{0x02, 0x40}, blocks), ends(blocks)...)}.wasm(),
		"nested ifs":        tiny{pages: 1, body: append(bytes.Repeat([]byte{0x41, 0, 0x04, 0x40}, ifs), ends(ifs)...)}.wasm(),
	}
}

// TestBombsAreKilled: whatever a module does to the compiler, it is refused within the
// bound, and who works beside it is answered as before. F9.
func TestBombsAreKilled(t *testing.T) {
	h := newHost(t, Config{CacheDir: t.TempDir(), Compile: Compile{
		Command: compileCommand(t), Seconds: 1, Wall: 10 * time.Minute, // of a busy machine
	}})
	p := load(t, newHost(t, Config{}), specOf("cborprobe", guest(t, "cborprobe")))
	before := latencies(t, p, closedAfter(200*time.Millisecond))
	for name, wasm := range bombs() {
		if testing.Short() && name != "loops over locals" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			metered, err := meter.Instrument(wasm)
			must(t, err)
			if _, err := Verify(metered, &protocol.Manifest{}); protocol.CodeOf(err) != protocol.CodeUnverified {
				t.Errorf("limits on its shape: %v, want it refused", err)
			}
			refused := make(chan struct{})
			began := time.Now()
			go func() {
				defer close(refused)
				_, err = h.acquire(context.Background(), protocol.DigestOf(metered), metered, true)
			}()
			during := latencies(t, p, refused)
			took := time.Since(began)
			if protocol.CodeOf(err) != protocol.CodeLimit {
				t.Errorf("got %v, want %s", err, protocol.CodeLimit)
			}
			t.Logf("%d bytes: %v after %v; a call beside it %v (%v alone), 99 of 100 within %v (%v)", len(metered), err, took,
				quantile(during, 0.5), quantile(before, 0.5), quantile(during, 0.99), quantile(before, 0.99))
			if got, alone := quantile(during, 0.5), quantile(before, 0.5); got > 5*alone+time.Millisecond {
				t.Errorf("a call beside it takes %v, %v alone", got, alone)
			}
		})
	}
}

// TestTimeGrowsWithTheModule: a small module cannot have the time of a large one, and the real ones
// have twice of what they were seen to take on the machine of RATIONALE.md, or near it.
func TestTimeGrowsWithTheModule(t *testing.T) {
	for _, c := range []struct {
		size  int
		takes time.Duration // what a real module of that size was seen to take; 0: none
		want  time.Duration
	}{
		{0, 0, 800 * time.Millisecond},
		{140_000, 180 * time.Millisecond, 880 * time.Millisecond},
		{525_423, 450 * time.Millisecond, 1100 * time.Millisecond},
		{2 << 20, 0, 2 * time.Second},
		{3_644_482, 2700 * time.Millisecond, 4950 * time.Millisecond},
		{6_426_218, 3500 * time.Millisecond, 10260 * time.Millisecond},
	} {
		got, memoryMB, wall := new(Compile).room(c.size)
		if got.Round(10*time.Millisecond) != c.want || 10*got < 18*c.takes {
			t.Errorf("%d bytes: %v, want %v, and more than %v", c.size, got, c.want, c.takes)
		}
		if memoryMB < memorySmall || wall < 20*time.Second || wall < 10*got {
			t.Errorf("%d bytes: %d MB, %v by the clock", c.size, memoryMB, wall)
		}
	}
}

// latencies calls p every few milliseconds until done and returns how long each call
// took, in ascending order.
func latencies(t *testing.T, p *Plugin, done <-chan struct{}) (out []time.Duration) {
	t.Helper()
	r := work(t, event200)
	pace := time.NewTicker(3 * time.Millisecond)
	defer pace.Stop()
	for {
		began := time.Now()
		if a := p.Call(context.Background(), r); a.Error != nil {
			t.Error(a.Error)
			return out
		}
		out = append(out, time.Since(began))
		select {
		case <-done:
			slices.Sort(out)
			return out
		case <-pace.C:
		}
	}
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[int(q*float64(len(sorted)-1))]
}

func closedAfter(d time.Duration) <-chan struct{} {
	done := make(chan struct{})
	time.AfterFunc(d, func() { close(done) })
	return done
}

// TestChildRefuses: what a child says of a module reaches who asked for it.
func TestChildRefuses(t *testing.T) {
	half := tiny{pages: 1}.wasm()[:30]
	ifs := bombs()["nested ifs"]
	self := compileCommand(t)
	for name, c := range map[string]struct {
		wasm  []byte
		bound Compile
		code  protocol.Code
		text  string
	}{
		"half a module": {half, Compile{Command: self}, protocol.CodeUnverified, "section"},
		"invalid":       {tiny{pages: 1, body: []byte{0x6a}}.wasm(), Compile{Command: self}, protocol.CodeUnverified, "invalid function[0]"},
		"memory":        {ifs, Compile{Command: self, MemoryMB: 1}, protocol.CodeLimit, "more than 1 MB"},
		"no program":    {half, Compile{Command: []string{"/no/such/program"}}, protocol.CodeUnverified, "section"},
		"other program": {half, Compile{Command: []string{"/bin/false"}}, protocol.CodeLimit, "exit status 1"},
	} {
		for _, interpreter := range []bool{false, true} {
			if interpreter && name == "memory" {
				continue // it takes that module with less
			}
			h := newHost(t, Config{CacheDir: t.TempDir(), Compile: c.bound, Interpreter: interpreter})
			_, err := h.acquire(context.Background(), protocol.DigestOf(c.wasm), c.wasm, false)
			if protocol.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%s, interpreter %v: %v, want %s with %q", name, interpreter, err, c.code, c.text)
			}
		}
	}
}

// tables is a function of many br_tables, each of whose labels the compiler keeps an edge for:
// 0.7 MB that make it ask for several hundred.
func tables() []byte {
	const blocks, each, labels = 100, 90, 4096
	body := bytes.Repeat([]byte{0x02, 0x40}, blocks)
	for range each { // block, local.get 0, i32.wrap_i64, br_table, end
		body = binary.AppendUvarint(append(body, 0x02, 0x40, 0x20, 0, 0xa7, 0x0e), labels)
		for l := range labels + 1 {
			body = append(body, byte(l%blocks))
		}
		body = append(body, 0x0b)
	}
	return tiny{pages: 1, locals: 1, body: append(body, bytes.Repeat([]byte{0x0b}, blocks)...)}.wasm()
}

// TestMemoryOfTheCompilerIsBounded: a module that makes the compiler ask for more than the
// child may have is refused by that bound and by no other, whatever limits its shape keeps. The
// agent has grown by none of it, and a good plugin is loaded and answers.
func TestMemoryOfTheCompilerIsBounded(t *testing.T) {
	const most = 32
	bounds := Compile{Command: compileCommand(t), Seconds: 60, MemoryMB: most, Wall: 10 * time.Minute}
	h := newHost(t, Config{CacheDir: t.TempDir(), Compile: bounds})
	bomb, err := meter.Instrument(tables())
	must(t, err)
	if _, err := Verify(bomb, &protocol.Manifest{}); protocol.CodeOf(err) != protocol.CodeUnverified {
		t.Errorf("limits on its shape: %v, want it refused", err)
	}
	before := heapInUse()
	_, err = h.acquire(context.Background(), protocol.DigestOf(bomb), bomb, true)
	if want := "needs more than 32 MB, the bound"; protocol.CodeOf(err) != protocol.CodeLimit ||
		!strings.Contains(err.Error(), want) {
		t.Fatalf("got %v, want %s with %q", err, protocol.CodeLimit, want)
	}
	if now := heapInUse(); now > before+8<<20 {
		t.Errorf("heap of %d MB, %d before", now>>20, before>>20)
	}
	if a := load(t, h, hostileSpec(t, "good", false)).Call(context.Background(), work(t, "1")); a.Error != nil {
		t.Errorf("the next plugin: %v", a.Error)
	}
}

// TestNoChildAtAll: where no child can be started a module is compiled here, and said so.
func TestNoChildAtAll(t *testing.T) {
	wasm := tiny{pages: 1}.wasm()
	var log strings.Builder
	h := newHost(t, Config{
		CacheDir: t.TempDir(), Compile: Compile{Command: []string{"/no/such/program"}},
		Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if _, err := h.acquire(context.Background(), protocol.DigestOf(wasm), wasm, false); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "no child can be started") || !strings.Contains(log.String(), "/no/such/program") {
		t.Errorf("log: %s", &log)
	}
	for _, passing := range []error{syscall.EAGAIN, syscall.ENOMEM} {
		if err := h.engine.childless(passing); protocol.CodeOf(err) != protocol.CodeUnavailable {
			t.Errorf("%v: %v", passing, err)
		}
	}
}

// TestChildIsToldWell: nothing but what a parent says is taken.
func TestChildIsToldWell(t *testing.T) {
	for _, args := range [][]string{
		nil, {"a"}, {"", "maybe", "false", "1", "1"}, {"", "true", "no?", "1", "1"}, {"", "true", "true", "", "1"},
	} {
		var said bytes.Buffer
		if code := CompileChild(args, strings.NewReader(""), &said); code != exitUsage || said.Len() == 0 {
			t.Errorf("%q: exit %d, said %q", args, code, said.String())
		}
	}
}

// TestCancelEndsTheChild: who no longer wants a module does not wait for it.
func TestCancelEndsTheChild(t *testing.T) {
	wasm := bombs()["loops over locals"]
	h := newHost(t, Config{CacheDir: t.TempDir(), Compile: Compile{Command: compileCommand(t), Wall: time.Minute}})
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := h.acquire(ctx, protocol.DigestOf(wasm), wasm, true)
	if protocol.CodeOf(err) != protocol.CodeUnavailable || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	if left, _ := filepath.Glob(filepath.Join(h.cfg.CacheDir, "wazero-*", "*")); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

// TestCommandCompilesInAChild: what runs once is held to the same bounds, and leaves
// nothing behind.
func TestCommandCompilesInAChild(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	bounds, children := counting(t)
	c := Command{Wasm: small(0), MemoryMB: 1, Compile: bounds}
	if _, err := RunCommand(context.Background(), c); err != nil || children() != 1 {
		t.Errorf("%v with %d children", err, children())
	}
	c.Compile = nobody
	if _, err := RunCommand(context.Background(), c); protocol.CodeOf(err) != protocol.CodeLimit {
		t.Errorf("without a compiler: %v", err)
	}
	if left, _ := os.ReadDir(os.Getenv("TMPDIR")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// TestProvenOnce: an interpreter keeps no code, and still a module starts one child only.
func TestProvenOnce(t *testing.T) {
	bounds, children := counting(t)
	kept := &verdicts{kept: map[protocol.Digest]Verdict{}}
	for range 2 { // starts of one agent
		h, err := New(context.Background(), Config{Compile: bounds, Interpreter: true, Verdicts: kept})
		must(t, err)
		for range 2 {
			p, err := h.Load(context.Background(), hostileSpec(t, "good", false))
			must(t, err)
			p.Close(context.Background())
		}
		must(t, h.Close(context.Background()))
	}
	if children() != 1 {
		t.Errorf("%d children, want 1", children())
	}
}
