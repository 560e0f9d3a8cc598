package hub

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// M-31: what the policy is, by file and by flag; a slip of the pen has its place.
func TestConfigFile(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		flag BuildPolicy
		want BuildPolicy
		err  string
	}{
		"none":        {"", BuildPolicy{AllowUnmeasured: true}, BuildPolicy{AllowUnmeasured: true}, ""},
		"both":        {"builds:\n  allow_unmeasured: true\n", BuildPolicy{AllowUnconfined: true}, BuildPolicy{true, true}, ""},
		"says no":     {"builds: { allow_unmeasured: false }\n", BuildPolicy{}, BuildPolicy{}, ""},
		"a slip":      {"builds:\n  allow_unmesured: true\n", BuildPolicy{}, BuildPolicy{}, "hub.yaml:2:3: builds.allow_unmesured"},
		"another":     {"build: {}\n", BuildPolicy{}, BuildPolicy{}, "hub.yaml:1:1: build"},
		"not a truth": {"builds: { allow_unconfined: perhaps }\n", BuildPolicy{}, BuildPolicy{}, "hub.yaml:1:"},
		"no document": {"a: b: c", BuildPolicy{}, BuildPolicy{}, "hub.yaml: mapping"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := DefaultConfig(t.TempDir())
			cfg.Builds = c.flag
			if c.text != "" {
				check(t, os.WriteFile(filepath.Join(cfg.Home, "hub.yaml"), []byte(c.text), 0o600))
			}
			got, err := cfg.WithFile()
			if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("got %v, want %q", err, c.err)
			}
			if c.err == "" && (err != nil || got.Builds != c.want) {
				t.Errorf("got %+v, %v, want %+v", got.Builds, err, c.want)
			}
		})
	}
}
