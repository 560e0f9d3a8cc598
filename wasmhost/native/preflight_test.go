//go:build linux && (amd64 || arm64 || riscv64)

package native

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stavily/stavily/protocol"
)

// M-07, M-10, M-11: bounds as people write them.
func TestWithin(t *testing.T) {
	for _, c := range []struct {
		have, bound, bare string
		ok                bool
	}{
		{"3.11", "3.8", ">=", true},
		{"3.7", "3.8", ">=", false},
		{"3.11", ">=3.8.0, <4.0.0", ">=", true},
		{"4.0", "<4.0.0", "<=", false},
		{"3.11", "3.11", "<=", true},
		{"3.12", "3.11", "<=", false},
		{"3.11", ">=3.11.2", ">=", true}, // what is not known is not held against it
		{"3.11", "", ">=", true},
		{"3.10", "==3.10", ">=", true},
	} {
		if ok, err := within(c.have, c.bound, c.bare); ok != c.ok || err != nil {
			t.Errorf("%s within %s (%s): %v, %v", c.have, c.bound, c.bare, ok, err)
		}
	}
	for _, bound := range []string{"three", ">=", "~=3.8", "><3"} {
		if _, err := within("3.11", bound, ">="); err == nil {
			t.Errorf("%q is taken for a version", bound)
		}
	}
	m := action()
	m.Compatibility.Language.MaxVersion = "<3.0"
	if err := checkInterpreter(&m, "3.11"); err == nil || !strings.Contains(err.Error(), "max_version: want <3.0") {
		t.Errorf("3.11 for <3.0: %v", err)
	}
}

// M-15, and that what is not Linux does not come here.
func TestKernel(t *testing.T) {
	for want, ok := range map[string]bool{"": true, "2.6.32": true, "4.15.0": true, "99": false, "new": false} {
		if err := checkKernel(want); (err == nil) != ok {
			t.Errorf("kernel %q: %v", want, err)
		}
	}
	if v, ok := parseVersion("6.18.44-fc-v595"); !ok || !slices.Equal(v, []int{6, 18, 44}) {
		t.Errorf("6.18.44-fc-v595 is %v", v)
	}
}

// M-16: packages by their Debian names are looked for by their files.
func TestLibraries(t *testing.T) {
	for name, want := range map[string]string{
		"libc6": "libc.so.6", "glibc": "libc.so.6", "musl": "ld-musl-*.so.1", "libssl3": "libssl.so.3",
		"libpython3.11": "libpython.so.3.11", "libfoo.so.2": "libfoo.so.2", "zlib1g": "libz.so.1", "libffi8": "libffi.so.8",
	} {
		if got := libraryFiles(name); got[0] != want {
			t.Errorf("%s: %q, want %s first", name, got, want)
		}
	}
	if path, found := findLibrary("../etc/passwd"); found {
		t.Errorf("found %s", path)
	}
}

// M-25, G-2: the list widens the base within what a jail can give, and no further.
func TestSystemCalls(t *testing.T) {
	plain, err := systemCalls([]string{"read", "write", "open", "close", "ioctl"})
	if err != nil || plain.Fork {
		t.Fatalf("plain calls: %v, %+v", err, plain)
	}
	wide, err := systemCalls([]string{"execve", "fork", "wait"})
	if err != nil || !wide.Fork || len(wide.Numbers) != len(plain.Numbers)+3 {
		t.Errorf("execve, fork, wait: %v, %d calls over %d", err, len(wide.Numbers), len(plain.Numbers))
	}
	for _, never := range []string{"mount", "ptrace", "bpf", "socket", "setns", "init_module", "", "READ", "read "} {
		if _, err := systemCalls([]string{never}); protocol.CodeOf(err) != protocol.CodeIncompatible {
			t.Errorf("%q: %v", never, err)
		}
	}
	for _, n := range slices.Concat(base, legacyBase, grantable, legacyGrantable) {
		for _, m := range []uint32{unix.SYS_MOUNT, unix.SYS_PTRACE, unix.SYS_UNSHARE, unix.SYS_CLONE, unix.SYS_SOCKET, unix.SYS_BPF} {
			if n.nr == m {
				t.Errorf("%s is let through", n.name)
			}
		}
	}
	if p := filter(wide); len(p) > 4096 {
		t.Errorf("filter has %d instructions, the kernel takes 4096", len(p))
	}
}

