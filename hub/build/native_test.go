package build

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	platform "github.com/stavily/stavily/firmware-targets"
	"github.com/stavily/stavily/protocol"
)

// program wants an ELF program for this machine that needs no loader, and returns its file.
func program(t *testing.T, o Output) string {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(o.Bytes))
	if err != nil {
		t.Fatal(err)
	}
	if f.Section(".interp") != nil && o.Note == "" {
		t.Errorf("%s: it needs a loader", o.Platform)
	}
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, o.Bytes, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// U-03, M-22, M-25: a native program instead of the module or beside it, as the manifest
// asks, the same bytes each time.
func TestGoNative(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the standard library for two systems")
	}
	if here().Name != "linux-amd64" {
		t.Skip("the program is run")
	}
	for name, c := range map[string]struct {
		native string
		calls  []string
		want   []string
		note   string
	}{
		"only":         {native: protocol.NativeOnly, want: []string{"linux-amd64"}, note: "runtime.native is only"},
		"also":         {native: protocol.NativeAlso, want: []string{"wasm", "linux-amd64"}, note: "runtime.native is also"},
		"a call":       {calls: []string{"read", "execve"}, want: []string{"linux-amd64"}, note: "allowed_system_calls has execve"},
		"nobody asked": {calls: []string{"read"}, want: []string{"wasm"}},
	} {
		t.Run(name, func(t *testing.T) {
			req := tiny.request(t)
			req.Manifest.Runtime.Native, req.Manifest.SystemCalls = c.native, c.calls
			req.Manifest.OS.Architectures = []string{"amd64"}
			req.TreeDigest = protocol.DigestOf([]byte(name))
			b := newBuilder(t)
			r, err := b.Build(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, o := range r.Outputs {
				got = append(got, o.Platform)
			}
			if !slices.Equal(got, c.want) || (r.Module != nil) != slices.Contains(c.want, "wasm") ||
				!strings.Contains(strings.Join(r.Builder.Notes, "\n"), c.note) {
				t.Fatalf("built %v, notes %q; want %v, %q", got, r.Builder.Notes, c.want, c.note)
			}
			last := r.Outputs[len(r.Outputs)-1]
			if last.Platform == protocol.PlatformWASM {
				return
			}
			if said, err := exec.Command(program(t, last)).CombinedOutput(); err != nil || string(said) != "2\n" {
				t.Errorf("the program says %q, %v", said, err)
			}
			again, err := newBuilder(t).Build(t.Context(), req)
			if err != nil || !bytes.Equal(again.Outputs[len(got)-1].Bytes, last.Bytes) {
				t.Errorf("built again: %v, or other bytes", err)
			}
		})
	}
}

// M-13, M-14: which platforms get a program, by what the manifest supports and what the
// module needs there.
func TestWantedNatives(t *testing.T) {
	module := func(kib int) []Output { return []Output{{Platform: "wasm", Bytes: make([]byte, kib<<10)}} }
	for name, c := range map[string]struct {
		os     protocol.OS
		native string
		module []Output
		want   []string
	}{
		"nothing said":          {protocol.OS{}, "", module(4096), nil},
		"large, named":          {protocol.OS{Architectures: []string{"amd64", "riscv64"}}, "", module(4096), []string{"linux-riscv64"}},
		"small, named":          {protocol.OS{Architectures: []string{"riscv64"}}, "", module(100), nil},
		"compiled":              {protocol.OS{Architectures: []string{"amd64", "arm64"}}, "", module(30_000), nil},
		"no sandbox there":      {protocol.OS{Architectures: []string{"arm/v7"}}, "", module(4096), nil},
		"asked":                 {protocol.OS{}, protocol.NativeAlso, module(100), jailed},
		"asked, one":            {protocol.OS{Architectures: []string{"arm64"}}, protocol.NativeAlso, module(100), []string{"linux-arm64"}},
		"asked, another system": {protocol.OS{Supported: []string{"darwin"}}, protocol.NativeAlso, module(100), []string{"refused"}},
		"only, no sandbox":      {protocol.OS{Architectures: []string{"arm/v6"}}, protocol.NativeOnly, nil, []string{"refused"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := &protocol.Manifest{OS: c.os, Runtime: protocol.Runtime{Language: "go", Native: c.native}}
			all, _, err := wantedNatives(m, c.module)
			var got []string
			for _, p := range all {
				got = append(got, p.Name)
			}
			if err != nil {
				got = []string{"refused"}
				wantError(t, err, protocol.CodeIncompatible, "it needs a native artifact", "linux-riscv64")
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// A language that has nothing native says so before anything is built.
func TestNativeOfAScript(t *testing.T) {
	for _, m := range []protocol.Manifest{
		{Runtime: protocol.Runtime{Language: "javascript", Native: protocol.NativeAlso}},
		{Runtime: protocol.Runtime{Language: "typescript"}, SystemCalls: []string{"fork"}},
	} {
		l, err := row(&m)
		if err != nil {
			t.Fatal(err)
		}
		wantError(t, l.can(&m), protocol.CodeIncompatible, "nothing native is built of "+l.title)
	}
}

// A crate becomes a program where the toolchain has the target; the release says for which
// platforms there is none.
func TestRustNative(t *testing.T) {
	if here().Name != "linux-amd64" {
		t.Skip("the program is run")
	}
	req := rust(t, plainCrate)
	req.Manifest.Runtime.Native = protocol.NativeOnly
	r, err := newBuilder(t).Build(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if r.Module != nil || r.Outputs[0].Platform != "linux-amd64" {
		t.Fatalf("built %v", r.Outputs)
	}
	if said, err := exec.Command(program(t, r.Outputs[0]), "x").CombinedOutput(); err != nil || string(said) != "2\n" {
		t.Errorf("the program says %q, %v", said, err)
	}
	c, err := findCargo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range jailed {
		p, _ := platform.Lookup(name)
		said := strings.Contains(r.Outputs[len(r.Outputs)-1].Note, name)
		if lacks := c.nativeTarget(p) == ""; lacks != said {
			t.Errorf("%s: has target %t, note %q", name, !lacks, r.Outputs[len(r.Outputs)-1].Note)
		}
	}
	req.Manifest.OS.Architectures = []string{"riscv64"}
	if p, _ := platform.Lookup("linux-riscv64"); c.nativeTarget(p) == "" {
		req.TreeDigest = protocol.DigestOf([]byte("riscv64"))
		_, err := newBuilder(t).Build(t.Context(), req)
		wantError(t, err, protocol.CodeUnavailable, "none for linux-riscv64: this hub's Rust has no target for it")
	}
}
