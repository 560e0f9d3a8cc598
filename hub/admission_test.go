package hub

import (
	"strings"
	"testing"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// M-17: a label that would overfill an agent is refused, with whom and why; one that leaves an
// agent with less is not, though that is still too much. What an agent is promised is shown.
func TestLabelThatOverfills(t *testing.T) {
	w := newWorld(t)
	for name, kind := range map[string]protocol.PluginType{"tick": protocol.Trigger, "work": protocol.Action, "note": protocol.Output} {
		w.sealed(name, "1.0.0", kind, protocol.StateFormat{})
	}
	w.enrol("gw-0", map[string]string{"role": "gateway"})
	small := w.enrol("small", nil)
	report := func(storageMB uint32) {
		t.Helper()
		w.follow([]*device{small}, func(r *protocol.Reported) {
			r.Device.MemoryMB, r.Device.Cores, r.Device.StorageMB = 64, 1, storageMB
		})
	}
	report(1)
	w.deploy(pooledTextFor("one"))
	w.deploy(pooledTextFor("two"))
	label := func(role string) error {
		_, err := w.hub.Label(w.now, "small", map[string]string{"role": role})
		return err
	}
	refused(t, label("gateway"), protocol.CodeLimit, "do not fit: agent lab/small: storage: ", "it has 1 MB")
	if a := w.agent("small"); a.AllLabels()["role"] == "gateway" || a.Desired.Revision != 0 {
		t.Errorf("what was refused is kept: %+v", a)
	}
	report(100)
	check(t, label("gateway"))
	x := look(w, func(tx *store.Tx) (*api.Explained, error) { return w.hub.Explain(tx, "one", "small") })
	said := ""
	for _, r := range x.Rules {
		if r.Name == "admission" && r.OK {
			said = r.Text
		}
	}
	if !strings.Contains(said, "of 64 promised 8 times, cores ") || !strings.Contains(said, "MB of 100") {
		t.Errorf("explained: %+v", x.Rules)
	}
	dry, err := w.hub.DryRun(w.now, "one.yaml", []byte(pooledTextFor("one")+"catch-up: latest\n"))
	check(t, err)
	for _, c := range dry.Agents {
		if c.Agent == "small" && !strings.HasPrefix(c.Cost.Sums, "memory ") {
			t.Errorf("dry run: %+v", c.Cost)
		}
	}
	report(1) // its disk has filled up
	check(t, label("none"))
}

// pooledTextFor is a workflow of one agent's own steps.
func pooledTextFor(name string) string {
	return "workflow: " + name + strings.TrimPrefix(strings.Replace(pooledText, ", on: { pool: office }", "", 1), "workflow: watch")
}
