package hub

import (
	"strings"
	"testing"

	"github.com/stavily/stavily/hub/registry"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// M-30: what a case wants and does not get blocks the publish, and so does a file of cases
// that cannot be read; cases that hold are named in the verdict, tests of its own besides
// or not.
func TestPublishHoldsCases(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles modules, which takes minutes under the race detector")
	}
	w := newWorld(t)
	const holds = "cases: [{ name: says nothing, want: { error: contract } }]\n"
	add := func(version, file, text, manifest string) registry.Plugin {
		p := plugin{name: "work", version: version, files: map[string]string{file: text}}
		p.files["stavily-plugin.yaml"] = manifest + p.manifest()
		if version == "1.0.0" {
			return w.add(p)
		}
		w.repository(p)
		return look(w, func(tx *store.Tx) (registry.Plugin, error) { return registry.GetPlugin(tx, "work") })
	}
	for _, c := range []struct{ version, file, text, manifest, want string }{
		{"1.0.0", "checks/a.yaml", holds, "testing: { test_suite: checks }\n", "its suite has cases only; warning: the manifest asks for kv, and "},
		{"1.0.1", "tests/a.yaml", "cases: [{ name: x, want: { answer: 1 } }]\n", "", "1 of 1 cases failed; tests/a.yaml:1: x: want no error, got contract"},
		{"1.0.2", "tests/a.yaml", "cases: 1\n", "", "tests/a.yaml:1:8: cases: want a list"},
	} {
		p := add(c.version, c.file, c.text, c.manifest)
		_, err := w.publish.Publish(t.Context(), p, c.version, false, func(registry.Stage) {})
		i := len(registry.StageNames())
		for j, s := range w.verdicts("work", c.version) {
			if s.Name == registry.StageTest {
				i = j
				if !strings.Contains(s.Detail, c.want) {
					t.Errorf("%s: %q\nwant %q", c.version, s.Detail, c.want)
				}
			}
		}
		if i == len(registry.StageNames()) {
			t.Errorf("%s: no stage of tests", c.version)
		}
		if failed := c.version > "1.0.0"; (err != nil) != failed || failed && protocol.CodeOf(err) == protocol.CodeInternal {
			t.Errorf("%s: %v", c.version, err)
		}
	}
}
