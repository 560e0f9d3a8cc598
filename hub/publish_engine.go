package hub

import (
	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/protocol"
)

// take takes what was built. The module of a script is its engine: what is verified and
// metered from here on is what agents will compile.
func (c *candidate) take(out *build.Result) (err error) {
	c.module, c.script, c.engine = out.Module, nil, nil
	if name := out.Outputs[0].Engine; name != "" {
		if c.engine, err = build.FindEngine(name); err != nil {
			return err
		}
		c.module, c.script = c.engine.Module, out.Module
	}
	return nil
}

// artifact describes what was built, metered by now.
func (c *candidate) artifact() protocol.Artifact {
	own := c.module
	if c.engine != nil {
		own = c.script
	}
	a := protocol.NewArtifact(protocol.PlatformWASM, own)
	a.Metered = true
	if c.engine != nil {
		a.Engine = c.engine.Describe(c.module)
	}
	return a
}

// files returns all that agents fetch of the artifact.
func (c *candidate) files() [][]byte {
	if c.engine == nil {
		return [][]byte{c.module}
	}
	return append([][]byte{c.script}, c.engine.Files(c.module)...)
}
