package build

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/stavily/stavily/protocol"
)

// A hub without one of a language's tools says which one is missing and the exact way to it.
func TestMissingToolSaysHowToGetIt(t *testing.T) {
	for tool, hint := range map[string]string{
		"go": "install Go", "rustc": "install Rust", "wasm32-wasip1": "run `rustup target add wasm32-wasip1`, or on Debian " +
			"`apt-get install cargo libstd-rust-dev-wasm32 lld`", "cpython": "make engines",
	} {
		t.Run(tool, func(t *testing.T) {
			for _, l := range builders {
				i := slices.IndexFunc(l.needs, func(n need) bool { return n.name == tool })
				if i < 0 {
					continue
				}
				without := *l
				without.needs = slices.Clone(l.needs)[i:]
				without.needs[0].probe = func(context.Context) (string, error) { return "", errors.New("not installed") }
				_, err := without.toolchain(t.Context())
				wantError(t, err, protocol.CodeUnavailable, "no "+l.title+" toolchain: "+tool+": not installed", hint)
				return
			}
			t.Errorf("no language needs %s", tool)
		})
	}
}
