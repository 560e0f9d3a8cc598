//go:build amd64 || arm64

package wasmhost

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/tetratelabs/wazero"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost/meter"
)

// The engine reads and validates every function of a module each time, also when it has its
// code, which for a large one takes longer than all the rest of a start. What the functions do
// was validated when they were compiled; so the code is kept where the engine looks for the
// code of the module's hollow form, and it is shown only that. See RATIONALE.md, "Why is the
// engine shown a hollow module?".

// hollowMax bounds the functions of a module that is kept so: its hollow form is compiled
// once, for its name.
const hollowMax = 20_000

// hollowOf is a module and its digest.
type hollowOf struct {
	digest protocol.Digest
	wasm   []byte
}

func (h hollowOf) form() ([]byte, error) { return meter.Hollow(h.wasm, h.digest[:]) }

// hollowName returns where the engine looks for the code of a module's hollow form, by
// letting it compile that elsewhere; empty when that cannot be found out.
func (s *shelf) hollowName(ctx context.Context, cfg wazero.RuntimeConfig, of hollowOf) string {
	if meter.Functions(of.wasm) > hollowMax {
		return ""
	}
	name, err := s.compileElsewhere(ctx, cfg, of)
	if err != nil {
		s.log.Warn("module kept in its whole form", slog.String("module", of.digest.Short()),
			slog.String("error", err.Error()))
	}
	return name
}

func (s *shelf) compileElsewhere(ctx context.Context, cfg wazero.RuntimeConfig, of hollowOf) (string, error) {
	form, err := of.form()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(s.dir, "probe")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	cache, err := wazero.NewCompilationCacheWithDir(dir)
	if err != nil {
		return "", err
	}
	defer cache.Close(ctx)
	r := wazero.NewRuntimeWithConfig(ctx, cfg.WithCompilationCache(cache))
	defer r.Close(ctx)
	if _, err := translate(ctx, r, form); err != nil {
		return "", err
	}
	made, err := os.ReadDir(filepath.Join(dir, s.home))
	if err != nil || len(made) != 1 {
		return "", errors.Join(err, errors.New("engine kept no code"))
	}
	return filepath.Join(s.home, made[0].Name()), nil
}

// shelvedCode is a module whose code is on the shelf, in that line of the list.
type shelvedCode struct {
	line shelved
	wasm []byte
}

// open has the engine read a module's code. It returns nil without an error when the engine
// does not find it where it was put, such as on another processor: it has then compiled the
// hollow form, or read what came of that before, which must never run.
func (s *shelf) open(ctx context.Context, r wazero.Runtime, c shelvedCode) (wazero.CompiledModule, error) {
	if !c.line.Hollow {
		return translate(ctx, r, c.wasm)
	}
	form, err := hollowOf{c.line.Module, c.wasm}.form()
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeUnverified, "compile: %w", err)
	}
	found := s.door.expect(c.line.Name)
	module, err := translate(ctx, r, form)
	if found() && err == nil {
		return module, nil
	}
	s.log.Warn("compiled code not found by the engine", slog.String("module", c.line.Module.Short()))
	if module != nil {
		_ = module.Close(ctx)
	}
	return nil, nil //nolint:nilnil // it is compiled again
}
