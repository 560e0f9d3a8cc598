package edge

import (
	"log/slog"
	"slices"
	"time"

	"github.com/stavily/stavily/protocol"
)

// Where the generations stand: digests of sealed desired documents, and the highest
// revision ever held.
const (
	keyCurrent  = "gen/current"
	keyPrevious = "gen/previous"
	keyNewest   = "gen/newest"
)

// generation is a desired document with all that it names, opened and checked.
type generation struct {
	digest   protocol.Digest
	desired  protocol.Desired
	releases map[protocol.Digest]*opened
	revoked  map[protocol.Digest]bool // releases that do not run, whatever the document says
}

// opened is a release with the artifact of it that this device loads.
type opened struct {
	release  protocol.Release
	artifact protocol.Artifact
}

// mark is what keyNewest holds.
type newest struct {
	Epoch    uint64 `cbor:"1,keyasint"`
	Revision uint64 `cbor:"2,keyasint"`
}

// candidate is a revision on its way in. The one that is held runs on until
// everything that the candidate names is here, verified and tried.
type candidate struct {
	hint   protocol.Hint
	gen    *generation // nil until the document is here
	at     time.Time   // when to go on; zero: when something happens
	ready  bool        // something happened
	tries  int         // failures in a row
	trials []trial     // loads still to be tried
	trying bool
	came   bool // a file was fetched
}

// trial is a step whose artifact was never loaded on this device.
type trial struct {
	workflow protocol.WorkflowName
	step     protocol.Step
}

// hint takes the hub's word on which revision is the newest.
func (a *Agent) hint(payload []byte) error {
	var h protocol.Hint
	if err := protocol.Unmarshal(payload, &h); err != nil {
		return err
	}
	if h.Size <= 0 || h.Size > protocol.DocumentMax {
		return protocol.Errorf(protocol.CodeLimit, "hint of revision %d: %d bytes, limit DocumentMax %d",
			h.Revision, h.Size, protocol.DocumentMax)
	}
	if h.Epoch != a.cfg.Epoch {
		return protocol.Errorf(protocol.CodeStale, "hint of epoch %d, enrolled in %d", h.Epoch, a.cfg.Epoch)
	}
	a.proveBy(&h)
	if a.held != nil && a.held.digest == h.Digest {
		a.asked()
		return nil // equal: nothing that runs is touched
	}
	if err := a.above(h.Epoch, h.Revision); err != nil {
		a.refuse(h.Revision, err)
		return nil
	}
	if a.next != nil && (a.next.hint.Digest == h.Digest || a.next.hint.Revision > h.Revision) {
		return nil
	}
	if r := a.report.refused; r != nil && r.Revision == h.Revision &&
		(!passing(r.Error.Code) || a.now.Before(a.report.again)) {
		return nil // the hub says it again after each report: not a reason to try at once
	}
	a.follow(h)
	return nil
}

// follow makes a hint the candidate; a newer one always takes an older one's place.
func (a *Agent) follow(h protocol.Hint) {
	a.dropCandidate()
	a.next = &candidate{hint: h, ready: true}
	a.report.touch(a.now)
	a.log.Info("revision on its way", slog.Uint64("revision", h.Revision),
		slog.String("digest", h.Digest.Short()))
}

// above returns an error for a revision that is not above what this agent has held.
func (a *Agent) above(epoch, revision uint64) error {
	held, of := uint64(0), a.cfg.Epoch
	if a.held != nil {
		held, of = a.held.desired.Revision, a.held.desired.Epoch
	}
	if epoch != a.cfg.Epoch || epoch < of {
		return protocol.Errorf(protocol.CodeStale, "desired: epoch %d, enrolled in %d", epoch, a.cfg.Epoch)
	}
	if epoch == of && revision <= held || revision < a.newest {
		return protocol.Errorf(protocol.CodeStale, "desired: revision %d: not above %d",
			revision, max(held, a.newest))
	}
	return nil
}

// passing reports whether a refusal may be another one later, with nothing new from
// the hub.
func passing(c protocol.Code) bool {
	switch c {
	case protocol.CodeNotFound, protocol.CodeStorage, protocol.CodeUnavailable, protocol.CodeDigest,
		protocol.CodeDeadline:
		return true
	default:
		return false
	}
}

// pursue takes the candidate as far as it can go now.
func (a *Agent) pursue() {
	c := a.next
	if c == nil || !c.ready && (c.at.IsZero() || a.now.Before(c.at)) {
		return
	}
	c.ready, c.at = false, time.Time{}
	done, err := a.gather(c)
	switch {
	case err == nil && done:
		a.swap(c)
	case err == nil:
	case lostFile(err):
		a.putOff(c, err)
	default:
		a.giveUp(c, err)
	}
}

// lostFile reports whether err is the disk's: what is missing now is fetched again.
func lostFile(err error) bool {
	switch protocol.CodeOf(err) {
	case protocol.CodeStorage, protocol.CodeDigest, protocol.CodeNotFound:
		return true
	default:
		return false
	}
}

// gather opens what is here of the candidate and begins to fetch what is not. It
// returns true when all is here, verified and tried.
func (a *Agent) gather(c *candidate) (done bool, err error) {
	here, err := a.need(file{digest: c.hint.Digest, size: c.hint.Size})
	if err != nil || !here {
		return false, err
	}
	if c.gen == nil {
		gen, err := a.openDesired(c.hint.Digest)
		if err == nil && !a.repairs(c) {
			err = a.above(gen.desired.Epoch, gen.desired.Revision)
		}
		if err != nil {
			return false, err
		}
		if a.repairs(c) {
			gen.revoked = a.revoked
		}
		c.gen = gen
		a.report.touch(a.now)
	}
	for _, ref := range c.gen.wanted() {
		if here, err := a.need(file{digest: ref.Digest, size: ref.Size}); err != nil || !here {
			return false, err
		}
		if err := a.openRelease(c.gen, ref); err != nil {
			return false, err
		}
	}
	if err := c.gen.fit(); err != nil {
		return false, err
	}
	if err := a.afford(c.gen); err != nil && !a.repairs(c) {
		return false, err
	}
	for _, f := range c.gen.artifacts() {
		if here, err := a.need(f); err != nil || !here {
			return false, err
		}
	}
	return a.try(c), nil
}

