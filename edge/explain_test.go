package edge_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stavily/stavily/edge"
	"github.com/stavily/stavily/protocol"
)

// explained asks, of what the agent said last and its files alone, about one workflow; an empty
// name is all.
func (w *world) explained(name string, running bool) []edge.Explained {
	w.t.Helper()
	x := edge.Explaining{
		Status: w.agent.Status(), Keyring: w.cfg.Keyring, Read: w.disk.ReadFile, Now: w.now, Runs: running,
		Has: func(d protocol.Digest) bool {
			_, err := w.disk.ReadFile(d)
			return err == nil
		},
	}
	all, err := x.Explain(protocol.WorkflowName(name))
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// T-06: the device answers placed or excluded with the first rule that failed, without a line and
// without an agent that runs.
func TestExplain(t *testing.T) {
	limits := protocol.Limits{MemoryMB: 100, CPUCores: 0.5, Seconds: 30, Files: 16}
	type change func(w *world, d *protocol.Desired)
	for _, c := range []struct {
		name   string
		before func(w *world) // the boot
		with   change         // the second revision
		after  func(w *world)
		placed bool
		rule   string // the first that is not ok, or when all are the last
		text   string
	}{
		{"it runs", nil, nil, nil, true, "running", "running"},
		{
			"the document names it no more", nil, func(w *world, d *protocol.Desired) { d.Assignments = d.Assignments[1:] }, nil,
			false, "target", "the document of revision 2 does not name it; the hub knows why: stavily explain v a1",
		},
		{
			"revoked", nil, func(w *world, d *protocol.Desired) { d.Revoked = []protocol.Digest{w.hub.release["other"].Digest} }, nil,
			false, "revoked", `step "do": release other@2.0.0 was revoked`,
		},
		{"a grant that the device does not give", nil, func(w *world, d *protocol.Desired) {
			d.Assignments[0].Actions[0].Grants = []protocol.Grant{{Capability: protocol.CapProcess, Scopes: []string{"rm"}}}
		}, nil, true, "grants", "running with less: this device's policy does not allow do: process.execute:rm"},
		{"memory", func(w *world) { w.cfg.Device.MemoryMB = 48 }, func(w *world, d *protocol.Desired) {
			d.Assignments[0].Actions[0].Limits, d.Assignments[0].Trigger.Limits, d.Assignments[0].Outputs[0].Limits = limits, limits, limits
		}, nil, true, "taken", "the agent refuses revision 2: limit: the limits of all that would run do not fit this device: max_memory_mb: 492 MB wanted"},
		{"its file is lost", nil, nil, func(w *world) {
			keep := without(w, w.hub.art["other"].Digest)
			if err := w.disk.KeepFiles(keep); err != nil {
				w.t.Fatal(err)
			}
		}, false, "artifact", "step do: other@2.0.0 as wasm: file "},
		{"its release is lost", nil, nil, func(w *world) {
			if err := w.disk.KeepFiles(without(w, w.hub.release["other"].Digest)); err != nil {
				w.t.Fatal(err)
			}
		}, false, "platform", `step "do": release other@2.0.0: `},
		{"its plugin does not start", func(w *world) {
			w.plugins.answers["v/do/load"] = refuses(protocol.CodeBadInput, "config: no such thing")
		}, nil, func(w *world) { w.pass(time.Hour) }, true, "running", "failed: bad-input: config: no such thing"},
		{
			"a clock that shows too little", nil, nil, func(w *world) { w.now = start.Add(-24 * time.Hour) }, true, "clock",
			"shows 2026-10-31",
		},
		{"an action elsewhere", nil, func(w *world, d *protocol.Desired) {
			s := &d.Assignments[0].Actions[0]
			*s = protocol.Step{Name: s.Name, Timeout: 1000, Place: &protocol.Place{
				Members: []protocol.Address{{Site: "plant", Agent: "a2"}, {Site: "plant", Agent: "a3"}}, Pick: protocol.PickRendezvous, WithinMS: 1000,
			}}
		}, nil, true, "running", "running"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.hub.standard()
			if c.before != nil {
				c.before(w)
			}
			w.hub.deploy(w.revoking(1))
			w.boot()
			w.online()
			w.pass(10 * time.Second)
			if c.with != nil {
				d := w.revoking(2)
				c.with(w, &d)
				w.hub.deploy(d)
				w.pass(10 * time.Second)
			}
			w.offline()
			if c.after != nil {
				c.after(w)
			}
			x := w.explained("v", true)[0]
			at := slices.IndexFunc(x.Rules, func(r protocol.Rule) bool { return !r.OK })
			if at < 0 {
				at = len(x.Rules) - 1
			}
			if r := x.Rules[at]; x.Placed != c.placed || r.Name != c.rule || !strings.HasPrefix(r.Text, c.text) {
				t.Errorf("placed %t, want %t; first failing %s, want %s: %q\nall %+v", x.Placed, c.placed, r.Name, c.rule, c.text, x.Rules)
			}
			if y := w.explained("w", true)[0]; !y.Placed {
				t.Errorf("the other workflow: %+v", y)
			}
			stopped := w.explained("v", false)[0]
			last := stopped.Rules[len(stopped.Rules)-1]
			if stopped.Placed && (last.OK || !strings.HasPrefix(last.Text, "no agent runs here; the last one said: ")) {
				t.Errorf("no agent runs: %+v", last)
			}
		})
	}
}

// An urgent workflow is shown as that, another is not.
func TestExplainUrgent(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	w.boot()
	urgent := w.hub.workflow("u")
	urgent.Urgent = true
	w.hub.deploy(w.hub.desired(1, w.hub.workflow("w"), urgent))
	w.online()
	w.pass(10 * time.Second)
	for _, x := range w.explained("", true) {
		if got := slices.Contains(x.Rules, protocol.RuleUrgent()); !x.Placed || got != (x.Workflow == "u") {
			t.Errorf("%s: urgent %t, %+v", x.Workflow, got, x.Rules)
		}
	}
	if got := w.agent.Status().Urgent; !slices.Equal(got, []protocol.WorkflowName{"u"}) {
		t.Errorf("status: urgent are %q, want u", got)
	}
}

// What an agent has not been asked for, and what it only runs for others.
func TestExplainOthers(t *testing.T) {
	w := newWorld(t)
	w.hub.standard()
	w.boot()
	if all := w.explained("", true); len(all) != 0 {
		t.Errorf("nothing is deployed: %+v", all)
	}
	if x := w.explained("w", true)[0]; x.Placed || x.Rules[0].Text != "nothing was deployed to this device yet" {
		t.Errorf("%+v", x)
	}
	d := w.hub.desired(1, w.hub.workflow("w"))
	host := protocol.Host{Workflow: "far", Type: protocol.Action, Step: w.hub.workflow("far").Actions[0], Edition: 7}
	host.Step.Timeout = 1000
	d.Hosts = []protocol.Host{host}
	w.hub.deploy(d)
	w.online()
	w.pass(10 * time.Second)
	all := w.explained("", true)
	if len(all) != 2 || all[0].Workflow != "w" || all[1].Workflow != "far" || !all[0].Placed || !all[1].Placed {
		t.Fatalf("%+v", all)
	}
	if got := all[1].Rules[0].Text; got != "the workflow fires on other agents; here run their steps do" {
		t.Errorf("a host: %q", got)
	}
}
