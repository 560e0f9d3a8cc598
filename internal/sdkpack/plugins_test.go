package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/hub/deploy"
	"github.com/stavily/stavily/protocol"
)

var all = []string{"append-file", "system-command", "system-health"}

func tree(name string) fs.FS { return os.DirFS(filepath.Join("..", "..", "plugins", name)) }

func manifestOf(t *testing.T, name string) *protocol.Manifest {
	t.Helper()
	m, warnings, err := build.ReadManifest(tree(name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for _, w := range warnings { // that programs run outside of the sandbox is worth one
		if name != "system-command" || !strings.Contains(w, "process.execute") {
			t.Errorf("%s: %s", name, w)
		}
	}
	return m
}

// Manifests, schemas and examples are what the hub wants of any plugin. M-01 to M-31
func TestPluginsAreInOrder(t *testing.T) {
	for _, name := range all {
		m := manifestOf(t, name)
		if string(m.Plugin.Name) != name {
			t.Errorf("%s: is named %q", name, m.Plugin.Name)
		}
		text, err := build.ReadSchema(tree(name), m)
		if err != nil {
			t.Fatal(err)
		}
		schema, err := deploy.CompileSchema(name, text)
		if err != nil {
			t.Fatal(err)
		}
		examples, err := fs.Glob(tree(name), "examples/*.yaml")
		if err != nil || len(examples) < 2 {
			t.Errorf("%s: %d examples, %v", name, len(examples), err)
		}
		for _, example := range examples {
			if err := schema.Validate(exampleOf(t, name, example)); err != nil {
				t.Errorf("%s: %s: %v", name, example, err)
			}
		}
	}
}

// What the plugin refuses, the schema refuses before it is sent.
func TestSchemasRefuse(t *testing.T) {
	for name, configs := range map[string][]string{
		"system-health": {
			`{}`, `{metric: load.1}`, `{metric: load.1, above: 1, below: 1}`, `{metric: cpu, above: 1}`,
			`{metric: load.1, above: 1, for: 30}`, `{metric: load.1, above: 1, for: -1s}`,
			`{metric: load.1, above: 1, hysteresis: -1}`, `{metric: load.1, above: 1, x: 1}`,
		},
		"system-command": {
			`{}`, `{run: []}`, `{run: ls}`, `{run: [""]}`, `{run: [a], output_max: 0}`,
			`{run: [a], output_max: 20000}`, `{run: [a], ok_exit: []}`, `{run: [a], ok_exit: [256]}`,
			`{run: [a], timeout: soon}`, `{run: [a], shell: true}`,
		},
		"append-file": {
			`{file: ""}`, `{file: /etc/x}`, `{file: ../x}`, `{file: a/../x}`, `{file: .}`, `{file: a//b}`,
			`{file: a/}`, `{file: 'a\b'}`, `{file: "a\0"}`, `{sync: 1}`, `{path: x}`,
		},
	} {
		text, err := fs.ReadFile(tree(name), "config-schema.json")
		if err != nil {
			t.Fatal(err)
		}
		schema, err := deploy.CompileSchema(name, text)
		if err != nil {
			t.Fatal(err)
		}
		for _, config := range configs {
			var v any
			if err := yaml.Unmarshal([]byte(config), &v); err != nil {
				t.Fatal(err)
			}
			if schema.Validate(v) == nil {
				t.Errorf("%s: %s: not refused", name, config)
			}
		}
	}
}

func exampleOf(t *testing.T, name, example string) any {
	t.Helper()
	text, err := fs.ReadFile(tree(name), example)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}
