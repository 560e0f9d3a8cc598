package deploy

import (
	"strings"
	"testing"

	"github.com/stavily/stavily/protocol"
)

// M-07, M-10, M-11, M-13 to M-16, G-5, G-10, U-03: what is picked for an agent, and why.
func TestChoose(t *testing.T) {
	type change func(*Release, *Agent)
	both := func(platforms ...string) change { return func(r *Release, _ *Agent) { r.Platforms = platforms } }
	memory := func(name string, mb uint32, module int64) change {
		return func(r *Release, a *Agent) {
			a.Platform, a.MemoryMB, r.Modules = name, mb, make([]int64, len(r.Platforms))
			for i := range r.Modules {
				r.Modules[i] = module
			}
		}
	}
	python := func(have string, ranges ...string) change {
		return func(r *Release, a *Agent) {
			r.Platforms, r.Manifest.Runtime.Language = []string{"linux-amd64"}, "python"
			r.Manifest.Runtime.MinVersion, r.Manifest.Compatibility.Language.MinVersion = ranges[0], ranges[1]
			r.Manifest.Compatibility.Language.MaxVersion = ranges[2]
			if a.Native.Interpreters = map[string]string{"python": have}; have == "" {
				a.Native.Interpreters = nil
			}
		}
	}
	system := func(f func(*protocol.OS, *Agent)) change { return func(r *Release, a *Agent) { f(&r.Manifest.OS, a) } }
	const wasm, amd64 = protocol.PlatformWASM, "linux-amd64"
	for name, c := range map[string]struct {
		changes []change
		want    string // the platform, or empty for none
		why     string
	}{
		"a module only":  {[]change{both(wasm)}, wasm, "a module runs on every agent"},
		"both":           {[]change{both(wasm, amd64)}, wasm, "the native artifact is not needed"},
		"both and asked": {[]change{both(wasm, amd64), func(r *Release, _ *Agent) { r.Manifest.Runtime.Native = protocol.NativeAlso }}, amd64, "runtime.native asks"},
		"asked, runs none": {[]change{both(wasm, amd64), func(r *Release, a *Agent) {
			r.Manifest.Runtime.Native, a.Native = protocol.NativeAlso, nil
		}}, wasm, "natively: it runs no native artifacts: start it with --native"},
		"native only":            {[]change{both(amd64)}, amd64, "the release has no module"},
		"native only, runs none": {[]change{both(amd64), func(_ *Release, a *Agent) { a.Native = nil }}, "", "start it with --native"},
		"native for another":     {[]change{both("linux-arm64")}, "", "no artifact for platform linux-amd64, only for linux-arm64"},
		"not reported":           {[]change{both(wasm), func(_ *Release, a *Agent) { *a = Agent{Address: a.Address} }}, wasm, "a module"},
		"not reported, native":   {[]change{both(amd64), func(_ *Release, a *Agent) { *a = Agent{Address: a.Address} }}, "", "it has not said what it is"},

		"Go on a Pi 4": {[]change{both(wasm), memory("linux-arm64", 2048, 3_400_000)}, wasm, ""},
		"Go on 128 MB of armv7": {[]change{both(wasm), memory("linux-armv7", 128, 3_400_000)}, "", "3400 kB does not fit a device of 128 MB by the interpreter of " +
			"linux-armv7: 1048 kB at most"},
		"Go on 512 MB of armv7": {[]change{both(wasm), memory("linux-armv7", 512, 3_400_000)}, wasm, ""},
		"Rust on 64 MB of MIPS": {[]change{both(wasm), memory("linux-mipsle", 64, 100_000)}, wasm, ""},
		"too big, native": {
			[]change{both(wasm, "linux-riscv64"), memory("linux-riscv64", 256, 3_400_000)},
			"linux-riscv64",
			"as a module: its code of 3400 kB does not fit",
		},
		"fits, native not taken": {[]change{both(wasm, "linux-riscv64"), memory("linux-riscv64", 1024, 3_400_000)}, wasm, "not needed"},
		"memory not known":       {[]change{both(wasm), memory("linux-armv7", 0, 30_000_000)}, wasm, ""},

		"M-07 older":     {[]change{python("3.7", "3.8", "", "")}, "", "python >=3.8 is wanted, it has 3.7"},
		"M-07 equal":     {[]change{python("3.8", "3.8", "", "")}, amd64, ""},
		"M-10 in part":   {[]change{python("3.11", "3.8", ">=3.11.2", "<4.0.0")}, amd64, ""},
		"M-11 4.0":       {[]change{python("4.0", "3.8", ">=3.8.0", "<4.0.0")}, "", "python <4.0.0 is wanted, it has 4.0"},
		"M-11 bare":      {[]change{python("3.12", "3.8", "", "3.11")}, "", "python <=3.11 is wanted, it has 3.12"},
		"no interpreter": {[]change{python("", "3.8", "", "")}, "", "it has no python"},
		"M-13 windows only": {
			[]change{both(wasm), system(func(o *protocol.OS, _ *Agent) { o.Supported = []string{"windows"} })},
			"",
			"supported_os: want one of windows, it is linux",
		},
		"M-13 linux": {[]change{both(wasm), system(func(o *protocol.OS, _ *Agent) { o.Supported = []string{"windows", "linux"} })}, wasm, ""},
		"M-14, G-5 module": {[]change{both(wasm), memory("linux-armv7", 512, 1000), system(func(o *protocol.OS, _ *Agent) {
			o.Architectures = []string{"amd64", "arm64"}
		})}, wasm, ""},
		"M-14 native": {
			[]change{both(amd64), system(func(o *protocol.OS, _ *Agent) { o.Architectures = []string{"arm64"} })},
			"",
			"supported_architectures: want one of arm64, it is amd64",
		},
		"M-15 older": {
			[]change{both(wasm), system(func(o *protocol.OS, a *Agent) { o.MinKernel, a.Kernel = "4.15.0", "4.14.302-armv7" })},
			"",
			"min_kernel_version: want 4.15.0, it has 4.14.302-armv7",
		},
		"M-15 equal": {[]change{both(wasm), system(func(o *protocol.OS, a *Agent) { o.MinKernel, a.Kernel = "4.15.0", "4.15.0" })}, wasm, ""},
		"M-15 darwin": {[]change{both(wasm), system(func(o *protocol.OS, a *Agent) {
			o.MinKernel, a.Kernel, a.Platform = "4.15.0", "4.0.0", "darwin-arm64"
		})}, wasm, ""},
		"M-15 not known": {[]change{both(wasm), system(func(o *protocol.OS, _ *Agent) { o.MinKernel = "4.15.0" })}, wasm, ""},
		"M-16 musl, native": {[]change{both(amd64), system(func(o *protocol.OS, a *Agent) {
			o.Libraries, a.Native.Libc = []string{"libc6"}, "musl"
		})}, "", "required_libraries: libc6 is glibc, it has musl"},
		"M-16 musl, module": {[]change{both(wasm, amd64), system(func(o *protocol.OS, a *Agent) {
			o.Libraries, a.Native.Libc = []string{"libc6"}, "musl"
		})}, wasm, ""},
		"M-16 glibc": {[]change{both(amd64), system(func(o *protocol.OS, _ *Agent) { o.Libraries = []string{"libc6", "libfoo"} })}, amd64, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := Release{Manifest: protocol.Manifest{Plugin: protocol.PluginInfo{Name: "p", Version: "1.0.0"}}}
			r.Manifest.Runtime.Language = "go"
			a := Agent{
				Address: protocol.Address{Site: "s", Agent: "a"}, Platform: amd64, MemoryMB: 4096,
				Native: &protocol.Native{Libc: "glibc"},
			}
			for _, f := range c.changes {
				f(&r, &a)
			}
			got, err := Choose(&r, &a)
			said := got.Why
			if err != nil {
				said = err.Error()
				if !strings.Contains(said, "release p@1.0.0: agent s/a: ") || protocol.CodeOf(err) != protocol.CodeIncompatible {
					t.Errorf("refused with %v: %s", protocol.CodeOf(err), said)
				}
			}
			if got.Platform != c.want || !strings.Contains(said, c.why) {
				t.Errorf("got %q: %s\nwant %q: %s", got.Platform, said, c.want, c.why)
			}
		})
	}
}
