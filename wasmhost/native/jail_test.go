//go:build linux && (amd64 || arm64 || riscv64)

package native

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stavily/stavily/protocol"
)

// jailed returns a host with namespaces, or skips: where there are none, nothing of what
// follows can be asked for.
func jailed(t *testing.T) *Host {
	t.Helper()
	h := newHost(t, Config{})
	if h.facts.jail == 0 {
		t.Skipf("no namespaces here: %s", h.facts.jailWhy)
	}
	return h
}

// What a plugin tries and must not get. The list is that of the native jail's design: each
// row names what it tries, and what must stand in the answer (S-01, S-08, M-22 to M-25).
func TestJailHolds(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	p := load(t, jailed(t), action(), probe(t))
	cases := []struct {
		name, do, text string
		n              int
		want           string
	}{
		{"a password file", "read", "/etc/shadow", 0, "denied|no such file"},
		{"the machine's processes", "read", "/proc/1/environ", 0, "denied|no such file"},
		{"the agent's root by its process", "list", "/proc/1/root", 0, "denied|no such file"},
		{"the root", "list", "/", 0, "denied"},
		{"another home", "list", "/root", 0, "denied|no such file"},
		{"a way up", "list", "/plugin/../../../..", 0, "denied"},
		{"its own program", "write", "/plugin/main", 1, "denied|read-only|permitted"},
		{"a file beside its program", "write", "/plugin/x", 1, "denied|read-only|permitted"},
		{"a file in the root", "write", "/x", 1, "denied|read-only|permitted"},
		{"a disk", "read", "/dev/sda", 0, "denied|no such file"},
		{"a connection to the machine", "dial", listener.Addr().String(), 0, "not permitted"},
		{"a socket", "socket", "", unix.AF_INET, "not permitted"},
		{"a local socket", "socket", "", unix.AF_UNIX, "not permitted"},
		{"a raw socket", "socket", "", unix.AF_PACKET, "not permitted"},
		{"a mount", "mount", "", 0, "not permitted"},
		{"a namespace", "unshare", "", 0, "not permitted"},
		{"tracing", "ptrace", "", 0, "not permitted"},
		{"another process", "kill", "", os.Getpid(), "not permitted"},
		{"a change of user", "setuid", "", 0, "not permitted"},
		{"a second program", "exec", "/plugin/main", 0, "not permitted"},
		{"its program's descriptor", "execfd", "", 12, "not permitted"},
		{"the first descriptor of all", "execfd", "", execFD, "bad file"},
		{"a large file", "write", "/tmp/x", tmpBytes + 1, "too large|no space|signal"},
		{"a full folder", "fill", "", tmpBytes>>20 + 2, "no space"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			said := tell(t, p, c.do, c.text, c.n)
			ok := slices.ContainsFunc(strings.Split(c.want, "|"), func(w string) bool { return strings.Contains(said, w) })
			if !ok {
				t.Errorf("said %q, want one of %s", said, c.want)
			}
		})
	}
	if got := tell(t, p, "whoami", "", 0); got != "uid "+strconv.Itoa(p.room.plan.order.ID)+" pid 1" {
		t.Errorf("is %s", got)
	}
}

// What it may have all the same.
func TestJailLetsLive(t *testing.T) {
	p := load(t, jailed(t), action(), probe(t))
	for _, c := range []struct {
		do, text string
		n        int
		want     string
	}{
		{"write", "/tmp/x", 1000, "done"},
		{"list", "/tmp", 0, "x"},
		{"list", "/plugin", 0, "main"},
		{"read", "/dev/null", 0, "read "},
		{"call", "", 0, `{"reply":{"n":1,"error":{"code":"denied","text":"call kv.get: capability kv is not granted"}}}`},
	} {
		if got := tell(t, p, c.do, c.text, c.n); got != c.want {
			t.Errorf("%s %s: said %q, want %q", c.do, c.text, got, c.want)
		}
	}
}

// M-20: the streams are among the descriptors, and what Go's runtime holds.
func TestDescriptors(t *testing.T) {
	m := action()
	m.Limits.Files = 20
	p := load(t, jailed(t), m, probe(t))
	got, err := strconv.Atoi(tell(t, p, "files", "", 100))
	if err != nil || got > 17 || got < 10 {
		t.Errorf("opened %d files with max_file_descriptors 20", got)
	}
	if got := tell(t, p, "echo", "still here", 0); got != "still here" {
		t.Errorf("afterwards it said %q", got)
	}
}

// M-25: processes are for those who name what makes them, and bounded even so.
func TestForkBomb(t *testing.T) {
	for _, without := range [][]string{nil, {LayerCgroup}} {
		t.Run(strings.Join(append(without, "held"), " "), func(t *testing.T) { forkBomb(t, without) })
	}
}

func forkBomb(t *testing.T, without []string) {
	h := newHost(t, Config{Without: without})
	m := action()
	m.SystemCalls = []string{"read", "write", "open", "close", "execve", "fork", "wait"} // as in the seed
	if h.facts.jail == 0 || without == nil && h.groups.why["pids"] != "" || without != nil && !h.root {
		t.Skipf("processes are not counted here: %s %s", h.facts.jailWhy, h.groups.why["pids"])
	}
	p := load(t, h, m, probe(t))
	started, err := strconv.Atoi(tell(t, p, "forks", "", 200))
	if err != nil || started < 3 || started >= tasksMax {
		t.Errorf("started %d processes, the limit of tasks is %d", started, tasksMax)
	}
	if got := tell(t, p, "mount", "", 0); !strings.Contains(got, "not permitted") {
		t.Errorf("with these calls it may mount: %s", got)
	}
}

