//go:build linux && (amd64 || arm64 || riscv64)

package native

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/wasmhost"
	"github.com/stavily/stavily/wasmhost/conform"
)

// Whoever breaks the contract is ended, and the next request gets a fresh process (S-01).
func TestContract(t *testing.T) {
	h := jailed(t)
	for _, c := range []struct {
		do   string
		n    int
		code protocol.Code
		text string
	}{
		{"unknown", 0, protocol.CodeContract, ""},
		{"big", 200 << 10, protocol.CodeContract, "131072"},
		{"large data", 30 << 10, protocol.CodeLimit, ""},
		{"exit", 3, protocol.CodeContract, "exit 3: going"},
		{"sleep", 0, protocol.CodeDeadline, "2000 ms"},
		{"twice", 0, 0, ""},
	} {
		t.Run(c.do, func(t *testing.T) {
			m := action()
			m.Limits.Seconds = 2
			p := load(t, h, m, probe(t))
			before := p.room.last.Load()
			a := ask(p, c.do, "", c.n)
			if c.do == "twice" { // heard now, or before the next request
				if a.Error != nil && a.Error.Code != protocol.CodeContract {
					t.Errorf("answered %v", a.Error)
				}
				waitSaid(t, before)
			} else if protocol.CodeOf(a.Error) != c.code || !strings.Contains(a.Error.Error(), c.text) {
				t.Errorf("answered %v, want %v with %q", a.Error, c.code, c.text)
			}
			if got := tell(t, p, "echo", "next", 0); got != "next" {
				t.Errorf("the next request got %q", got)
			}
			kept := c.code == protocol.CodeLimit
			if (p.room.last.Load() == before) != kept {
				t.Errorf("the next request got the same process: %v, want %v", p.room.last.Load() == before, kept)
			}
		})
	}
}

// waitSaid waits until the process has said more, or was ended for it.
func waitSaid(t *testing.T, proc *process) {
	t.Helper()
	if proc.Gone() {
		return
	}
	raw, err := proc.stdout.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	_ = raw.Control(func(fd uintptr) {
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 5000)
	})
	if n != 1 || err != nil {
		t.Fatalf("said nothing more: %d, %v", n, err)
	}
}

