package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/stavily/stavily/hub/build"
	"github.com/stavily/stavily/protocol/delta"
)

// edit is a change that an author makes to a plugin between two releases.
type edit struct {
	what     string
	file     string // under plugins
	from, to []string
	bound    float64
}

// changed is a real plugin and what is changed in it.
type changed struct {
	language string
	folder   string // under plugins
	build    func(b *bench, dir, out string) error
	edits    []edit
}

// The bounds of N7, of the full packed module.
const (
	constantBound = 0.005
	fieldBound    = 0.10
)

// differenceBytes is N7: the bytes that an agent fetches of a new version of a module, when it
// has the one before, beside the whole module packed. Both are metered as the hub does.
func differenceBytes(b *bench) (out []line, err error) {
	for _, plugin := range []changed{goChanged(), rustChanged()} {
		lines, err := b.differences(&plugin)
		if err != nil {
			return out, err
		}
		out = append(out, lines...)
	}
	return out, nil
}

func goChanged() changed {
	const file = "system-health/config.go"
	return changed{
		language: inGo, folder: "system-health",
		build: func(b *bench, dir, out string) error {
			return b.goBuild(filepath.Join(dir, "system-health"), out, ".", "GOOS=wasip1", "GOARCH=wasm",
				"GOWORK="+filepath.Join(dir, "go.work"))
		},
		edits: []edit{
			{"constant changed", file, []string{"10 * time.Second"}, []string{"15 * time.Second"}, constantBound},
			{
				"field added", file,
				[]string{"\tHysteresis float64 ", "\tcase c.Hysteresis < 0:\n"},
				[]string{
					"\tCeiling float64 `json:\"ceiling\"`\n\tHysteresis float64 ",
					"\tcase c.Ceiling < 0:\n\t\treturn fmt.Errorf(\"ceiling %v: want 0 or more\", c.Ceiling)\n" +
						"\tcase c.Hysteresis < 0:\n",
				},
				fieldBound,
			},
		},
	}
}

func rustChanged() changed {
	const file = "sdk/rust/samples/threshold/src/main.rs"
	return changed{
		language: inRust, folder: "sdk/rust",
		build: func(b *bench, dir, out string) error {
			target := b.path("cargo")
			cmd := exec.CommandContext(b.ctx, "cargo", "build", "--quiet", "--locked", "--offline", "--release",
				"--target", "wasm32-wasip1", "-p", "threshold")
			cmd.Dir = filepath.Join(dir, "sdk", "rust")
			cmd.Env = append(os.Environ(), "CARGO_TARGET_DIR="+target,
				"CARGO_ENCODED_RUSTFLAGS=--remap-path-prefix="+cmd.Dir+"=/src")
			if text, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("cargo build: %w\n%s", err, text)
			}
			return os.Rename(filepath.Join(target, "wasm32-wasip1", "release", "threshold.wasm"), out)
		},
		edits: []edit{
			{"constant changed", file, []string{"unwrap_or(value)"}, []string{"unwrap_or(17.5)"}, constantBound},
			{
				"field added", file,
				[]string{"{ max: f64 }", "        ctx.kv_put"},
				[]string{
					"{ max: f64, least: Option<f64> }",
					"        if config.least.is_some_and(|least| value < least) {\n" +
						"            return Err(\"value: below the least\".into());\n        }\n        ctx.kv_put",
				},
				fieldBound,
			},
		},
	}
}

// differences builds a plugin before and after each of its edits.
func (b *bench) differences(plugin *changed) (out []line, err error) {
	dir := b.path("sources")
	for _, folder := range []string{"sdk/go", plugin.folder} {
		to := filepath.Join(dir, folder)
		if err := os.RemoveAll(to); err != nil {
			return nil, err
		}
		if err := os.CopyFS(to, os.DirFS(filepath.Join("plugins", folder))); err != nil {
			return nil, err
		}
	}
	work := []byte("go 1.24\n\nuse (\n\t./sdk/go\n\t./system-health\n)\n")
	if err := os.WriteFile(filepath.Join(dir, "go.work"), work, 0o600); err != nil {
		return nil, err
	}
	before, err := b.version(plugin, dir)
	if err != nil {
		return nil, err
	}
	for _, e := range plugin.edits {
		undo, err := e.make(dir)
		if err != nil {
			return nil, err
		}
		after, err := b.version(plugin, dir)
		if err = errors.Join(err, undo()); err != nil {
			return nil, err
		}
		l, err := differenceLine(before, after)
		if err != nil {
			return nil, err
		}
		l.metric = "bytes of " + plugin.language + ", a " + e.what
		l.target = ratioAtMost(e.bound)
		out = append(out, l)
	}
	return out, nil
}

func differenceLine(before, after []byte) (line, error) {
	if string(before) == string(after) {
		return line{}, errors.New("both versions are the same")
	}
	difference, err := delta.Make(before, after)
	if err != nil {
		return line{}, err
	}
	packed, err := delta.Make(nil, after)
	return line{value: float64(len(difference)), unit: "B", baseline: "packed", base: float64(len(packed))}, err
}

// version builds and meters the plugin as it stands in dir.
func (b *bench) version(plugin *changed, dir string) ([]byte, error) {
	file := b.path("version.wasm")
	if err := plugin.build(b, dir, file); err != nil {
		return nil, err
	}
	plain, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return build.Meter(plain)
}

// make changes the source in dir, until undo.
func (e *edit) make(dir string) (undo func() error, err error) {
	path := filepath.Join(dir, filepath.FromSlash(e.file))
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	now := string(text)
	for i, from := range e.from {
		if strings.Count(now, from) != 1 {
			return nil, fmt.Errorf("%s: %q is there %d times, want once", e.file, from, strings.Count(now, from))
		}
		now = strings.Replace(now, from, e.to[i], 1)
	}
	return func() error { return os.WriteFile(path, text, 0o600) }, os.WriteFile(path, []byte(now), 0o600)
}
