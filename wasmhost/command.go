package wasmhost

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/experimental/sysfs"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost/meter"
)

// Command is a WASI command that runs once and is no plugin, such as a plugin's own
// tests at the hub.
type Command struct {
	Wasm      []byte   // not metered; RunCommand meters it
	Args      []string // the first is the program's own name
	Files     fs.FS    // read-only, at /; nil for none. No folder of the machine: os.DirFS follows links
	Dir       string   // the working directory in Files, such as "." or "tests"
	Scratch   string   // a folder of the machine that the command may write in, at /tmp; empty for none
	MemoryMB  uint32
	OutputMax int // bytes of stdout and stderr together that are kept
	// Interpreted is for what runs so short that compiling would take longer.
	Interpreted bool
	// Compile bounds the compiling. Zero: in this process, as long as it takes.
	Compile Compile
	// Ended, if set, is called once the command has ended, however it did, with what reads
	// its exported globals; ok is false for one that it does not have.
	Ended func(global func(name string) (value uint64, ok bool))
}

// RunCommand runs c in a room of its own until it ends, and returns what it wrote. The
// error has CodePlugin for an exit code other than 0, CodeDeadline when ctx ends first,
// CodeMemory, or what compiling and metering say.
func RunCommand(ctx context.Context, c Command) ([]byte, error) {
	metered, err := meter.Instrument(c.Wasm)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeUnverified, "meter: %w", err)
	}
	h, drop, err := c.host(ctx)
	if err != nil {
		return nil, err
	}
	defer drop()
	code, err := h.acquire(ctx, protocol.DigestOf(metered), metered, true)
	if err != nil {
		return nil, err
	}
	out := &output{left: c.OutputMax}
	in, err := startCommand(code, h, &c, out)
	if err != nil {
		return nil, err
	}
	select {
	case <-in.done:
	case <-ctx.Done():
		in.End(protocol.Errorf(protocol.CodeDeadline, "ended after its time: %w", ctx.Err()))
		<-in.done
	}
	if c.Ended != nil {
		c.Ended(in.global)
	}
	return out.bytes(), in.verdict()
}

// host makes a host for c alone. A child leaves the code in a folder that goes with it.
func (c *Command) host(ctx context.Context) (h *Host, drop func(), err error) {
	cfg := Config{Compile: c.Compile, wasi: engineWASI, Interpreter: c.Interpreted}
	if len(c.Compile.Command) > 0 {
		if cfg.CacheDir, err = os.MkdirTemp("", "stavily-compile"); err != nil {
			return nil, nil, protocol.Errorf(protocol.CodeStorage, "compile cache: %w", err)
		}
	}
	forget := func() {
		if cfg.CacheDir != "" {
			_ = os.RemoveAll(cfg.CacheDir)
		}
	}
	if h, err = New(ctx, cfg); err != nil {
		forget()
		return nil, nil, err
	}
	return h, func() {
		_ = h.Close(context.WithoutCancel(ctx))
		forget()
	}, nil
}

// engineWASI gives a runtime the engine's own WASI, which can write files.
func engineWASI(ctx context.Context, r wazero.Runtime) error {
	_, err := wasi_snapshot_preview1.Instantiate(ctx, r)
	return err
}

func startCommand(code *code, h *Host, c *Command, out *output) (*instance, error) {
	in := &instance{
		duplex: newDuplex(), clock: time.Now, memory: newMemory(uint64(c.MemoryMB)<<20, nil),
		done: make(chan struct{}),
	}
	in.Fate = NewFate(in.kill)
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), instanceKey{}, in))
	in.cancel = cancel
	cfg := in.config(h).WithArgs(c.Args...).WithStdin(bytes.NewReader(nil)).WithStdout(out).WithStderr(out).
		WithEnv("PWD", "/"+c.Dir)
	files, err := c.mounts()
	if err != nil {
		cancel()
		return nil, err
	}
	in.module, err = code.runtime.InstantiateModule(
		experimental.WithMemoryAllocator(ctx, in.memory), code.module, cfg.WithFSConfig(files))
	if err != nil {
		cancel()
		in.memory.Free()
		return nil, protocol.Errorf(protocol.CodeUnverified, "instantiate: %w", err)
	}
	in.tank = newTank(in.module, 0)
	in.tank.resume(in.clock())
	go in.run(ctx)
	return in, nil
}

// mounts is all that the command sees of files.
func (c *Command) mounts() (wazero.FSConfig, error) {
	cfg := wazero.NewFSConfig()
	if c.Files != nil {
		cfg = cfg.WithFSMount(c.Files, "/")
	}
	if c.Scratch == "" {
		return cfg, nil
	}
	own, ok := cfg.(sysfs.FSConfig)
	if !ok {
		return nil, protocol.Errorf(protocol.CodeInternal, "scratch: the engine takes no file system of ours")
	}
	s, err := openScratch(c.Scratch)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeStorage, "scratch: %w", err)
	}
	return own.WithSysFSMount(s, "/tmp"), nil
}

// global reads an exported global.
func (in *instance) global(name string) (value uint64, ok bool) {
	g := in.module.ExportedGlobal(name)
	if g == nil {
		return 0, false
	}
	return g.Get(), true
}

// verdict says how a command ended.
func (in *instance) verdict() error {
	var code *sys.ExitError
	switch {
	case in.ended():
		return in.Cause()
	case in.memory.denied.Load():
		return protocol.Errorf(protocol.CodeMemory, "wanted more memory than its limit")
	case in.exit == nil, errors.As(in.exit, &code) && code.ExitCode() == 0:
		return nil
	case code != nil:
		return protocol.Errorf(protocol.CodePlugin, "exit %d", code.ExitCode())
	default:
		return protocol.Errorf(protocol.CodePlugin, "%w", in.exit)
	}
}

// output keeps the first bytes that a command writes.
type output struct {
	mu   sync.Mutex // guards the fields below
	buf  bytes.Buffer
	left int
	lost bool // something did not fit
}

// Write takes everything and keeps what fits.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	keep := min(len(p), o.left)
	o.left -= keep
	o.lost = o.lost || keep < len(p)
	o.buf.Write(p[:keep])
	return len(p), nil
}

func (o *output) bytes() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Clone(o.buf.Bytes())
}

// text returns what was kept as UTF-8, and full whether there was more.
func (o *output) text() string { return strings.ToValidUTF8(string(o.bytes()), "?") }

func (o *output) full() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lost
}
