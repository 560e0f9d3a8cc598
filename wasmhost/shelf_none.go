//go:build !amd64 && !arm64

package wasmhost

import (
	"context"

	"github.com/tetratelabs/wazero"

	"github.com/stavily/stavily/protocol"
)

// compiles says that the engine has a compiler for this kind of machine.
const compiles = false

// shelf keeps nothing where the engine interprets: there is no code.
type shelf struct{}

type put struct{}

func openShelf(*Config) (*shelf, error) { return nil, nil } //nolint:nilnil // a nil shelf keeps nothing

func shelfAt(string) *shelf { return nil }

func openCache(*shelf) (wazero.CompilationCache, error) { return wazero.NewCompilationCache(), nil }

func (*shelf) root() string { return "" }

func (*shelf) take(context.Context, protocol.Digest, wazero.Runtime, []byte) (wazero.CompiledModule, error) {
	return nil, nil //nolint:nilnil // nothing is found on no shelf
}

func (*shelf) clear(protocol.Digest) (put, error) { return put{}, nil }

func (put) close() {}

func (put) sweep() {}

func (put) keep(context.Context, wazero.RuntimeConfig, []byte) {}
