package edge

import (
	"cmp"

	"github.com/stavily/stavily/protocol"
)

// demands sums what all that a generation has run asks of this device, as the hub sums it.
func (gen *generation) demands() *protocol.Demands {
	sum := &protocol.Demands{}
	for _, s := range gen.local() {
		if o := gen.releases[s.Release]; o != nil && s.Limits.Seconds == 0 {
			s.Limits = o.release.Manifest.Limits.WithDefaults()
		}
		sum.Step(s.workflow, &s.Step)
	}
	for _, ref := range gen.wanted() {
		sum.File(ref.Digest, ref.Size)
	}
	for _, f := range gen.artifacts() {
		sum.File(f.digest, f.size)
	}
	return sum
}

// overcommit is by what the sums of a generation are held to the device.
func (gen *generation) overcommit() protocol.Overcommit {
	standard := protocol.DefaultOvercommit()
	return *cmp.Or(gen.desired.Settings.Overcommit, &standard)
}

// afford refuses a generation that asks for more than this device has: the hub knew no better,
// or the device is another than it was (M-17, M-18).
func (a *Agent) afford(gen *generation) error {
	if text := gen.demands().Beyond(&a.cfg.Device, gen.overcommit()); text != "" {
		return protocol.Errorf(protocol.CodeLimit, "the limits of all that would run do not fit this device: %s",
			text)
	}
	return nil
}
