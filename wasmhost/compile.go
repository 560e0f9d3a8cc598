package wasmhost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/stavily/stavily/protocol"
)

// Compile bounds the compiling of modules. The engine's compiler can be made to work for
// minutes by a few kB of valid code and listens to nobody while it does, so a module that
// was never compiled before is compiled in a process that can be killed. See
// RATIONALE.md, "Why is a module compiled by a child?".
type Compile struct {
	// Command starts this program again so that its main calls CompileChild with the
	// arguments that are appended here. Empty: modules are compiled in this process.
	Command []string
	// Seconds bounds the time of a processor, on a machine like the one of RATIONALE.md, for
	// a module of 2 MiB: a small one gets two fifths of it, each MiB beyond 2 as much again,
	// a slower machine as much more as it is slower, up to eight times. 0 means 2.
	Seconds int
	// MemoryMB bounds the memory for a module of up to 2 MiB; each further MiB gets 48 MB
	// more. 0 means 256.
	MemoryMB int
	// Wall bounds the time that passes, for a machine that is too busy to say anything of a
	// module. 0 means ten times the time of a processor that a module of 2 MiB or more gets.
	Wall time.Duration
}

// CompileCommand is the name for a hidden subcommand that calls CompileChild.
const CompileCommand = "compile-module"

const (
	smallModule  = 2 << 20 // bytes; modules up to that get the same memory
	secondsSmall = 2
	memorySmall  = 256
	memoryPerMiB = 48 // MB, for each MiB of a larger module
	wallPerCPU   = 10
)

// room returns the bounds for a module of that size.
func (c *Compile) room(size int) (used time.Duration, memoryMB int, wall time.Duration) {
	full, memoryMB, wall := time.Duration(c.Seconds)*time.Second, c.MemoryMB, c.Wall
	if full <= 0 {
		full = secondsSmall * time.Second
	}
	if memoryMB <= 0 {
		memoryMB = memorySmall
	}
	small, more := min(size, smallModule), max(0, size-smallModule)
	memoryMB += (memoryPerMiB * more) >> 20
	used = full*2/5 + time.Duration(int64(full)*3/5*int64(small)/smallModule)
	rest := time.Duration(int64(full) * int64(more) >> 20)
	if wall <= 0 {
		wall = (full + rest) * wallPerCPU
	}
	return used + rest, memoryMB, wall
}

// compile compiles a module that is not on the shelf and puts it there. The caller has
// the engine's turn. Errors: CodeUnverified when the compiler refuses it, CodeLimit when
// the bounds did not suffice.
func (e *engine) compile(ctx context.Context, m module, r wazero.Runtime) (wazero.CompiledModule, error) {
	put, err := e.shelf.clear(m.digest)
	if err != nil {
		return nil, err
	}
	defer put.close()
	// Another process may have compiled it while this one waited.
	if done, err := e.shelf.take(ctx, m.digest, r, m.wasm); done != nil || err != nil {
		return done, err
	}
	put.sweep()
	if len(e.bounds.Command) > 0 && (e.shelf != nil || !m.proven) {
		if err := e.delegate(ctx, m); err != nil {
			return nil, err
		}
	}
	done, err := translate(ctx, r, m.wasm)
	if err != nil {
		return nil, err
	}
	put.keep(ctx, e.config(m.metered), m.wasm)
	return done, nil
}

