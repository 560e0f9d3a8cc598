package edge_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/protocol"
)

// revoking returns a document for workflows "w" and "v", which share a trigger and an output;
// "v" has an action of its own.
func (w *world) revoking(revision uint64, revoked ...protocol.Digest) protocol.Desired {
	d := w.hub.desired(revision, w.hub.workflow("v"), w.hub.workflow("w"))
	other := w.hub.publish("other", protocol.Action, "2.0.0", []byte("other"))
	d.Releases = append(d.Releases, other)
	d.Assignments[0].Actions[0].Release = other.Digest
	d.Revoked = revoked
	return d
}

// status returns what the agent says of a workflow.
func (w *world) status(of protocol.WorkflowName) protocol.AssignmentStatus {
	w.t.Helper()
	for _, s := range w.agent.Status().Assignments {
		if s.Workflow == of {
			return s
		}
	}
	w.t.Fatalf("no word of workflow %s", of)
	return protocol.AssignmentStatus{}
}

func (w *world) wantRevoked(where string) {
	w.t.Helper()
	s := w.status("w")
	if s.Phase != protocol.PhaseFailed || s.Error == nil || s.Error.Code != protocol.CodeRefused ||
		!strings.Contains(s.Error.Text, `step "do": release work@1.0.0 was revoked`) {
		w.t.Errorf("%s: %+v", where, s)
	}
	if s := w.status("v"); s.Phase != protocol.PhaseRunning {
		w.t.Errorf("%s: the other workflow does not run: %+v", where, s)
	}
	for _, started := range w.plugins.started {
		if strings.HasPrefix(started, "w/") {
			w.t.Errorf("%s: started %s", where, started)
		}
	}
}

// K-10, S-02, D-3: a revoked release is stopped, is not kept, and does not come back with a
// restart without a line, nor with the generation before.
func TestRevokedStops(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	w.plugins.answers["w/when"] = fires(1)
	first := w.hub.deploy(w.revoking(5))
	w.boot()
	w.online()
	w.pass(10 * time.Second)
	if s := w.status("w"); s.Phase != protocol.PhaseRunning || s.Fired == 0 {
		t.Fatalf("does not run: %+v", s)
	}
	art := w.hub.art["work"]
	bad := w.hub.release["work"].Digest
	if _, err := w.disk.ReadFile(art.Digest); err != nil {
		t.Fatal(err)
	}
	w.plugins.stopped, w.plugins.started = nil, nil
	current := w.hub.deploy(w.revoking(6, bad))
	w.pass(10 * time.Second)
	w.wantRevoked("revoked")
	for _, name := range []string{"w/when", "w/do", "w/say"} {
		if !strings.Contains(strings.Join(w.plugins.stopped, " "), name) {
			t.Errorf("%s was not stopped: %v", name, w.plugins.stopped)
		}
	}
	for _, d := range []protocol.Digest{bad, art.Digest} {
		if _, err := w.disk.ReadFile(d); err == nil {
			t.Errorf("file %s is still kept", d.Short())
		}
	}
	w.offline()
	w.plugins.started = nil
	w.boot()
	w.pass(time.Hour)
	w.wantRevoked("booted without a line")

	// The disk loses the current document: the one before, which knows of no revocation, holds.
	if err := w.disk.KeepFiles(without(w, current)); err != nil {
		t.Fatal(err)
	}
	w.plugins.started = nil
	w.boot()
	w.pass(time.Hour)
	if got := w.agent.Status().Digest; got != first {
		t.Fatalf("holds %s, want the one before", got.Short())
	}
	w.wantRevoked("gone back")

	// The hub takes it back: it is fetched again and runs.
	w.online()
	w.hub.deploy(w.revoking(7))
	w.pass(10 * time.Second)
	if s := w.status("w"); s.Phase != protocol.PhaseRunning {
		t.Errorf("restored, and does not run: %+v", s)
	}
}

// without returns the digests of all files that the hub knows but one.
func without(w *world, one protocol.Digest) (keep []protocol.Digest) {
	for d := range w.hub.files {
		if d != one {
			keep = append(keep, d)
		}
	}
	return keep
}

// An agent that never had a revoked release does not fetch it, and runs the rest.
func TestRevokedIsNotFetched(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	bad := w.hub.release["work"].Digest
	d := w.revoking(5, bad)
	delete(w.hub.files, bad)
	w.hub.deploy(d)
	w.boot()
	w.online()
	w.pass(10 * time.Second)
	w.wantRevoked("new here")
	w.offline()
	w.boot()
	w.pass(time.Second)
	w.wantRevoked("booted")
}

func TestRevokedIsBounded(t *testing.T) {
	w := running(t)
	d := w.hub.desired(6, w.hub.workflow("w"))
	for i := range protocol.RevokedMax + 1 {
		d.Revoked = append(d.Revoked, protocol.DigestOf([]byte{byte(i), byte(i >> 8)}))
	}
	w.hub.deploy(d)
	w.pass(10 * time.Second)
	if r := w.hub.reported(); r.Refused == nil || r.Refused.Error.Code != protocol.CodeLimit ||
		!strings.Contains(r.Refused.Error.Text, "RevokedMax") {
		t.Errorf("reported %+v", r)
	}
}
