package meter

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

const requests = `{"words":["fan-12","pump-7","fan-12","valve"],"nums":[1.5,-2.25,1e9,0.1],"turns":200}
{"words":[],"nums":[],"turns":0}
{"words":["ä","β","z-1"],"nums":[3,4,5],"turns":20}
`

// conversation is what can be seen of a guest from outside.
type conversation struct {
	stdout, stderr string
	exit           uint32
	end            string
}

// talk runs a WASI command to its end.
func talk(t testing.TB, config wazero.RuntimeConfig, wasm []byte, args ...string) conversation {
	t.Helper()
	ctx := context.Background()
	w := newWorld(t, config, 1<<50, 10_000_000)
	wasi_snapshot_preview1.MustInstantiate(ctx, w.rt)
	var stdout, stderr bytes.Buffer
	c := wazero.NewModuleConfig().WithName("").WithStdin(strings.NewReader(requests)).WithStdout(&stdout).
		WithStderr(&stderr).WithArgs(append([]string{"guest"}, args...)...)
	_, err := w.rt.InstantiateWithConfig(ctx, wasm, c)
	return conversation{stdout.String(), stderr.String(), exitCode(err), firstLine(err)}
}

// A real guest answers the same, metered and not, in both engines.
func TestGoGuestAnswersTheSame(t *testing.T) {
	plain := buildGo(t)
	metered := mustInstrument(t, plain)
	validate(t, metered)
	if err := Check(metered); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes, metered %d", len(plain), len(metered))
	for name, config := range engines() {
		want, got := talk(t, config, plain), talk(t, config, metered)
		if strings.Count(want.stdout, `"depth":2584`) != 3 {
			t.Fatalf("%s: guest did not do its work: %+v", name, want)
		}
		if got != want {
			t.Errorf("%s: plain %+v, metered %+v", name, want, got)
		}
	}
}

// corpus gives programs of other compilers, as wazero keeps them for its own tests.
func corpus(t testing.TB) map[string][]byte {
	t.Helper()
	root := wazeroDir(t)
	out := map[string][]byte{}
	for _, path := range []string{
		"imports/wasi_snapshot_preview1/testdata/cargo-wasi/wasi.wasm",
		"imports/wasi_snapshot_preview1/testdata/tinygo/wasi.wasm",
		"imports/wasi_snapshot_preview1/testdata/zig-cc/wasi.wasm",
		"examples/cli/testdata/cli.wasm",
		"internal/integration_test/bench/testdata/case.wasm",
	} {
		b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(path)))
		if err != nil {
			t.Fatal(err)
		}
		out[path] = b
	}
	return out
}

// Programs of Rust, TinyGo and C behave the same and are admitted.
func TestOtherCompilers(t *testing.T) {
	for path, plain := range corpus(t) {
		metered := mustInstrument(t, plain)
		validate(t, metered)
		if err := Check(metered); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		info, err := Inspect(metered)
		if err != nil {
			t.Fatal(err)
		}
		limits := DefaultLimits()
		limits.Imports = append(limits.Imports, "env.get_random_string", "wasi_snapshot_preview1.sock_accept",
			"wasi_snapshot_preview1.sock_recv", "wasi_snapshot_preview1.sock_shutdown")
		if err := Admit(info, limits); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if strings.Contains(path, "bench") {
			continue // its imports are not those of a command
		}
		for name, config := range engines() {
			want, got := talk(t, config, plain, "ls"), talk(t, config, metered, "ls")
			if got != want {
				t.Errorf("%s, %s: plain %+v, metered %+v", path, name, want, got)
			}
		}
	}
}

func BenchmarkInstrument(b *testing.B) {
	wasm := buildGo(b)
	b.SetBytes(int64(len(wasm)))
	b.ReportAllocs()
	var out []byte
	for b.Loop() {
		out = mustInstrument(b, wasm)
	}
	b.ReportMetric(100*float64(len(out)-len(wasm))/float64(len(wasm)), "%growth")
}

func BenchmarkCheck(b *testing.B) {
	wasm := mustInstrument(b, buildGo(b))
	b.SetBytes(int64(len(wasm)))
	b.ReportAllocs()
	for b.Loop() {
		if err := Check(wasm); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMetered compares a tight loop and a recursion, the two worst cases, in the compiler.
func BenchmarkMetered(b *testing.B) {
	for _, c := range []struct {
		name string
		wasm []byte
		arg  uint64
	}{{"loop", count(), 10_000_000}, {"fib", fib(), 28}} {
		for _, metered := range []bool{false, true} {
			name, wasm := c.name+"/plain", c.wasm
			if metered {
				name, wasm = c.name+"/metered", mustInstrument(b, c.wasm)
			}
			b.Run(name, func(b *testing.B) {
				f := newWorld(b, engines()["compiler"], 1<<60, 10_000_000).load(wasm).ExportedFunction("run")
				for b.Loop() {
					if _, err := f.Call(context.Background(), c.arg); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkGuestCall is one question and answer with the Go guest over pipes, warm.
func BenchmarkGuestCall(b *testing.B) {
	plain := buildGo(b)
	for _, metered := range []bool{false, true} {
		name, wasm := "plain", plain
		if metered {
			name, wasm = "metered", mustInstrument(b, plain)
		}
		b.Run(name, func(b *testing.B) { askGuest(b, wasm) })
	}
}

func askGuest(b *testing.B, wasm []byte) {
	ctx := context.Background()
	w := newWorld(b, engines()["compiler"], 1<<60, 10_000_000)
	wasi_snapshot_preview1.MustInstantiate(ctx, w.rt)
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c := wazero.NewModuleConfig().WithStdin(inR).WithStdout(outW).WithStderr(os.Stderr)
		_, _ = w.rt.InstantiateWithConfig(ctx, wasm, c)
		_ = outW.Close()
	}()
	question, _, _ := strings.Cut(requests, "\n")
	buf := make([]byte, 64<<10)
	ask := func() {
		if _, err := io.WriteString(inW, question+"\n"); err != nil {
			b.Fatal(err)
		}
		if n, err := outR.Read(buf); err != nil || buf[n-1] != '\n' {
			b.Fatal(err, n)
		}
	}
	ask()
	for b.Loop() {
		ask()
	}
	_ = inW.Close()
	<-ended
}