// pack makes a tar.
func pack(t testing.TB, headers []tar.Header, body string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(body))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			_, _ = w.Write([]byte(body))
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// An artifact's files go into its folder and nowhere else.
func TestUnpack(t *testing.T) {
	file := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o777} }
	dir := t.TempDir()
	_, err := unpack(pack(t, []tar.Header{file("main"), {Name: "lib", Typeflag: tar.TypeDir, Mode: 0o700}, file("lib/a/b.py")}, "x"), dir)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "lib/a/b.py")); err != nil || info.Mode().Perm() != 0o555 {
		t.Errorf("lib/a/b.py: %v, %v", info, err)
	}
	for name, bad := range map[string][]byte{
		"no tar":     []byte("PK\x03\x04"),
		"up":         pack(t, []tar.Header{file("../x")}, "x"),
		"absolute":   pack(t, []tar.Header{file("/etc/x")}, "x"),
		"link":       pack(t, []tar.Header{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/etc"}}, "x"),
		"hard link":  pack(t, []tar.Header{file("a"), {Name: "l", Typeflag: tar.TypeLink, Linkname: "a"}}, "x"),
		"device":     pack(t, []tar.Header{{Name: "d", Typeflag: tar.TypeChar}}, "x"),
		"twice":      pack(t, []tar.Header{file("a"), file("a")}, "x"),
		"file/child": pack(t, []tar.Header{file("a"), file("a/b")}, "x"),
		"cut":        pack(t, []tar.Header{file("a")}, strings.Repeat("x", 5000))[:2000],
	} {
		if _, err := unpack(bad, t.TempDir()); err == nil {
			t.Errorf("%s is unpacked", name)
		}
	}
}

// FuzzTar: what our reader takes the standard library's takes for the same, or not at all.
func FuzzTar(f *testing.F) {
	file := tar.Header{Name: "a/b", Typeflag: tar.TypeReg, Mode: 0o755}
	long := tar.Header{Name: strings.Repeat("d/", 60) + strings.Repeat("x", 90), Typeflag: tar.TypeReg, Mode: 0o644}
	f.Add(pack(f, []tar.Header{file, long, {Name: "c/", Typeflag: tar.TypeDir, Mode: 0o755}}, "body"))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = summed(b)
		theirs := tar.NewReader(bytes.NewReader(b))
		_ = readTar(b, func(f tarFile) error {
			h, err := theirs.Next()
			if err != nil { // of fields that ours has no use for
				return err
			}
			body, err := io.ReadAll(theirs)
			if err != nil || !bytes.Equal(body, f.body) || h.Name != f.name || h.Mode != f.mode || (h.Typeflag == tar.TypeDir) != f.dir {
				t.Fatalf("%q mode %o, %d bytes: the standard library has %+v, %v", f.name, f.mode, len(f.body), h, err)
			}
			return nil
		})
	})
}

// summed gives the first header its checksum, which no fuzzer would guess.
func summed(b []byte) []byte {
	if len(b) < tarBlock {
		return b
	}
	b = bytes.Clone(b)
	sum := 8 * int(' ')
	for i, c := range b[:tarBlock] {
		if i < atSum || i >= atType {
			sum += int(c)
		}
	}
	copy(b[atSum:], fmt.Sprintf("%06o\x00 ", sum))
	copy(b[atMagic:], tarMagic)
	return b
}

// A long name comes in two halves.
func TestTarNames(t *testing.T) {
	name := strings.Repeat("d/", 60) + strings.Repeat("x", 90)
	var got []string
	err := readTar(pack(t, []tar.Header{{Name: name, Typeflag: tar.TypeReg}, {Name: "ü", Typeflag: tar.TypeReg, Format: tar.FormatGNU}}, "x"),
		func(f tarFile) error { got = append(got, f.name); return nil })
	if len(got) != 1 || got[0] != name || protocol.CodeOf(err) != protocol.CodeUnverified {
		t.Errorf("names %q, %v; a GNU header must be refused", got, err)
	}
}

