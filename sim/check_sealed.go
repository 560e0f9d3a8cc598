package sim

import (
	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// sealedCheck: no code runs that the hub did not seal, and none for another step than
// the one that its release was sealed for.
type sealedCheck struct{ rule }

func newSealedCheck(w *World) *sealedCheck {
	return &sealedCheck{rule{w: w, name: "sealed", text: "no code runs that the hub did not seal"}}
}

func (c *sealedCheck) ran(d *device, l *edge.Load, module []byte) {
	got := protocol.DigestOf(module)
	want, known := c.w.releases[l.Step.Release]
	if c.w.strange() { // what that hub sealed its agents know, and nobody else
		want, known = l.Artifact.Digest, true
	}
	ok := known && got == want && got == l.Artifact.Digest
	c.holds(ok, d, "step %q loads %s; release %s was sealed with %s", l.Step.Name, got.Short(),
		l.Step.Release.Short(), want.Short())
	if !ok {
		d.w.tell.of(d).unsealed = true
	}
}

var _ check = (*sealedCheck)(nil)
