package hub

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/registry"
	"github.com/stavily/stavily/hub/rollout"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// sealed puts a release on the books as the pipeline would, without building anything.
func (w *world) sealed(name, version string, kind protocol.PluginType, state protocol.StateFormat,
) registry.Release {
	w.Helper()
	file := []byte(name + version)
	doc := protocol.Release{
		Manifest: protocol.Manifest{
			Plugin:  protocol.PluginInfo{Name: protocol.PluginName(name), Version: version, Type: kind},
			Runtime: protocol.Runtime{Language: "go"}, Sandbox: true, Filesystem: "none", State: state,
			Permissions: protocol.Permissions{System: []string{"kv", "process.execute:uptime"}},
		},
		Artifacts: []protocol.Artifact{protocol.NewArtifact(protocol.PlatformWASM, file)},
	}
	sealed, err := protocol.Seal(protocol.ContextRelease, w.hub.keys.Release, protocol.MustMarshal(doc))
	check(w, err)
	digest, err := w.hub.files.Put(sealed)
	check(w, err)
	r := registry.Release{
		Plugin: protocol.PluginName(name), Version: version, Digest: digest, Size: int64(len(sealed)),
		Commit: strings.Repeat("c", 40), Tree: protocol.DigestOf(file), State: registry.Published, Created: w.now,
		Artifacts: []registry.Artifact{{Platform: protocol.PlatformWASM, Digest: doc.Artifacts[0].Digest, Size: 9}},
	}
	check(w, w.hub.Operate(func(tx *store.Tx) error {
		err := registry.AddPlugin(tx, registry.Plugin{Name: r.Plugin, Type: kind, Repository: "file:///" + name})
		if protocol.CodeOf(err) == protocol.CodeExists {
			err = nil
		}
		if err != nil {
			return err
		}
		return registry.PutRelease(tx, r)
	}))
	return r
}

// shelf is a world with a trigger, an action and an output at 1.0.0, and a gateway.
func shelf(t *testing.T) *world {
	w := newWorld(t)
	w.sealed("tick", "1.0.0", protocol.Trigger, protocol.StateFormat{})
	w.sealed("work", "1.0.0", protocol.Action, protocol.StateFormat{})
	w.sealed("note", "1.0.0", protocol.Output, protocol.StateFormat{})
	w.enrol("gw-1", map[string]string{"role": "gateway"})
	return w
}

const plainText = `workflow: watch
trigger: { plugin: tick, at: { group: { role: gateway } } }
actions: [{ plugin: work@^1.0 }]
outputs: [{ plugin: note@stable }]
`

func (w *world) action(name protocol.AgentName) string {
	w.Helper()
	doc := w.desired(name)
	of := doc.Assignments[0].Actions[0].Release
	at := slices.IndexFunc(doc.Releases, func(r protocol.ReleaseRef) bool { return r.Digest == of })
	return doc.Releases[at].Version
}

func (w *world) update(how api.Update) *api.Deployed {
	w.Helper()
	out, err := w.hub.UpdateWorkflow(w.now, "watch", how)
	check(w, err)
	return out
}

// O-05: what is deployed is locked; only a person, or a range that no longer takes it, moves it.
func TestLock(t *testing.T) {
	w := shelf(t)
	d := w.deploy(plainText)
	if l := d.Locked[1]; l.Version != "1.0.0" || l.Range != "^1.0" || l.Commit == "" || l.Tree.IsZero() ||
		len(l.Artifacts) != 1 || l.Artifacts[0].Digest.IsZero() {
		t.Errorf("lock %+v", l)
	}
	newer := w.sealed("work", "1.2.0", protocol.Action, protocol.StateFormat{})
	w.sealed("note", "2.0.0-beta.1", protocol.Output, protocol.StateFormat{})
	if d := w.deploy(plainText); d.Agents[0].Changed || w.action("gw-1") != "1.0.0" {
		t.Errorf("the same text moved: %+v", d.Moved)
	}
	dry := w.update(api.Update{DryRun: true})
	if len(dry.Moved) != 1 || dry.Moved[0] != (api.Moved{Step: "work", Plugin: "work", From: "1.0.0", To: "1.2.0"}) {
		t.Errorf("dry run moves %+v", dry.Moved)
	}
	if w.action("gw-1") != "1.0.0" {
		t.Error("a dry run moved the lock")
	}
	if out := w.update(api.Update{}); len(out.Moved) != 1 || w.action("gw-1") != "1.2.0" {
		t.Errorf("update moved %+v", out.Moved)
	}
	if out := w.update(api.Update{}); len(out.Moved) != 0 || w.agent("gw-1").Desired.Revision != 2 {
		t.Errorf("twice: %+v", out.Moved)
	}
	if all := look(w, w.hub.Workflows); all[0].Lock[1].Release != newer.Digest || all[0].Lock[1].State != registry.Published {
		t.Errorf("shown %+v", all[0].Lock)
	}
	if d := w.deploy(strings.Replace(plainText, "note@stable", "note@beta", 1)); len(d.Moved) != 0 {
		t.Errorf("the range takes what is held, and it moved: %+v", d.Moved)
	}
	if out := w.update(api.Update{}); len(out.Moved) != 1 || out.Moved[0].To != "2.0.0-beta.1" {
		t.Errorf("beta: %+v", out.Moved)
	}
}