// repairs reports whether the candidate is the revision that is held: a file of it
// went bad and is fetched again.
func (a *Agent) repairs(c *candidate) bool { return a.held != nil && a.held.digest == c.hint.Digest }

// try loads what this device has never loaded, one at a time and beside what runs,
// and returns true when nothing is left to be tried. A trial is an instance with no
// step name.
func (a *Agent) try(c *candidate) bool {
	if c.trials == nil {
		c.trials = a.untried(c.gen)
	}
	if len(c.trials) == 0 {
		return true
	}
	if !c.trying {
		c.trying = true
		t := c.trials[0]
		a.startLoad(&call{trial: c, instance: Instance{Workflow: t.workflow}}, c.gen.load(t.step))
	}
	return false
}

// tried takes the outcome of a trial. What says that the artifact is not what its
// manifest says refuses the revision; what may be the configuration's fault only
// fails its assignment later.
func (a *Agent) tried(c *call, err *protocol.Error) {
	n := c.trial
	if n != a.next {
		return
	}
	n.trying, n.ready = false, true
	a.after(func() { a.plugins.Stop(c.instance) })
	if err == nil {
		n.trials = n.trials[1:]
		return
	}
	switch err.Code {
	case protocol.CodeUnverified, protocol.CodeIncompatible, protocol.CodeLimit:
		t := n.trials[0]
		a.giveUp(n, protocol.Errorf(err.Code, "workflow %q step %q: %w", t.workflow, t.step.Name, err))
	case protocol.CodeDigest, protocol.CodeNotFound, protocol.CodeStorage, protocol.CodeUnavailable:
		a.putOff(n, err)
	default:
		n.trials = n.trials[1:]
	}
}

// untried returns one step for each artifact that the held generation does not use.
func (a *Agent) untried(gen *generation) []trial {
	var seen []protocol.Digest
	if a.held != nil {
		for _, f := range a.held.artifacts() {
			seen = append(seen, f.digest)
		}
	}
	out := []trial{}
	for _, s := range gen.local() {
		if d := gen.releases[s.Release].artifact.Digest; !slices.Contains(seen, d) {
			seen = append(seen, d)
			out = append(out, trial{s.workflow, s.Step})
		}
	}
	return out
}

// putOff goes on with the candidate later.
func (a *Agent) putOff(c *candidate, err error) {
	c.at, c.ready = a.now.Add(a.pause(c.tries)), false
	c.tries++
	a.log.Warn("revision put off", slog.Uint64("revision", c.hint.Revision), slog.String("error", err.Error()))
}

// giveUp refuses the candidate; what is held runs on untouched.
func (a *Agent) giveUp(c *candidate, err error) {
	a.log.Warn("revision refused", slog.Uint64("revision", c.hint.Revision),
		slog.String("code", protocol.CodeOf(err).String()), slog.String("error", err.Error()))
	if protocol.CodeOf(err) == protocol.CodeBadSeal {
		a.unsealed = &c.hint
	}
	if !a.repairs(c) {
		a.refuse(c.hint.Revision, err)
	}
	a.dropCandidate()
}

func (a *Agent) dropCandidate() {
	if a.next == nil {
		return
	}
	for id, c := range a.calls { // all of them go: order does not matter
		if c.trial == a.next {
			instance := c.instance
			delete(a.calls, id)
			a.after(func() { a.plugins.Stop(instance) })
		}
	}
	a.next, a.fetch = nil, nil
}

// swap makes a gathered candidate the generation that runs. What is equal in both is
// not touched.
func (a *Agent) swap(c *candidate) {
	gen, repaired := c.gen, a.repairs(c)
	a.next, a.fetch = nil, nil
	if repaired {
		if c.came {
			a.reload()
		}
		return
	}
	a.previous, a.held = a.held, gen
	a.newest = gen.desired.Revision
	if a.previous != nil {
		a.put(keyPrevious, a.previous.digest)
	}
	a.put(keyCurrent, gen.digest)
	a.put(keyNewest, newest{gen.desired.Epoch, gen.desired.Revision})
	a.revoke(gen)
	a.prove(gen.desired.Issued)
	if r := a.report.refused; r != nil && r.Revision <= gen.desired.Revision {
		a.report.refused = nil
	}
	a.nextBudget() // by its settings
	a.log.Info("revision taken", slog.Uint64("revision", gen.desired.Revision),
		slog.String("digest", gen.digest.Short()), slog.Int("assignments", len(gen.desired.Assignments)))
	a.assign(gen)
	a.after(a.keepFiles)
	a.report.touch(a.now)
}

// keepFiles frees the disk of what neither generation names.
func (a *Agent) keepFiles() {
	if err := a.store.KeepFiles(a.wanted()); err != nil {
		a.log.Warn("old files not removed", slog.String("error", err.Error()))
	}
}

// wanted returns what both generations name.
func (a *Agent) wanted() []protocol.Digest {
	var keep []protocol.Digest
	for _, gen := range []*generation{a.held, a.previous} {
		if gen != nil {
			keep = append(keep, gen.files()...)
		}
	}
	for _, e := range a.endings {
		keep = append(keep, e.gen.files()...)
	}
	return keep
}
