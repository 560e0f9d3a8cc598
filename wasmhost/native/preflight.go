//go:build linux && (amd64 || arm64 || riscv64)

package native

import (
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stavily/stavily/protocol"
)

// Preflight says whether this machine is what a manifest asks of it for a native artifact:
// system, architecture, kernel (M-13 to M-15) and libraries (M-16). The error has
// CodeIncompatible and names the field, what is wanted and what is here.
func Preflight(m *protocol.Manifest) error {
	if !asked(m.OS.Supported, runtime.GOOS) {
		return incompatible("os_requirements.supported_os: want one of %s, this is %s",
			strings.Join(m.OS.Supported, ", "), runtime.GOOS)
	}
	if !asked(m.OS.Architectures, runtime.GOARCH) && !asked(m.OS.Architectures, tripletArch) {
		return incompatible("os_requirements.supported_architectures: want one of %s, this is %s",
			strings.Join(m.OS.Architectures, ", "), runtime.GOARCH)
	}
	if err := checkKernel(m.OS.MinKernel); err != nil {
		return err
	}
	for _, name := range m.OS.Libraries {
		if _, found := findLibrary(name); !found {
			return incompatible("os_requirements.required_libraries: %q is not here: none of %s in %s",
				name, strings.Join(libraryFiles(name), ", "), strings.Join(libraryDirs, ", "))
		}
	}
	return nil
}

func incompatible(format string, args ...any) error {
	return protocol.Errorf(protocol.CodeIncompatible, format, args...)
}

// asked reports whether have is among those that serve; none named means any.
func asked(serve []string, have string) bool {
	same := func(s string) bool { return strings.EqualFold(s, have) }
	return len(serve) == 0 || slices.ContainsFunc(serve, same)
}

func checkKernel(want string) error {
	if want == "" {
		return nil
	}
	have := kernelRelease()
	least, ok := parseVersion(want)
	if !ok {
		return incompatible("os_requirements.min_kernel_version: %q is no version", want)
	}
	if h, ok := parseVersion(have); ok && slices.Compare(h, least) < 0 {
		return incompatible("os_requirements.min_kernel_version: want %s, this is %s", want, have)
	}
	return nil
}

// kernelRelease is what uname -r prints.
func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// checkInterpreter holds an interpreter's version against the manifest's bounds (M-07,
// M-10, M-11): a bare version is the least, or for max_version the most, that serves;
// anything else is a list of comparisons such as ">=3.8.0, <4.0.0".
func checkInterpreter(m *protocol.Manifest, have string) error {
	if have == "" {
		return nil
	}
	bounds := []struct{ field, bound, bare string }{
		{"runtime.min_version", m.Runtime.MinVersion, ">="},
		{"compatibility.programming_language.min_version", m.Compatibility.Language.MinVersion, ">="},
		{"compatibility.programming_language.max_version", m.Compatibility.Language.MaxVersion, "<="},
	}
	for _, b := range bounds {
		ok, err := within(have, b.bound, b.bare)
		if err != nil {
			return incompatible("%s: %q is no version", b.field, b.bound)
		}
		if !ok {
			return incompatible("%s: want %s, the interpreter here is %s", b.field, b.bound, have)
		}
	}
	return nil
}

// within reports whether a version keeps every comparison of bound. Only as many numbers
// are compared as are known: 3.11 serves for ">=3.11.2".
func within(have, bound, bare string) (bool, error) {
	h, _ := parseVersion(have)
	for part := range strings.SplitSeq(bound, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		op := part[:len(part)-len(strings.TrimLeft(part, "<>=!~^"))]
		want, ok := parseVersion(strings.TrimSpace(part[len(op):]))
		if !ok {
			return false, strconv.ErrSyntax
		}
		if op == "" {
			op = bare
		}
		n := min(len(h), len(want))
		c := slices.Compare(h[:n], want[:n])
		var kept bool
		switch op {
		case ">=":
			kept = c >= 0
		case "<=":
			kept = c <= 0
		case ">":
			kept = c > 0
		case "<":
			kept = c < 0
		case "=", "==":
			kept = c == 0
		default:
			return false, strconv.ErrSyntax
		}
		if !kept {
			return false, nil
		}
	}
	return true, nil
}

// parseVersion returns the numbers that a version begins with: at most three.
func parseVersion(s string) ([]int, bool) {
	var out []int
	for part := range strings.SplitSeq(strings.TrimPrefix(s, "v"), ".") {
		digits := part[:len(part)-len(strings.TrimLeft(part, "0123456789"))]
		n, err := strconv.Atoi(digits)
		if err != nil {
			break
		}
		out = append(out, n)
		if len(out) == 3 || digits != part {
			break
		}
	}
	return out, len(out) > 0
}

// libraryAliases are names of packages whose files are called otherwise. A star stands for
// any characters.
var libraryAliases = map[string][]string{
	"libc":         {"libc.so.6", "ld-musl-*.so.1"},
	"libc6":        {"libc.so.6"},
	"glibc":        {"libc.so.6"},
	"musl":         {"ld-musl-*.so.1"},
	"libgcc-s1":    {"libgcc_s.so.1"},
	"libgcc":       {"libgcc_s.so.1"},
	"zlib":         {"libz.so.1"},
	"zlib1g":       {"libz.so.1"},
	"openssl":      {"libssl.so.*"},
	"openssl-libs": {"libssl.so.*"},
	"libstdc++":    {"libstdc++.so.6"},
}

// libraryFiles returns the names of files that a library may have: by the table, as
// Debian makes packages of sonames (libssl3: libssl.so.3), or as it is written.
func libraryFiles(name string) []string {
	lower := strings.ToLower(name)
	if known, ok := libraryAliases[lower]; ok {
		return known
	}
	if strings.Contains(name, ".so") {
		return []string{name}
	}
	stem := strings.TrimRight(lower, "0123456789.")
	if version := lower[len(stem):]; version != "" {
		stem = strings.TrimSuffix(stem, "-")
		return []string{stem + ".so." + version, stem + "-" + version + ".so.*", lower + ".so*"}
	}
	return []string{lower + ".so*", "lib" + strings.TrimPrefix(lower, "lib") + ".so*"}
}

// findLibrary looks for a library where the loader would.
func findLibrary(name string) (path string, found bool) {
	if strings.ContainsRune(name, '/') {
		return "", false
	}
	for _, dir := range libraryDirs {
		for _, at := range []string{filepath.Join(dir, multiarch), dir} {
			for _, file := range libraryFiles(name) {
				if hits, _ := filepath.Glob(filepath.Join(at, file)); len(hits) > 0 {
					return hits[0], true
				}
			}
		}
	}
	return "", false
}
