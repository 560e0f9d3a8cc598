package deploy

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/Masterminds/semver/v3"

	platform "github.com/stavily/stavily/firmware-targets"
	"github.com/stavily/stavily/protocol"
)

// Choice is the artifact of a release that an agent is to load, and why that one.
type Choice struct {
	Platform string // protocol.PlatformWASM, or the agent's for the native one
	Why      string
}

// Choose picks the artifact of r for a, or says why none serves (M-13 to M-16). A module
// is preferred where it serves, because the engine holds it the same everywhere; a native
// artifact is taken where the module does not fit the device, where there is no module,
// and where the manifest asks for it by runtime.native. An agent that has not said yet
// what it is gets the benefit of the doubt: it refuses by itself what it cannot load. The
// error has CodeIncompatible.
func Choose(r *Release, a *Agent) (Choice, error) {
	if err := serves(r, a); err != nil {
		return Choice{}, refused(r, a, err.Error())
	}
	noModule, noNative := r.module(a), r.nativeFor(a)
	module := Choice{protocol.PlatformWASM, "a module runs on every agent"}
	process := Choice{a.Platform, ""}
	switch asks := r.Manifest.Runtime.Native == protocol.NativeAlso; {
	case noModule != "" && noNative != "":
		return Choice{}, refused(r, a, "as a module: "+noModule+"; natively: "+noNative)
	case noNative != "":
		if slices.ContainsFunc(r.Platforms, isNative) {
			module.Why = "natively: " + noNative
		}
		return module, nil
	case noModule != "":
		process.Why = "as a module: " + noModule
		return process, nil
	case asks:
		process.Why = "runtime.native asks for it"
		return process, nil
	}
	module.Why = "the module serves, so that the native artifact is not needed"
	return module, nil
}

// SameMachine reports whether Choose picks the same for two agents.
func (a *Agent) SameMachine(b *Agent) bool {
	return a.Platform == b.Platform && a.Kernel == b.Kernel && a.MemoryMB == b.MemoryMB &&
		reflect.DeepEqual(a.Native, b.Native)
}

func isNative(name string) bool { return name != protocol.PlatformWASM }

func refused(r *Release, a *Agent, why string) error {
	return protocol.Errorf(protocol.CodeIncompatible, "release %s: agent %s: %s", &r.Manifest, a.Address, why)
}

// serves holds the agent to what the manifest asks of any machine (M-13, M-15).
func serves(r *Release, a *Agent) error {
	want := &r.Manifest.OS
	system, _, _ := strings.Cut(strings.ReplaceAll(a.Platform, "/", "-"), "-")
	if system != "" && len(want.Supported) > 0 && !slices.Contains(want.Supported, system) {
		return fmt.Errorf("os_requirements.supported_os: want one of %s, it is %s", strings.Join(want.Supported,
			", "),
			system)
	}
	if want.MinKernel == "" || a.Kernel == "" || system != "linux" {
		return nil
	}
	if least, ok := numbers(want.MinKernel); ok {
		if have, ok := numbers(a.Kernel); ok && slices.Compare(have, least) < 0 {
			return fmt.Errorf("os_requirements.min_kernel_version: want %s, it has %s", want.MinKernel, a.Kernel)
		}
	}
	return nil
}

// numbers returns what a version begins with, at most three numbers.
func numbers(version string) (out []int, ok bool) {
	for part := range strings.SplitSeq(version, ".") {
		n, digits := 0, 0
		for digits < len(part) && digits < 9 && part[digits] >= '0' && part[digits] <= '9' {
			n, digits = n*10+int(part[digits]-'0'), digits+1
		}
		if digits == 0 {
			break
		}
		if out = append(out, n); len(out) == 3 || digits < len(part) {
			break
		}
	}
	return out, len(out) > 0
}

// module says why a cannot run the release as a module, empty when it can.
func (r *Release) module(a *Agent) string {
	i := slices.Index(r.Platforms, protocol.PlatformWASM)
	if i < 0 {
		return "the release has no module"
	}
	of, known := targets()[a.Platform]
	if !known || a.MemoryMB == 0 || i >= len(r.Modules) {
		return ""
	}
	// A platform's bound is for its smallest device; more memory holds more in proportion.
	most := int64(of.ModuleKiB) << 10 * int64(a.MemoryMB) / int64(of.RAMMiB)
	if size := r.Modules[i]; size > most {
		return fmt.Sprintf("its code of %d kB does not fit a device of %d MB by the %s of %s: %d kB at most",
			(size+999)/1000, a.MemoryMB, of.Engine, of.Name, most/1000)
	}
	return ""
}

// nativeFor says why a cannot run the release natively, empty when it can.
func (r *Release) nativeFor(a *Agent) string {
	switch {
	case !slices.ContainsFunc(r.Platforms, isNative):
		return "the release has no native artifact"
	case a.Platform == "":
		return "it has not said what it is"
	case !isNative(a.Platform) || !slices.Contains(r.Platforms, a.Platform):
		return fmt.Sprintf("no artifact for platform %s, only for %s", a.Platform, strings.Join(r.Platforms, ", "))
	case a.Native == nil:
		return "it runs no native artifacts: start it with --native"
	}
	m := &r.Manifest
	if of, ok := targets()[a.Platform]; ok && len(m.OS.Architectures) > 0 &&
		!slices.Contains(m.OS.Architectures, of.Arch) {
		return fmt.Sprintf("os_requirements.supported_architectures: want one of %s, it is %s",
			strings.Join(m.OS.Architectures, ", "), of.Arch)
	}
	for _, library := range m.OS.Libraries {
		if libc, ok := libcs[library]; ok && a.Native.Libc != "" && a.Native.Libc != libc {
			return fmt.Sprintf("os_requirements.required_libraries: %s is %s, it has %s", library, libc, a.Native.Libc)
		}
	}
	return interpreterFor(m, a.Native)
}

// targets are the platforms by name.
var targets = sync.OnceValue(func() map[string]platform.Platform {
	out := map[string]platform.Platform{}
	for _, p := range platform.All() {
		out[p.Name] = p
	}
	return out
})

// libcs are the names of the two C libraries that a machine may have (M-16, G-10). Other
// libraries are looked for by the agent.
var libcs = map[string]string{"libc6": "glibc", "glibc": "glibc", "libc.so.6": "glibc", "musl": "musl"}

// interpreted are the languages whose native artifacts the machine's own interpreter runs.
var interpreted = []string{"python"}

// interpreterFor holds what the agent said of its interpreter to the manifest's ranges
// (M-07, M-10, M-11). Only as many numbers are compared as are known.
func interpreterFor(m *protocol.Manifest, have *protocol.Native) string {
	language := m.Runtime.Language
	if !slices.Contains(interpreted, language) {
		return ""
	}
	version := have.Interpreters[language]
	if version == "" {
		return "it has no " + language
	}
	for _, text := range m.LanguageRanges() {
		if !may(version, text) {
			return fmt.Sprintf("%s %s is wanted, it has %s", language, text, version)
		}
	}
	return ""
}

// may reports whether a version of which perhaps only the first numbers are known can be
// in a range.
func may(version, text string) bool {
	c, err := semver.NewConstraint(text)
	if err != nil {
		return false
	}
	full := []string{version}
	if n := strings.Count(version, "."); n < 2 {
		full = []string{version + strings.Repeat(".0", 2-n), version + strings.Repeat(".999", 2-n)}
	}
	return slices.ContainsFunc(full, func(s string) bool {
		v, err := semver.NewVersion(s)
		return err == nil && c.Check(v)
	})
}