// FuzzUnpack: no artifact leads out of its folder or ends the agent.
func FuzzUnpack(f *testing.F) {
	f.Add([]byte(elfMagic))
	f.Add(append([]byte(elfMagic), make([]byte, 80)...))
	f.Add(pack(f, []tar.Header{{Name: "../x", Typeflag: tar.TypeReg}, {Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/"}}, "x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		inner := filepath.Join(dir, "in")
		if err := os.Mkdir(inner, 0o700); err != nil {
			t.Fatal(err)
		}
		_, _ = unpack(b, inner)
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Fatalf("%d entries beside the folder, %v", len(entries), err)
		}
	})
}

// The machine's own CPython runs a tar with a __main__.py, sees its own modules and
// nothing of the site's (U-03).
func TestPython(t *testing.T) {
	if _, err := pythonProfile(); err != nil {
		t.Skip(err)
	}
	h := jailed(t)
	m := action()
	m.Runtime = protocol.Runtime{Language: "python", MinVersion: "3.6"}
	source, err := os.ReadFile("testdata/probe.py")
	if err != nil {
		t.Fatal(err)
	}
	artifact := pack(t, []tar.Header{
		{Name: "__main__.py", Typeflag: tar.TypeReg, Mode: 0o644}, {Name: "vendored.py", Typeflag: tar.TypeReg, Mode: 0o644},
	}, string(source))
	p := load(t, h, m, artifact)
	if got := tell(t, p, "echo", "ü", 0); got != "ü" {
		t.Errorf("echo: %q", got)
	}
	for do, want := range map[string]string{
		"import vendored": "done", "import json, ssl, sqlite3, ctypes, threading": "done", "import pip": "No module",
		"open('/etc/passwd')": "Errno", "open('/usr/lib/x', 'w')": "Errno", "import os; os.fork()": "not permitted",
		"import socket; socket.socket()": "not permitted", "import subprocess; subprocess.run(['/plugin/x'])": "rror",
		"import threading as t; x = t.Thread(target=print, args=('',), kwargs={'file': sys.stderr}); x.start(); x.join()": "done",
	} {
		if got := tell(t, p, "exec", do, 0); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", do, got, want)
		}
	}
	m.Compatibility.Language.MaxVersion = "<3.0"
	if _, err := h.Load(t.Context(), spec(m, artifact)); protocol.CodeOf(err) != protocol.CodeIncompatible {
		t.Errorf("a newer interpreter than max_version: %v", err)
	}
}

// A program that needs its loader gets it, and what it loads.
func TestDynamicProgram(t *testing.T) {
	compiler, err := exec.LookPath("cc")
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("no C compiler")
	}
	h := jailed(t)
	out := filepath.Join(t.TempDir(), "c")
	if text, err := exec.Command(compiler, "-O1", "-o", out, "testdata/probe.c").CombinedOutput(); err != nil {
		t.Skipf("no working C compiler: %s", text)
	}
	program, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if !needsLoader(program) {
		t.Skip("the compiler links statically")
	}
	p := load(t, h, action(), program)
	if a := ask(p, "anything", "", 0); a.Error != nil || string(a.Data) != "\x07" {
		t.Errorf("answered %+v", a)
	}
}

// FuzzWords: whatever a manifest says of versions, libraries and calls, it is an answer.
func FuzzWords(f *testing.F) {
	f.Add(">=3.8.0, <4.0.0")
	f.Add("libc6")
	f.Fuzz(func(t *testing.T, s string) {
		_, _ = within("3.11", s, ">=")
		_ = checkKernel(s)
		if len(libraryFiles(s)) == 0 {
			t.Errorf("%q has no file", s)
		}
		if set, err := systemCalls([]string{s}); err == nil && slices.Contains(set.Numbers, unix.SYS_MOUNT) {
			t.Errorf("%q mounts", s)
		}
	})
}