// delegate has a child compile a module onto the shelf. Without a shelf, or with an
// engine that leaves nothing there, this only shows that compiling it does no harm.
func (e *engine) delegate(ctx context.Context, m module) error {
	used, memoryMB, wall := e.bounds.room(len(m.wasm))
	inner, stop := context.WithTimeout(ctx, wall)
	defer stop()
	args := childArgs{
		dir: e.shelf.root(), metered: m.metered, interpreter: e.interpreter,
		used: used, memoryMB: memoryMB,
	}
	cmd := exec.CommandContext(inner, e.bounds.Command[0], slices.Concat(e.bounds.Command[1:], args.list())...)
	var said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(m.wasm), &short{to: &said}, &short{to: &said}
	cmd.Env, cmd.Dir, cmd.WaitDelay = []string{}, "/", time.Second
	if err := confine(cmd); err != nil {
		return protocol.Errorf(protocol.CodeInternal, "compile: child: %w", err)
	}
	err := cmd.Start()
	if err != nil {
		return e.childless(err)
	}
	err = cmd.Wait()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return Cancelled(ctx)
	case inner.Err() != nil:
		return protocol.Errorf(protocol.CodeUnavailable, "compile: machine too busy: not done after %d s",
			wall/time.Second)
	}
	return childError(err, said.String(), memoryMB)
}

// childless takes that no child could be started. A machine that is short of something
// has it again later. One that starts none at all, such as an emulated one, compiles here:
// the shape of the module was admitted, and a device must not lose its plugins over that.
func (e *engine) childless(err error) error {
	for _, passing := range []error{syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, passing) {
			return protocol.Errorf(protocol.CodeUnavailable, "compile: child: %w", err)
		}
	}
	e.log.Warn("no child can be started: compiling in this process", slog.String("error", err.Error()))
	return nil
}

// childError says why a child ended with err and these words.
func childError(err error, said string, memoryMB int) error {
	var exit *exec.ExitError
	switch {
	case !errors.As(err, &exit):
		return protocol.Errorf(protocol.CodeInternal, "compile: child: %w", err)
	case exit.ExitCode() == exitRefused:
		return protocol.Errorf(protocol.CodeUnverified, "compile: %s", clip(strings.TrimSpace(said), 400))
	case exit.ExitCode() == exitSlow:
		return protocol.Errorf(protocol.CodeLimit, "compile: %s", strings.TrimSpace(said))
	case exit.ExitCode() == exitStorage:
		return protocol.Errorf(protocol.CodeStorage, "compile: %s", clip(strings.TrimSpace(said), 400))
	case outOfMemory(said):
		return protocol.Errorf(protocol.CodeLimit, "compile: needs more than %d MB, the bound", memoryMB)
	}
	first, _, _ := strings.Cut(said, "\n")
	return protocol.Errorf(protocol.CodeLimit, "compile: child ended: %w: %s", err, clip(first, 200))
}

// outOfMemory recognises the last words of a Go program that got no memory.
func outOfMemory(said string) bool {
	for _, words := range []string{
		"out of memory", "cannot allocate memory", "cannot map pages", "pthread_create failed", "newosproc",
	} {
		if strings.Contains(said, words) {
			return true
		}
	}
	return false
}

// short keeps the beginning of what is written.
type short struct{ to *bytes.Buffer }

// Write never fails.
func (s *short) Write(p []byte) (int, error) {
	s.to.Write(p[:min(len(p), max(0, 2048-s.to.Len()))])
	return len(p), nil
}

// childArgs are what a child is told on its command line.
type childArgs struct {
	dir                  string // of the shelf; empty for none
	metered, interpreter bool
	used                 time.Duration // of a processor; told in milliseconds
	memoryMB             int
}

func (a *childArgs) list() []string {
	return []string{
		a.dir, strconv.FormatBool(a.metered), strconv.FormatBool(a.interpreter),
		strconv.FormatInt(a.used.Milliseconds(), 10), strconv.Itoa(a.memoryMB),
	}
}

// parse reads what list wrote.
func (a *childArgs) parse(args []string) (err error) {
	if len(args) != 5 {
		return fmt.Errorf("%d arguments, want 5", len(args))
	}
	a.dir = args[0]
	for i, to := range []*bool{&a.metered, &a.interpreter} {
		if *to, err = strconv.ParseBool(args[1+i]); err != nil {
			return err
		}
	}
	ms, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	a.used = time.Duration(ms) * time.Millisecond
	a.memoryMB, err = strconv.Atoi(args[4])
	return err
}