// A flood of log lines is cut, and costs the plugin its own time.
func TestLogFlood(t *testing.T) {
	var through atomic.Int64
	calls, err := wasmhost.New(context.Background(), wasmhost.Config{Lines: func(protocol.LogLine) { through.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	h := jailed(t)
	h.cfg.Calls = calls
	p := load(t, h, action(), probe(t))
	proc := p.room.last.Load()
	tell(t, p, "log", "", 500)
	p.Close(context.Background())
	<-proc.mute
	if lines := through.Load(); lines < 1 || lines > 50 {
		t.Errorf("%d lines of 500 came through", lines)
	}
}

// Grants are those of now, denials are counted, and usage says what a call cost.
func TestCallsAndUsage(t *testing.T) {
	m := action()
	m.Permissions.System = []string{protocol.CapKV}
	p := load(t, jailed(t), m, probe(t))
	if got := tell(t, p, "call", "", 0); !strings.Contains(got, "denied") {
		t.Errorf("without a grant: %s", got)
	}
	p.SetGrants([]protocol.Grant{{Capability: protocol.CapKV}})
	a := ask(p, "call", "", 0)
	if a.Error != nil || a.Usage.HostCalls != 1 || a.Usage.Denied != 0 || a.Usage.TookUS <= 0 || a.Usage.MemoryB < 1<<20 {
		t.Errorf("answer %v, usage %+v", a.Error, a.Usage)
	}
	if a := ask(p, "spin", "", 50); a.Usage.CPUUS < 1000 {
		t.Errorf("computing for 50 ms cost %+v", a.Usage)
	}
	want := []protocol.Audit{{Plugin: "probe", Workflow: "w", Capability: protocol.CapKV, Allowed: 1, Denied: 1, Subject: "kv.get"}}
	if got := p.Counters(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("counters %+v, want %+v", got, want)
	}
	if got := tell(t, p, "read", "/proc/meminfo", 0); strings.HasPrefix(got, "read") {
		t.Errorf("without metrics.read: %s", got)
	}
	if !p.Rest() || p.Rest() {
		t.Error("rest: want one process ended, once")
	}
	if got := tell(t, p, "echo", "up", 0); got != "up" {
		t.Errorf("after its rest it said %q", got)
	}
	p.Close(context.Background())
	if a := ask(p, "echo", "", 0); protocol.CodeOf(a.Error) != protocol.CodeUnavailable {
		t.Errorf("closed, it answered %+v", a)
	}
}

// The machine's figures are there for who may read them, from the next request on, and
// never another process.
func TestFigures(t *testing.T) {
	m := action()
	m.Permissions.System = []string{protocol.CapMetrics}
	p := load(t, jailed(t), m, probe(t))
	p.SetGrants([]protocol.Grant{{Capability: protocol.CapMetrics}})
	if got := tell(t, p, "read", "/proc/meminfo", 0); !p.room.last.Load().status.Proc {
		t.Skipf("no /proc in a jail here: %v", p.room.last.Load().status.Notes)
	} else if !strings.HasPrefix(got, "read MemTotal") {
		t.Errorf("with metrics.read: %s", got)
	}
	if got := tell(t, p, "list", "/proc", 0); strings.Contains(got, " 2 ") || !strings.HasPrefix(got, "1 ") {
		t.Errorf("sees the processes %.40s", got)
	}
	if got := tell(t, p, "list", "/sys/devices", 0); !strings.Contains(got, "system") {
		t.Errorf("with metrics.read, /sys/devices: %s", got)
	}
	if got := tell(t, p, "list", "/sys/kernel", 0); !strings.Contains(got, "no such file") {
		t.Errorf("sees /sys/kernel: %s", got)
	}
	if got := tell(t, p, "write", "/proc/self/comm", 1); got == "done" {
		t.Error("writes to /proc")
	}
	held := tell(t, p, "grep", "/proc/self/status", 0)
	for _, line := range []string{
		"CapBnd:\t0000000000000000", "CapPrm:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2",
	} {
		if !strings.Contains(held, line) {
			t.Errorf("%q is not in its status:\n%s", line, held)
		}
	}
	p.SetGrants(nil)
	if got := tell(t, p, "read", "/proc/meminfo", 0); strings.HasPrefix(got, "read") {
		t.Errorf("after the grant: %s", got)
	}
}

// What does not fit this machine, or its policy, is refused with the field (M-11, M-15,
// M-16, M-22, M-25).
func TestRefused(t *testing.T) {
	h, program := jailed(t), probe(t)
	for _, c := range []struct {
		name string
		edit func(*protocol.Manifest, *wasmhost.Spec)
		code protocol.Code
		text string
	}{
		{"digest", func(_ *protocol.Manifest, s *wasmhost.Spec) { s.Digest[0]++ }, protocol.CodeDigest, "want"},
		{"kernel", func(m *protocol.Manifest, _ *wasmhost.Spec) { m.OS.MinKernel = "99.1" }, protocol.CodeIncompatible, "99.1"},
		{"system", func(m *protocol.Manifest, _ *wasmhost.Spec) { m.OS.Supported = []string{"darwin"} }, protocol.CodeIncompatible, "darwin"},
		{"architecture", func(m *protocol.Manifest, _ *wasmhost.Spec) { m.OS.Architectures = []string{"s390x"} }, protocol.CodeIncompatible, "s390x"},
		{"library", func(m *protocol.Manifest, _ *wasmhost.Spec) { m.OS.Libraries = []string{"libnothing7"} }, protocol.CodeIncompatible, "libnothing.so.7"},
		{"call unknown", func(m *protocol.Manifest, _ *wasmhost.Spec) { m.SystemCalls = []string{"read", "raed"} }, protocol.CodeIncompatible, `"raed"`},
		{"call that nobody has", func(m *protocol.Manifest, _ *wasmhost.Spec) { m.SystemCalls = []string{"ptrace"} }, protocol.CodeIncompatible, `"ptrace"`},
		{"no sandbox", func(m *protocol.Manifest, _ *wasmhost.Spec) { m.Sandbox = false }, protocol.CodeRefused, "sandbox_mode"},
		{"no program", func(_ *protocol.Manifest, s *wasmhost.Spec) {
			s.Wasm = []byte("#!/bin/sh\n")
			s.Digest = protocol.DigestOf(s.Wasm)
		}, protocol.CodeUnverified, "ELF"},
		{"another plugin", func(m *protocol.Manifest, _ *wasmhost.Spec) { m.Plugin.Name = "other" }, protocol.CodeContract, "other"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := spec(action(), program)
			c.edit(&s.Manifest, &s)
			p, err := h.Load(context.Background(), s)
			if err == nil {
				p.Close(context.Background())
			}
			if protocol.CodeOf(err) != c.code || err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("load: %v, want %v with %q", err, c.code, c.text)
			}
		})
	}
	if left, _ := os.ReadDir(h.cfg.Dir); len(left) != 1 {
		t.Errorf("%d folders are left, want the root only", len(left))
	}
}

// Where a layer lacks, the plugin is refused, and where policy takes it so, what lacks is
// told by name.
func TestWithoutLayers(t *testing.T) {
	program := probe(t)
	for _, layer := range []string{LayerNamespaces, LayerSeccomp} {
		h := newHost(t, Config{Without: []string{layer}})
		_, err := h.Load(context.Background(), spec(action(), program))
		if protocol.CodeOf(err) != protocol.CodeRefused || !strings.Contains(err.Error(), layer) {
			t.Errorf("without %s: load: %v", layer, err)
		}
		h = newHost(t, Config{Without: []string{layer, LayerCgroup}, Need: []string{LayerFiles}})
		if h.facts.landlock == 0 && layer == LayerNamespaces {
			t.Skip("neither namespaces nor Landlock")
		}
		p := load(t, h, action(), program)
		lacks := p.Confinement().Unenforced()
		for _, field := range []string{layer, "sandbox_mode", LayerCgroup} {
			if !slices.ContainsFunc(lacks, func(r Rule) bool { return r.Field == field && r.By != "" }) {
				t.Errorf("without %s: %s is not told:\n%s", layer, field, lacks)
			}
		}
		if got := tell(t, p, "read", "/etc/shadow", 0); strings.HasPrefix(got, "read ") {
			t.Errorf("without %s: /etc/shadow is read", layer)
		}
		if got := tell(t, p, "kill", "", os.Getpid()); got == "done" {
			t.Errorf("without %s: it may kill", layer)
		}
	}
}

// A process that does not die when it is killed, here because its thread is traced by the
// agent, holds up neither the call nor the next one.
func TestProcessThatDoesNotDie(t *testing.T) {
	h := newHost(t, Config{Need: []string{LayerFiles}, Without: []string{LayerSeccomp}})
	if h.facts.jail == 0 {
		t.Skip(h.facts.jailWhy)
	}
	m := action()
	m.Limits.Seconds = 2
	p := load(t, h, m, probe(t))
	tell(t, p, "ptrace", "", 0)
	if a := ask(p, "sleep", "", 0); protocol.CodeOf(a.Error) != protocol.CodeDeadline {
		t.Errorf("answered %+v", a)
	}
	if got := tell(t, p, "echo", "next", 0); got != "next" {
		t.Errorf("the next request got %q", got)
	}
}

// A policy may need more than the default, and what it misspells is not passed over.
func TestNeed(t *testing.T) {
	for field, text := range map[string]string{"cgroup": "cgroup: not enforced: memory: not used", "namespaces ": "no such field"} {
		h := newHost(t, Config{Need: []string{field}, Without: []string{LayerCgroup}})
		_, err := h.Load(context.Background(), spec(action(), probe(t)))
		if protocol.CodeOf(err) != protocol.CodeRefused || !strings.Contains(err.Error(), text) {
			t.Errorf("need %q: %v", field, err)
		}
	}
}

// Every SDK says in a jail what it says as a module: the same cases, each with the answer
// that must come, in both encodings.
func TestConformance(t *testing.T) {
	jailed(t)
	for _, encoding := range []string{"json", "cbor"} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			file := build(t, source{"../../plugins/sdk/go", "./conformance", "-X main.encoding=" + encoding})
			r, err := conform.Run(context.Background(),
				conform.Target{Command: []string{os.Args[0], "jail-a-program", file}},
				conform.Options{Cases: conform.Cases(), Clock: time.Now})
			if err != nil {
				t.Fatal(err)
			}
			made := 0
			for _, c := range r.Checks {
				switch c.Verdict {
				case conform.Failed:
					t.Errorf("%s: %s", c.Name, c.Detail)
				case conform.OK:
					made++
				}
			}
			if made < 60 || r.Encoding != encoding {
				t.Errorf("%d checks made, in %s", made, r.Encoding)
			}
		})
	}
}
