package hub

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/hub/cases"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
)

// testAll runs the plugin's own tests and holds it to its cases; either fails the stage
// (M-30). A suite of cases alone serves where no coverage is promised.
func (p *Publisher) testAll(ctx context.Context, c *candidate) (string, error) {
	files, err := cases.Find(c.tree, &c.release.Manifest)
	if err != nil {
		return "", err
	}
	odd, err := c.uses()
	if err != nil {
		return "", err
	}
	own, err := p.test(ctx, c)
	if own += odd; len(files) == 0 {
		return own, err
	}
	switch {
	case errors.Is(err, errSkipped):
	case errors.Is(err, build.ErrEmptySuite) && c.release.Manifest.Testing.Coverage == 0:
		own = "its suite has cases only" + odd
	case err != nil:
		return own, err
	}
	held, err := p.hold(ctx, c, files)
	return own + "; " + held, err
}

// uses refuses code that makes host calls which the manifest does not ask for, and warns of
// what it asks for and the code does not use (M-32).
func (c *candidate) uses() (odd string, err error) {
	if c.module == nil {
		return "", nil
	}
	u, err := cases.Code{Module: c.module, Script: c.script}.Find(&c.release.Manifest)
	if err != nil {
		return "", err
	}
	for _, warning := range u.Warnings() {
		odd += "; " + warning
	}
	return odd, u.Err()
}

// hold holds what was built to its cases, as an agent would load it.
func (p *Publisher) hold(ctx context.Context, c *candidate, files []*cases.File) (string, error) {
	if c.module == nil {
		return fmt.Sprintf("%d files of cases not run: there is no WebAssembly to run them with", len(files)), nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.Config.BuildTimeout)
	defer cancel()
	spec, err := c.spec()
	if err != nil {
		return "", err
	}
	if spec.Wasm, err = wasmhost.Metered(spec.Wasm); err != nil {
		return "", err
	}
	spec.Digest = protocol.DigestOf(spec.Wasm)
	r, err := cases.Run(ctx, spec, files, cases.Options{
		CacheDir: filepath.Join(p.Config.cacheDir(), "code"), Compile: wasmhost.Compile{Command: p.Config.Compile},
	})
	if err != nil {
		return "", err
	}
	said := fmt.Sprintf("%d cases passed", len(r.Cases))
	if len(r.Unused) > 0 { // M-32
		said += "; no case uses " + strings.Join(r.Unused, ", ")
	}
	return said, r.Err()
}
