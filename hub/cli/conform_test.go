package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stavily/stavily/wasmhost/conform"
)

// TestConform runs the command on programs, good and bad: it says what it found, and its
// exit code says whether all was well.
func TestConform(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := filepath.Join(dir, "good")
	cmd := exec.Command("go", "build", "-o", good, "../../wasmhost/conform/testdata/guests/bad")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	manifest := file("stavily-plugin.yaml", `
plugin: {name: good, version: 1.0.0, type: action, description: x, author: {name: x}}
runtime: {language: go}
sandbox_mode: true
allow_network_access: false
allow_filesystem_access: none
permissions: {}
`)
	config, event := file("config.yaml", "a: 1\n"), file("event.json", `{"b": [1, 2.5]}`)
	empty, broken := file("x.wasm", "\x00asm\x01\x00\x00\x00"), file("bad.yaml", "a: [1\n")
	for name, c := range map[string]struct {
		args      []string
		exit      int
		out, errs string
	}{
		"table": {[]string{good, "--native"}, ExitOK, "unknown-keys     ok", "NOT sandboxed"},
		"json": {
			[]string{good, "--native", "-o", "json", "--config", config, "--event", event},
			ExitOK, `"name": "hundred"`, "",
		},
		"manifest": {
			[]string{good, "--native", "--manifest", manifest},
			ExitFailed, `the manifest says action "good"`, "1 of 22",
		},
		"not native": {[]string{good}, ExitUsage, "", "say --native"},
		"no file":    {[]string{filepath.Join(dir, "none")}, ExitFailed, "", "none"},
		"no module":  {[]string{empty}, ExitFailed, "want a WASI command", "1 of 22"},
		"bad yaml":   {[]string{good, "--native", "--config", broken}, ExitFailed, "", "bad.yaml"},
		"bad output": {[]string{good, "--native", "-o", "xml"}, ExitUsage, "", "want table or json"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			exit := Execute(Root("test"), append([]string{"plugin", "conform"}, c.args...), &out, &errs)
			if exit != c.exit || !strings.Contains(out.String(), c.out) || !strings.Contains(errs.String(), c.errs) {
				t.Errorf("exit %d, want %d\n%s%s", exit, c.exit, &out, &errs)
			}
			if name != "json" {
				return
			}
			var r conform.Report
			err := json.Unmarshal(out.Bytes(), &r)
			if err != nil || !r.Passed() || r.Carrier != "native" || r.Plugin != "bad" {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}
