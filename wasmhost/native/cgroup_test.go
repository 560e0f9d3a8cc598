//go:build linux && (amd64 || arm64 || riscv64)

package native

import (
	"os"
	"path/filepath"
	"testing"
)

// Where the groups are on systems of either version, of both, and in containers.
func TestReadGroups(t *testing.T) {
	const (
		v2     = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
		memory = "33 30 0:30 / /sys/fs/cgroup/memory rw shared:15 - cgroup cgroup rw,memory\n"
		cpu    = "34 30 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
		inside = "40 30 0:30 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
		disk   = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
	)
	for _, c := range []struct{ name, mounts, self, controller, want string }{
		{"second", disk + v2, "0::/system.slice/edge.service\n", "", "/sys/fs/cgroup/system.slice/edge.service"},
		{"second, root", v2, "0::/\n", "", "/sys/fs/cgroup"},
		{"first", disk + memory + cpu, "4:memory:/a\n2:cpu,cpuacct:/\n", "memory", "/sys/fs/cgroup/memory/a"},
		{"first, two at one place", cpu, "2:cpu,cpuacct:/b\n", "cpu", "/sys/fs/cgroup/cpu,cpuacct/b"},
		{"container", inside, "4:memory:/docker/abc/x\n", "memory", "/sys/fs/cgroup/memory/x"},
		{"another container's", inside, "4:memory:/docker/def\n", "memory", ""},
		{"not mounted", disk, "4:memory:/\n0::/\n", "memory", ""},
		{"nonsense", " - \n - cgroup\nx\n", ":\n\n::::\n", "memory", ""},
	} {
		got := readGroups(c.mounts, c.self)[c.controller]
		if got.path != c.want || c.want != "" && got.v2 != (c.controller == "") {
			t.Errorf("%s: %+v, want %q", c.name, got, c.want)
		}
	}
}

// What is written into groups of the second version; those of the first hold the other
// tests, where they are.
func TestGroupsOfTheSecondVersion(t *testing.T) {
	dir := groupDir{t.TempDir(), true}
	c := cgroups{dirs: map[string]groupDir{"memory": dir, "cpu": dir, "pids": dir}}
	g, err := c.newGroup("stavily-1-1", groupLimits{memory: 64 << 20, cores: 0.25, tasks: 64})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.enter(42); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"memory.max": "67108864", "memory.swap.max": "0", "memory.oom.group": "1", "cpu.max": "12500 50000",
		"pids.max": "64", "cgroup.procs": "42",
	} {
		b, err := os.ReadFile(filepath.Join(dir.path, "stavily-1-1", file))
		if err != nil || string(b) != want {
			t.Errorf("%s holds %q, %v; want %q", file, b, err, want)
		}
	}
	events := filepath.Join(dir.path, "stavily-1-1", "memory.events")
	for text, want := range map[string]bool{"oom 1\noom_kill 0\n": false, "oom 1\noom_kill 2\n": true} {
		if err := os.WriteFile(events, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if g.outOfMemory() != want {
			t.Errorf("%q: out of memory is not %v", text, want)
		}
	}
	if got := g.processes(); len(got) != 1 || got[0] != 42 {
		t.Errorf("processes %v", got)
	}
}

// A group of the service manager's that was not given away is left alone.
func TestNotDelegated(t *testing.T) {
	dir := t.TempDir()
	for file, text := range map[string]string{"cgroup.type": "domain", "cgroup.subtree_control": "pids\n"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := delegate(dir, "memory"); err == nil {
		t.Error("memory is taken where it was not delegated")
	}
	if err := delegate(dir, "pids"); err != nil {
		t.Errorf("pids is there: %v", err)
	}
}
