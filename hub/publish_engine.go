package hub

import (
	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/protocol"
)

// take takes what was built. The module of a script is its engine: what is verified and
// metered from here on is what agents will compile.
func (c *candidate) take(out *build.Result) (err error) {
	c.module, c.script, c.engine, c.native = out.Module, nil, nil, nil
	for _, o := range out.Outputs {
		if o.Platform != protocol.PlatformWASM {
			c.native = append(c.native, o)
		}
	}
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

// files returns all that agents fetch of the artifacts.
func (c *candidate) files() (out [][]byte) {
	switch {
	case c.engine != nil:
		out = append([][]byte{c.script}, c.engine.Files(c.module)...)
	case c.module != nil:
		out = [][]byte{c.module}
	}
	for _, o := range c.native {
		out = append(out, o.Bytes)
	}
	return out
}
