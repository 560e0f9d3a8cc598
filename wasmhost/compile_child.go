package wasmhost

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/stavily/stavily/protocol"
)

// The exit codes of a child, besides 0 and those of a crash.
const (
	exitRefused = 10 // the module is none, or the compiler does not take it
	exitStorage = 11 // the code could not be kept
	exitUsage   = 12
	exitSlow    = 13 // the time was up
)

// CompileChild is all that a process does which was started by Compile.Command: it takes
// its bounds and the place for the code from args, the arguments after those of Command,
// reads a module from in, compiles it onto the shelf and says on out what it does not like.
// It returns the exit code and expects the process to end with it.
func CompileChild(args []string, in io.Reader, out io.Writer) int {
	var a childArgs
	if err := a.parse(args); err != nil {
		fmt.Fprintln(out, err)
		return exitUsage
	}
	// Two bounds: the collector works harder towards the first, the system ends it at the second.
	debug.SetMemoryLimit(int64(a.memoryMB) << 20)
	if err := limitSelf(a.used, a.memoryMB, out); err != nil {
		fmt.Fprintln(out, err)
		return exitUsage
	}
	wasm, err := io.ReadAll(io.LimitReader(in, protocol.ArtifactMax+1))
	if err != nil {
		fmt.Fprintln(out, err)
		return exitUsage
	}
	return a.compile(wasm, out)
}

// compile compiles the module with the settings of the parent, which decide the name
// that the code is found by.
func (a *childArgs) compile(wasm []byte, out io.Writer) int {
	ctx := experimental.WithCompilationWorkers(context.Background(), runtime.GOMAXPROCS(0))
	cache, err := openCache(shelfAt(a.dir))
	if err != nil {
		fmt.Fprintln(out, err)
		return exitStorage
	}
	e := &engine{interpreter: a.interpreter, cache: cache}
	if _, err := translate(ctx, wazero.NewRuntimeWithConfig(ctx, e.config(a.metered)), wasm); err != nil {
		fmt.Fprintln(out, err)
		return exitRefused
	}
	return 0
}