// M-17, S-06.
func TestMemory(t *testing.T) {
	h := jailed(t)
	for _, without := range [][]string{nil, {LayerCgroup}} {
		t.Run(strings.Join(append(without, "held"), " "), func(t *testing.T) {
			if without != nil {
				h = newHost(t, Config{Without: without})
			} else if h.groups.why["memory"] != "" {
				t.Skipf("no cgroup: %s", h.groups.why["memory"])
			}
			m := action()
			m.Limits.MemoryMB = 48
			p := load(t, h, m, probe(t))
			if got := tell(t, p, "memory", "", 20); got != "done" {
				t.Errorf("20 MB: %s", got)
			}
			a := ask(p, "memory", "", 400)
			said := ""
			if a.Error == nil {
				_ = protocol.Unmarshal(a.Data, &said)
			}
			if said == "" && protocol.CodeOf(a.Error) != protocol.CodeMemory || said != "" && !strings.Contains(said, "memory") {
				t.Errorf("400 MB with max_memory_mb 48: %q, %v", said, a.Error)
			}
			if got := tell(t, p, "echo", "again", 0); got != "again" {
				t.Errorf("the next request got %q", got)
			}
		})
	}
}

// M-18: by cgroup and by standing still. A fifth, so that it can be had on a machine that
// is busy with other tests.
func TestShareOfCPU(t *testing.T) {
	if testing.Short() {
		t.Skip("computes for seconds")
	}
	for _, without := range [][]string{nil, {LayerCgroup}} {
		t.Run(strings.Join(append(without, "held"), " "), func(t *testing.T) {
			h := newHost(t, Config{Without: without})
			if h.facts.jail == 0 || without == nil && h.groups.why["cpu"] != "" {
				t.Skipf("%s %s", h.facts.jailWhy, h.groups.why["cpu"])
			}
			m := action()
			m.Limits.CPUCores = 0.2
			p := load(t, h, m, probe(t))
			share, err := strconv.Atoi(tell(t, p, "spin", "", 2000))
			t.Logf("max_cpu_cores 0.2: %d %% of a core", share)
			if err != nil || share > 23 || share < 1 { // how little is the other tests' doing
				t.Errorf("had %d %% of a core, want at most 20", share)
			}
		})
	}
}

// A child in a session of its own ends with the deadline as its parent does (M-19).
func TestDeadlineEndsChildren(t *testing.T) {
	m := action()
	m.Limits.Seconds = 2
	m.SystemCalls = []string{"fork", "execve", "setsid"}
	p := load(t, jailed(t), m, probe(t))
	began := time.Now()
	a := ask(p, "orphan", "", 0)
	if protocol.CodeOf(a.Error) != protocol.CodeDeadline {
		t.Errorf("answer %+v, want a deadline", a)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %s with max_execution_time_seconds 2", took)
	}
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range lines {
		if b, _ := os.ReadFile(file); strings.Contains(string(b), "stavily-orphan") {
			t.Errorf("%s lives on", file)
		}
	}
	if got := tell(t, p, "echo", "next", 0); got != "next" {
		t.Errorf("the next request got %q", got)
	}
}

// A plugin ends with its agent, however that ends.
func TestKilledAgent(t *testing.T) {
	jailed(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "probe")
	if err := os.WriteFile(file, probe(t), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "be-an-agent", file)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 5000)
	if err != nil || n != 1 {
		t.Errorf("plugin lives on after its agent: %d, %v", n, err)
	}
}

// An agent without any privilege has a jail all the same, but for what only root has to
// give: groups, and another user.
func TestUnprivileged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("is not root, so every other test is this one")
	}
	jailed(t)
	dir, err := os.MkdirTemp("", "native-nobody")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	self, file := filepath.Join(dir, "self"), filepath.Join(dir, "probe")
	me, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = errors.Join(os.Chmod(dir, 0o755), os.WriteFile(self, me, 0o755), os.WriteFile(file, probe(t), 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "jail-a-program", file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	cmd.Env = []string{"TMPDIR=/tmp"}
	cmd.Stderr = os.Stderr
	run := func(id int, do, text string) string {
		return fmt.Sprintf(`{"id":%d,"run":{"event":{"data":{"do":%q,"text":%q}}}}`+"\n", id, do, text)
	}
	cmd.Stdin = strings.NewReader(`{"init":{}}` + "\n" + run(1, "whoami", "") + run(2, "read", "/etc/passwd") +
		run(3, "mount", "") + run(4, "write", "/tmp/x"))
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	want := []string{"hello", "ready", "uid 0 pid 1", "open /etc/passwd: ", "not permitted", "done"}
	if len(lines) != len(want) {
		t.Fatalf("said %q", lines)
	}
	for i := range want {
		if !strings.Contains(lines[i], want[i]) {
			t.Errorf("said %q, want %q", lines[i], want[i])
		}
	}
}
