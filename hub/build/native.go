package build

import (
	"archive/tar"
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"

	platform "github.com/stavily/stavily/firmware-targets"
	"github.com/stavily/stavily/protocol"
)

// jailed are the platforms whose agents can run a native artifact: the ones that have a
// sandbox for it (wasmhost/native).
var jailed = []string{"linux-amd64", "linux-arm64", "linux-riscv64"}

// nativePlatforms returns the platforms for which m's native artifacts are built: those
// that it supports (M-13, M-14) of those that have a sandbox.
func nativePlatforms(m *protocol.Manifest) ([]platform.Platform, error) {
	var out []platform.Platform
	for _, name := range jailed {
		p, ok := platform.Lookup(name)
		if ok && asked(m.OS.Supported, p.GOOS) && asked(m.OS.Architectures, p.Arch) {
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		return nil, protocol.Errorf(protocol.CodeIncompatible, "plugin %s: it needs a native artifact, and of the "+
			"platforms that can run one, %s, its os_requirements support none", m, strings.Join(jailed, ", "))
	}
	return out, nil
}

// asked reports whether have is among those that serve; none named means any.
func asked(serve []string, have string) bool { return len(serve) == 0 || slices.Contains(serve, have) }

// tarred packs files the same way each time, as agents unpack them: a POSIX tar of regular
// files in the order of their names, with no times and no owners.
func tarred(files map[string][]byte) ([]byte, error) {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		err := t.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(files[name])), Format: tar.FormatUSTAR,
		})
		if err == nil {
			_, err = t.Write(files[name])
		}
		if err != nil {
			return nil, protocol.Errorf(protocol.CodeBadInput, "tar: %q: %w", clipText(name), err)
		}
	}
	if err := t.Close(); err != nil {
		return nil, fmt.Errorf("tar: %w", err)
	}
	return b.Bytes(), nil
}

// nativeCalls are system calls that no module can make, not even by another name: who
// asks for one wants a process of its own (M-25).
var nativeCalls = []string{
	"accept", "accept4", "bind", "clone", "clone3", "connect", "dup", "dup2", "dup3", "execve", "execveat",
	"fork",
	"ioctl", "kill", "listen", "pipe", "pipe2", "prctl", "ptrace", "recvfrom", "recvmsg", "sendmsg", "sendto",
	"setsid", "socket", "socketpair", "tgkill", "vfork", "wait", "wait3", "wait4", "waitid", "waitpid",
}

// wantsNative says why m's plugin runs as a process and not as a module, empty for one
// that can be either.
func wantsNative(m *protocol.Manifest) string {
	if m.Runtime.Native == protocol.NativeOnly {
		return "runtime.native is only"
	}
	for _, call := range m.SystemCalls {
		if slices.Contains(nativeCalls, call) {
			return "allowed_system_calls has " + call + ", which no module can make"
		}
	}
	return ""
}

// wantedNatives returns the platforms for which a compiled language's program is built
// beside the module, or instead of it, and why: all that m supports where it asks for that;
// else those that it names itself, whose engine would need more memory for the module than
// their smallest device has.
func wantedNatives(m *protocol.Manifest, module []Output) (out []platform.Platform, why string, err error) {
	if why = wantsNative(m); why != "" || m.Runtime.Native == protocol.NativeAlso {
		out, err = nativePlatforms(m)
		return out, cmp.Or(why, "runtime.native is also"), err
	}
	if len(m.OS.Architectures) == 0 || len(module) == 0 {
		return nil, "", nil
	}
	possible, err := nativePlatforms(m)
	if err != nil { // nobody asked for one
		return nil, "", nil //nolint:nilerr // see above
	}
	for _, p := range possible {
		if p.Engine == platform.EngineInterpreter && len(module[0].Bytes) > p.ModuleKiB<<10 {
			out = append(out, p)
		}
	}
	return out, "the module is too large for small devices that interpret it", nil
}

// can refuses what wants to be native in a language that has no native artifacts.
func (l *language) can(m *protocol.Manifest) error {
	why := wantsNative(m)
	if why == "" && m.Runtime.Native == protocol.NativeAlso {
		why = "runtime.native is also"
	}
	if why == "" || l.native {
		return nil
	}
	return protocol.Errorf(protocol.CodeIncompatible, "plugin %s: %s, and nothing native is built of %s", m,
		why, l.title)
}

// here is the platform of this hub.
func here() platform.Platform {
	p, _ := platform.Lookup(runtime.GOOS + "-" + runtime.GOARCH)
	return p
}