// O-05: a downgrade is a decision; what cannot read the state is refused, both versions named.
func TestDowngradeAndState(t *testing.T) {
	w := shelf(t)
	w.deploy(plainText)
	w.sealed("work", "1.1.0", protocol.Action, protocol.StateFormat{Format: 2, Older: []uint32{1}})
	w.sealed("work", "1.2.0", protocol.Action, protocol.StateFormat{Format: 3, Older: []uint32{2}})
	_, err := w.hub.UpdateWorkflow(w.now, "watch", api.Update{})
	refused(t, err, protocol.CodeBadInput, "work@1.2.0 cannot read the state of 1.0.0", "watch.yaml:3:21", "format 1, it reads 3, 2")
	to := func(version string, how api.Moves) error {
		text := strings.Replace(plainText, "work@^1.0", "work@"+version, 1)
		_, err := w.hub.DeployAs(w.now, api.Deploy{File: "watch.yaml", Text: text, Moves: how})
		return err
	}
	check(t, to("1.1.0", api.Moves{}))
	check(t, to("1.2.0", api.Moves{}))
	refused(t, to("1.1.0", api.Moves{}), protocol.CodeBadInput, "work@1.1.0 is below 1.2.0", "--downgrade")
	refused(t, to("1.1.0", api.Moves{Downgrade: true}), protocol.CodeBadInput, "work@1.1.0 cannot read the state of 1.2.0")
	w.sealed("work", "1.1.1", protocol.Action, protocol.StateFormat{Format: 3})
	refused(t, to("1.1.1", api.Moves{}), protocol.CodeBadInput, "--downgrade")
	check(t, to("1.1.1", api.Moves{Downgrade: true}))
	if got := w.action("gw-1"); got != "1.1.1" {
		t.Errorf("runs %s", got)
	}
}

// K-10: yanked is for new deployments, and can be undone; who did it and why is kept.
func TestYank(t *testing.T) {
	w := shelf(t)
	w.sealed("work", "1.1.0", protocol.Action, protocol.StateFormat{})
	w.deploy(plainText)
	out, err := w.hub.Withdraw(w.now, "work", api.Withdraw{Version: "1.1.0", Do: api.Yank, Reason: "leaks", By: "ada"})
	check(t, err)
	if len(out.Hits) != 1 || out.Hits[0].Workflow != "watch" || !slices.Equal(out.Hits[0].Agents, []protocol.AgentName{"gw-1"}) {
		t.Errorf("hits %+v", out.Hits)
	}
	if d := w.deploy(plainText); w.action("gw-1") != "1.1.0" || len(d.Warnings) != 1 || len(w.desired("gw-1").Revoked) != 0 {
		t.Errorf("what runs did not stay, or without a warning: %+v", d)
	}
	if d := w.deploy(strings.Replace(plainText, "watch", "other", 1)); d.Locked[1].Version != "1.0.0" {
		t.Errorf("a new deployment chose %s", d.Locked[1].Version)
	}
	if out := w.update(api.Update{}); len(out.Moved) != 0 {
		t.Errorf("an update went down by itself: %+v", out.Moved)
	}
	_, err = w.hub.Withdraw(w.now, "work", api.Withdraw{Version: "1.1.0", Do: api.Restore})
	check(t, err)
	if d := w.deploy(strings.Replace(plainText, "watch", "third", 1)); d.Locked[1].Version != "1.1.0" {
		t.Errorf("restored, and a new deployment chose %s", d.Locked[1].Version)
	}
	told := look(w, func(tx *store.Tx) ([]api.Notice, error) { return w.hub.Notices(tx, 10) })
	if len(told) != 2 || told[1].Kind != "yank" || told[1].By != "ada" || told[1].Text != "leaks" || told[1].Subject != "work@1.1.0" {
		t.Errorf("notices %+v", told)
	}
	for _, c := range []struct {
		in   api.Withdraw
		code protocol.Code
	}{
		{api.Withdraw{Version: "1.1.0", Do: api.Yank}, protocol.CodeBadInput},
		{api.Withdraw{Version: "1.1.0", Do: "burn", Reason: "x"}, protocol.CodeBadInput},
		{api.Withdraw{Version: "9.0.0", Do: api.Revoke, Reason: "x"}, protocol.CodeNotFound},
	} {
		_, err := w.hub.Withdraw(w.now, "work", c.in)
		refused(t, err, c.code)
	}
}

