package edge

import (
	"slices"

	"github.com/stavily/stavily/protocol"
)

// A revoked release runs nowhere and is kept nowhere: assignments that name one stand and do
// not run, whichever generation they come from. What the newest document said of it is on the
// disk beside the generations, so that it holds over restarts and without a line, and when the
// agent has to go back to the generation before.

// keyRevoked holds the digests that the newest document ever taken revoked.
const keyRevoked = "gen/revoked"

// keyGone holds the agents that the newest document ever taken says are gone.
const keyGone = "gen/gone"

// readRevoked takes up what was revoked before the restart, and who was gone.
func (a *Agent) readRevoked() {
	var list []protocol.Digest
	a.readKey(keyRevoked, &list)
	a.revoked = digestSet(list)
	if a.gone != nil {
		var gone []protocol.Gone
		a.readKey(keyGone, &gone)
		a.gone(gone)
	}
}

// turnsAway makes what a document says of agents that are gone hold from now on.
func (a *Agent) turnsAway(gone []protocol.Gone) {
	if a.gone == nil {
		return
	}
	a.put(keyGone, gone)
	a.after(func() { a.gone(gone) })
}

// revoke makes what a document says of revoked releases hold from now on.
func (a *Agent) revoke(gen *generation) {
	before := len(a.revoked)
	a.revoked = gen.revoked
	a.turnsAway(gen.desired.Gone)
	if a.previous != nil {
		a.previous.revoked = a.revoked
	}
	if list := gen.desired.Revoked; len(list) > 0 {
		a.put(keyRevoked, list)
	} else if before > 0 {
		a.remove(keyRevoked)
	}
}

func digestSet(list []protocol.Digest) map[protocol.Digest]bool {
	out := make(map[protocol.Digest]bool, len(list))
	for _, d := range list {
		out[d] = true
	}
	return out
}

// barred returns why steps do not run here: the release of one of them is revoked. Nil when
// none is.
func (gen *generation) barred(steps ...protocol.Step) *protocol.Error {
	for _, s := range steps {
		if s.Place == nil && gen.revoked[s.Release] {
			return protocol.Errorf(protocol.CodeRefused, "%s", protocol.RuleRevoked(s.Name, gen.ref(s.Release)).Text)
		}
	}
	return nil
}

// ref returns what the document says of a release.
func (gen *generation) ref(d protocol.Digest) protocol.ReleaseRef {
	at := slices.IndexFunc(gen.desired.Releases, func(r protocol.ReleaseRef) bool { return r.Digest == d })
	if at < 0 {
		return protocol.ReleaseRef{Digest: d}
	}
	return gen.desired.Releases[at]
}

// wanted returns the releases that this agent is to have: not the revoked ones, and not those
// that only serve steps which may not run.
func (gen *generation) wanted() []protocol.ReleaseRef {
	idle := map[protocol.Digest]bool{}
	for i := range gen.desired.Assignments {
		for _, s := range stepsOf(&gen.desired.Assignments[i]) {
			idle[s.Release] = true
		}
	}
	for _, h := range gen.desired.Hosts {
		idle[h.Step.Release] = true
	}
	for _, s := range gen.local() {
		idle[s.Release] = false
	}
	return slices.DeleteFunc(slices.Clone(gen.desired.Releases), func(r protocol.ReleaseRef) bool {
		return gen.revoked[r.Digest] || idle[r.Digest]
	})
}
