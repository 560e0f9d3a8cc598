package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRecordAndReplay records one call of a plugin and replays it, in both engines; another
// module, or a recording that was changed, is told apart.
func TestRecordAndReplay(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	manifest := file("stavily-plugin.yaml", `
plugin: {name: bench-action, version: 1.0.0, type: action, description: x, author: {name: x}}
runtime: {language: go}
sandbox_mode: true
allow_network_access: false
allow_filesystem_access: none
permissions: {}
`)
	const guests = "../../wasmhost/testdata/c/"
	config, event := file("config.yaml", "above: 79.5\n"), file("event.json", `{"value": 80.0}`)
	rec := filepath.Join(dir, "call.rec")
	for _, c := range []struct {
		args      []string
		exit      int
		out, errs string
	}{
		{
			[]string{"record", guests + "action.wasm", "--manifest", manifest, "--config", config, "--event", event, "--out", rec},
			ExitOK, "whole", "",
		},
		{[]string{"replay", rec, "--module", guests + "action.wasm"}, ExitOK, "held", ""},
		{[]string{"replay", rec, "--module", guests + "action.wasm", "--interpreter", "-o", "json"}, ExitOK, `"Held": true`, ""},
		{[]string{"replay", rec, "--module", guests + "output.wasm"}, ExitUnverified, "", "recorded is"},
		{[]string{"replay", rec}, ExitUsage, "", "want --module"},
		{[]string{"replay", event, "--module", guests + "action.wasm"}, ExitFailed, "", "recording"},
		{[]string{"record", guests + "action.wasm"}, ExitUsage, "", "--out"},
		{[]string{"record", guests + "action.wasm", "--out", rec, "-o", "name"}, ExitUsage, "", "want table or json"},
		{[]string{"record", guests + "action.wasm", "--out", rec + "3"}, ExitFailed, "", "hint: say where the plugin's manifest is"},
		{[]string{"record", event, "--manifest", manifest, "--out", rec + "2"}, ExitFailed, "", "neither a WebAssembly module nor"},
	} {
		var out, errs bytes.Buffer
		exit := Execute(Root("test"), append([]string{"plugin"}, c.args...), &out, &errs)
		if !strings.Contains(out.String(), c.out) || !strings.Contains(errs.String(), c.errs) || exit != c.exit {
			t.Errorf("%v: exit %d, want %d\n%s%s", c.args, exit, c.exit, &out, &errs)
		}
	}
}