// K-10, S-02: a revoked release is named to every agent; what updates by itself moves on, and
// the rest is named.
func TestRevoke(t *testing.T) {
	w := shelf(t)
	bad := w.sealed("work", "1.1.0", protocol.Action, protocol.StateFormat{})
	w.deploy(strings.Replace(plainText, "workflow: watch", "workflow: auto\nupdate: automatic", 1))
	w.deploy(plainText)
	w.enrol("idle", nil)
	out, err := w.hub.Withdraw(w.now, "work", api.Withdraw{Version: "1.1.0", Do: api.Revoke, Reason: "stolen key"})
	check(t, err)
	if len(out.Hits) != 2 || len(out.Hits[0].Moved) != 1 || out.Hits[0].Moved[0].To != "1.0.0" ||
		!strings.Contains(out.Hits[1].Error, "workflow update watch") {
		t.Errorf("hits %+v", out.Hits)
	}
	doc := w.desired("gw-1")
	if !slices.Equal(doc.Revoked, []protocol.Digest{bad.Digest}) || len(doc.Assignments) != 2 {
		t.Errorf("desired %+v", doc)
	}
	if w.agent("idle").Desired.Revision != 0 {
		t.Error("an agent that was never sent anything was sent a revocation")
	}
	if d := w.deploy(plainText); d.Moved[0].To != "1.0.0" {
		t.Errorf("deployed again, it moved %+v", d.Moved)
	}
	_, err = w.hub.Withdraw(w.now, "work", api.Withdraw{Version: "1.1.0", Do: api.Restore})
	check(t, err)
	if doc := w.desired("gw-1"); len(doc.Revoked) != 0 {
		t.Errorf("restored, and still revoked: %v", doc.Revoked)
	}
}

// O-04: a release that its waves took back is not tried again by itself.
func TestAutomaticKeepsBadOut(t *testing.T) {
	w := shelf(t)
	text := "update: automatic\nrollout: { waves: [{ count: 1, soak: 1m }] }\n" + plainText
	w.deploy(text)
	_, err := w.hub.Steer(w.now, "watch", api.Promote)
	check(t, err)
	w.sealed("work", "1.1.0", protocol.Action, protocol.StateFormat{})
	check(t, w.hub.automatic(w.now, "work"))
	r := look(w, func(tx *store.Tx) (*api.Rollout, error) { return w.hub.Rollout(tx, w.now, "watch") })
	if r.Phase != rollout.Running || !slices.Contains(r.Releases, "work@1.1.0") {
		t.Fatalf("the update is not on its way in waves: %+v", r)
	}
	_, err = w.hub.Steer(w.now, "watch", api.Abort)
	check(t, err)
	for range 2 {
		w.now = w.now.Add(time.Hour)
		check(t, w.hub.automatic(w.now, "work"))
	}
	if got := w.action("gw-1"); got != "1.0.0" {
		t.Errorf("runs %s", got)
	}
	told := look(w, func(tx *store.Tx) ([]api.Notice, error) { return w.hub.Notices(tx, 10) })
	if told[0].Kind != "not-updated" || !strings.Contains(told[0].Text, "taken back") {
		t.Errorf("notices %+v", told)
	}
	w.sealed("work", "1.1.1", protocol.Action, protocol.StateFormat{})
	check(t, w.hub.automatic(w.now, "work"))
	r = look(w, func(tx *store.Tx) (*api.Rollout, error) { return w.hub.Rollout(tx, w.now, "watch") })
	if r.Phase != rollout.Running || !slices.Contains(r.Releases, "work@1.1.1") {
		t.Errorf("the next one was not tried: %+v", r)
	}
}

// Two workflows want different versions of one plugin on one agent: it gets both, each by its
// digest, and neither workflow moves the other's.
func TestTwoVersionsOnOneAgent(t *testing.T) {
	w := shelf(t)
	older := look(w, func(tx *store.Tx) (registry.Release, error) { return registry.Resolve(tx, "work@1.0.0") }).Digest
	newer := w.sealed("work", "1.2.0", protocol.Action, protocol.StateFormat{}).Digest
	w.deploy(strings.Replace(plainText, "work@^1.0", "work@1.0.0", 1))
	_, err := w.hub.Deploy(w.now, "other.yaml", []byte(strings.NewReplacer(
		"workflow: watch", "workflow: other", "work@^1.0", "work@^1.2").Replace(plainText)))
	check(w, err)
	doc := w.desired("gw-1")
	got := map[protocol.WorkflowName]protocol.Digest{}
	for _, a := range doc.Assignments {
		got[a.Workflow] = a.Actions[0].Release
	}
	if got["watch"] != older || got["other"] != newer || len(doc.Releases) != 4 {
		t.Errorf("watch %s, other %s, %d releases; want %s, %s, 4", got["watch"].Short(), got["other"].Short(),
			len(doc.Releases), older.Short(), newer.Short())
	}
	if out := w.update(api.Update{}); len(out.Moved) != 0 {
		t.Errorf("the one workflow's update moved %+v", out.Moved)
	}
}
