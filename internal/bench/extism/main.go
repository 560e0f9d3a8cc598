// Command extism calls one plugin through the Extism SDK, for the rows that set it beside our
// own host. It is a module of its own, so that nothing else links the SDK.
//
//	extism PLUGIN EVENT TIMEOUT
//
// calls the function "run" of PLUGIN with the bytes of the file EVENT, each call under a
// timeout when that is not 0s. For every line on its input it calls for a while and says how
// many nanoseconds one call took.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	extism "github.com/extism/go-sdk"
	"github.com/tetratelabs/wazero"
)

// roundTime is how long it calls for one answer.
const roundTime = 5 * time.Millisecond

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "extism: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("%d arguments: want PLUGIN EVENT TIMEOUT", len(args))
	}
	event, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	timeout, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	plugin, err := load(ctx, args[0], timeout)
	if err != nil {
		return err
	}
	defer plugin.Close(ctx)
	if err := call(plugin, event); err != nil { // it is warm from here on
		return err
	}
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		began, calls := time.Now(), 0
		for time.Since(began) < roundTime {
			if err := call(plugin, event); err != nil {
				return err
			}
			calls++
		}
		fmt.Println(time.Since(began).Nanoseconds() / int64(calls))
	}
	return nil
}

func load(ctx context.Context, file string, timeout time.Duration) (*extism.Plugin, error) {
	manifest := extism.Manifest{Wasm: []extism.Wasm{extism.WasmFile{Path: file}}}
	manifest.Timeout = uint64(timeout.Milliseconds())
	engine := wazero.NewRuntimeConfig().WithCloseOnContextDone(timeout > 0) // or the timeout does nothing
	return extism.NewPlugin(ctx, manifest, extism.PluginConfig{EnableWasi: true, RuntimeConfig: engine}, nil)
}

func call(plugin *extism.Plugin, event []byte) error {
	exit, out, err := plugin.Call("run", event)
	if err == nil && (exit != 0 || len(out) == 0) {
		err = fmt.Errorf("exit %d, %d bytes of answer", exit, len(out))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("call of %d bytes", len(event)), err)
	}
	return nil
}
