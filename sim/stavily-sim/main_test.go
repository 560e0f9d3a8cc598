package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const bubble = `stavily: sim/v1
name: small
duration: 10m
level: bubble
fleet: [{group: a, count: 2}]
expect:
  - eventually: "fleet.online >= 100%"
EXPECT
`

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The command runs what a bubble is for, again and again, and ends as the other one does.
func TestRun(t *testing.T) {
	held := file(t, "held.yaml", strings.Replace(bubble, "EXPECT", "", 1))
	broken := file(t, "broken.yaml", strings.Replace(bubble, "EXPECT", `  - never: "fleet.online >= 100%"`, 1))
	for _, c := range []struct {
		args []string
		exit int
		want string
	}{
		{[]string{"run", held}, 0, "small  seed 1  build"},
		{[]string{"run", held, "--seeds", "2"}, 0, "2 of 2 seeds held"},
		{[]string{"run", held, "--level", "model"}, 0, "  model  "},
		{[]string{"run", broken}, 99, "FAIL"},
		{[]string{"shrink", broken, "--runs", "4", "--write", filepath.Join(t.TempDir(), "s.yaml")}, 0, "fails: expect[1] never"},
	} {
		var out, errs bytes.Buffer
		if exit := run(t, append([]string{"sim"}, c.args...), &out, &errs); exit != c.exit || !strings.Contains(out.String(), c.want) {
			t.Errorf("%v: exit %d, want %d and %s\n%s%s", c.args, exit, c.exit, c.want, &out, &errs)
		}
	}
}

// A call from the field is replayed as stavily plugin replay does.
func TestReplayOfACall(t *testing.T) {
	const module = "../../wasmhost/testdata/c/action.wasm"
	manifest := file(t, "stavily-plugin.yaml", `
plugin: {name: bench-action, version: 1.0.0, type: action, description: x, author: {name: x}}
runtime: {language: go}
sandbox_mode: true
allow_network_access: false
allow_filesystem_access: none
permissions: {}
`)
	rec := filepath.Join(t.TempDir(), "call.rec")
	for _, c := range []struct {
		args []string
		exit int
		want string
	}{
		{[]string{
			"plugin", "record", module, "--manifest", manifest, "--config", file(t, "c.yaml", "above: 79.5\n"),
			"--event", file(t, "e.json", `{"value": 80.0}`), "--out", rec,
		}, 0, "whole"},
		{[]string{"sim", "replay", rec, "--module", module}, 0, "held"},
		{[]string{"sim", "replay", rec}, 2, "want --module"},
		{[]string{"sim", "replay", filepath.Join(t.TempDir(), "none.rec"), "--module", module}, 1, "none.rec"},
	} {
		var out, errs bytes.Buffer
		exit := run(t, c.args, &out, &errs)
		if all := out.String() + errs.String(); exit != c.exit || !strings.Contains(all, c.want) {
			t.Errorf("%v: exit %d, want %d and %s\n%s", c.args, exit, c.exit, c.want, all)
		}
	}
}
