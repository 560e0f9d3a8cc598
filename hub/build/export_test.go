package build

import (
	"context"
	"testing"
)

// AddToy adds a row for a language of which the rest of the house has never heard, until
// the test ends. make makes the module of a source's folder.
func AddToy(t *testing.T, make func(ctx context.Context, src string) (path string, err error)) {
	t.Helper()
	before := builders
	t.Cleanup(func() { builders = before })
	builders = append(before[:len(before):len(before)], &language{
		name: "wat", also: []string{"wast"}, title: "WebAssembly text",
		needs: []need{{
			name: "wat2wasm", probe: func(context.Context) (string, error) { return "wat2wasm 1.0.0", nil },
			hint: "apt-get install wabt",
		}},
		locked: "nothing: it has no dependencies", artifacts: "wasm for every platform",
		flags: func() string { return "" },
		fetch: func(context.Context, *workspace) error { return nil },
		build: func(ctx context.Context, w *workspace) ([]Output, error) {
			path, err := make(ctx, w.src)
			if err != nil {
				return nil, err
			}
			return wasmOutput(path)
		},
		test: func(context.Context, *workspace, string) (tested, error) { return tested{said: "passed"}, nil },
	})
}
