package hub

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/hub/registry"
	"github.com/stavily/stavily/hub/source"
	"github.com/stavily/stavily/protocol"
)

// Ask is Publish, also for what was built elsewhere: then a bundle holds the artifacts and
// a builder's signed statement of what they were built from. The author's signature, the
// manifest and everything about the artifacts are judged here as ever; only the toolchain
// is not asked.
func (p *Publisher) Ask(ctx context.Context, plugin registry.Plugin, ask Asked, report func(registry.Stage),
) (registry.Release, error) {
	if ask.Bundle == nil {
		return p.publish(ctx, plugin, ask, nil, report)
	}
	bundle, err := build.ReadBundle(ask.Bundle)
	if err != nil {
		return registry.Release{}, fmt.Errorf("publish %s@%s: %w", plugin.Name, ask.Version, err)
	}
	return p.publish(ctx, plugin, ask, bundle, report)
}

// Asked is what an operator asks to be published.
type Asked struct {
	Version string // semver without "v"
	Older   bool   // a version below the highest is meant
	Bundle  []byte // what was built elsewhere; nil has it built here
}

// builders returns who may attest builds of a plugin: the lines, as ssh-keygen(1) describes
// allowed_signers, of the files builders/all and builders/<plugin> in the hub's home. They
// are read when they are used. Without such files nobody may.
func (c Config) builders(name protocol.PluginName) (source.AllowedSigners, error) {
	var text strings.Builder
	for _, file := range []string{"all", string(name)} {
		b, err := os.ReadFile(filepath.Join(c.Home, "builders", file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return source.AllowedSigners{}, protocol.Errorf(protocol.CodeStorage, "builders: %w", err)
		}
		text.Write(b)
		text.WriteString("\n")
	}
	out, err := source.ParseAllowedSigners(strings.NewReader(text.String()))
	if err != nil {
		return out, protocol.Errorf(protocol.CodeBadInput, "%s: %w", filepath.Join(c.Home, "builders"), err)
	}
	return out, nil
}

// attested takes a bundle in a build's place: its builder must be an allowed one, and have
// built this commit and tree.
func (p *Publisher) attested(c *candidate) (string, error) {
	allowed, err := p.Config.builders(c.plugin)
	if err != nil {
		return "", err
	}
	who, err := source.VerifyAttestation(c.bundle.Statement, c.bundle.Signature, allowed, p.Clock())
	if errors.Is(err, source.ErrUnknownSigner) {
		return "", fmt.Errorf("%w; allowed builders stand in %s", err, filepath.Join(p.Config.Home, "builders"))
	}
	if err != nil {
		return "", err
	}
	a, err := c.bundle.Open()
	if err != nil {
		return "", err
	}
	for _, f := range []struct{ what, got, want string }{
		{"plugin", string(a.Plugin), string(c.plugin)},
		{"version", a.Version, strings.TrimPrefix(c.tag, "v")},
		{"commit", a.Commit, c.tree.Commit},
		{"tree", a.Tree.String(), protocol.Digest(c.tree.Digest).String()},
	} {
		if f.got != f.want {
			return "", protocol.Errorf(protocol.CodeBadSeal, "attestation: %s %.80s was built, tag %s is %s %s",
				f.what,
				f.got, c.tag, f.what, f.want)
		}
	}
	if m := &c.release.Manifest; m.Testing.Suite != "" && a.Tests == "" {
		return "", protocol.Errorf(protocol.CodeBadInput, "attestation: runDetails.byproducts tests: missing: the "+
			"manifest has test_suite %q", m.Testing.Suite)
	}
	by := fmt.Sprintf("%s (%s)", who.Principal, who.Fingerprint)
	out := a.Result(by)
	c.release.Builder, c.tests = out.Builder, "by "+by+": "+a.Tests
	return fmt.Sprintf("built elsewhere, attested by %s, %s, %s", by, out.Builder.Toolchain,
			platformsOf(out.Outputs)),
		c.take(out)
}
