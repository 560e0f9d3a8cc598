//go:build linux && (amd64 || arm64 || riscv64)

package native

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// controllers are those that hold a plugin.
var controllers = []string{"memory", "cpu", "pids"}

// cpuPeriodUS is how often a share of CPU is given out anew.
const cpuPeriodUS = 50_000

// cgroups is where on this machine a plugin's groups go, by controller.
type cgroups struct {
	dirs map[string]groupDir
	why  map[string]string // controllers that are not to be had, and why
}

// groupDir is the agent's own group in one hierarchy.
type groupDir struct {
	path string
	v2   bool
}

// findCgroups looks for the agent's own groups and tries each controller.
func findCgroups() cgroups {
	c := cgroups{dirs: map[string]groupDir{}, why: map[string]string{}}
	own, err := ownGroups()
	for _, name := range controllers {
		if err != nil {
			c.why[name] = err.Error()
			continue
		}
		dir, err := chooseGroup(own, name)
		if err == nil {
			err = tryGroup(dir, name)
		}
		if err != nil {
			c.why[name] = err.Error()
			continue
		}
		c.dirs[name] = dir
	}
	return c
}

// chooseGroup returns the hierarchy that has a controller: the second version's if it has.
func chooseGroup(own map[string]groupDir, name string) (groupDir, error) {
	if v2, ok := own[""]; ok && listed(filepath.Join(v2.path, "cgroup.controllers"), name) {
		return v2, delegate(v2.path, name)
	}
	if v1, ok := own[name]; ok {
		return v1, nil
	}
	return groupDir{}, errors.New("no such controller here")
}

// listed reports whether a file of words has word.
func listed(file, word string) bool {
	b, err := os.ReadFile(file)
	return err == nil && slices.Contains(strings.Fields(string(b)), word)
}

// delegate makes a controller of the second version available below dir. That is ours to
// do in the root and in a group that the service manager has given away; there the agent
// has to sit in a leaf.
func delegate(dir, name string) error {
	control := filepath.Join(dir, "cgroup.subtree_control")
	if listed(control, name) {
		return nil
	}
	if _, err := os.Stat(filepath.Join(dir, "cgroup.type")); err == nil && !delegated(dir) { // the root has none
		return errors.New("group is not delegated to the agent (Delegate=yes in its unit)")
	}
	err := os.WriteFile(control, []byte("+"+name), 0)
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	leaf := filepath.Join(dir, "agent")
	if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	pid := strconv.Itoa(os.Getpid())
	if err := os.WriteFile(filepath.Join(leaf, "cgroup.procs"), []byte(pid), 0); err != nil {
		return err
	}
	return os.WriteFile(control, []byte("+"+name), 0)
}

func delegated(dir string) bool {
	var one [1]byte
	for _, attr := range []string{"trusted.delegate", "user.delegate"} {
		if n, err := unix.Getxattr(dir, attr, one[:]); err == nil && n == 1 && one[0] == '1' {
			return true
		}
	}
	return false
}

// tryGroup makes a group with a limit and removes it, and those that an agent which was
// killed has left.
func tryGroup(dir groupDir, name string) error {
	removeLeft(dir)
	g := &cgroup{dirs: map[string]groupDir{}}
	defer g.remove()
	if err := g.add(dir, name, groupPrefix+strconv.Itoa(os.Getpid())+"-try"); err != nil {
		return err
	}
	return g.limit(groupLimits{memory: 64 << 20, cores: 1, tasks: 64})
}

// groupPrefix begins the name of each group of ours; the agent's process and a number
// follow.
const groupPrefix = "stavily-"

// removeLeft removes the groups of agents that are no more.
func removeLeft(dir groupDir) {
	left, _ := filepath.Glob(filepath.Join(dir.path, groupPrefix+"*"))
	for _, old := range left {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(old), groupPrefix), "-")
		if _, err := os.Stat(filepath.Join("/proc", pid)); errors.Is(err, os.ErrNotExist) {
			_ = os.Remove(old)
		}
	}
}

// ownGroups returns the agent's own group in each hierarchy, by controller; that of the
// second version has no name.
func ownGroups() (map[string]groupDir, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	self, err := os.ReadFile("/proc/self/cgroup")
	return readGroups(string(mounts), string(self)), err
}

// readGroups reads what the kernel says of mounts and of a process's groups.
func readGroups(mounts, self string) map[string]groupDir {
	paths := map[string]string{}
	for line := range strings.Lines(self) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		names, path, _ := strings.Cut(rest, ":")
		for name := range strings.SplitSeq(names, ",") {
			paths[name] = path
		}
	}
	out := map[string]groupDir{}
	for line := range strings.Lines(mounts) {
		before, after, _ := strings.Cut(line, " - ")
		where, what := strings.Fields(before), strings.Fields(after)
		if len(where) < 5 || len(what) < 3 {
			continue
		}
		names := []string{""}
		switch what[0] {
		case "cgroup2":
		case "cgroup":
			names = strings.Split(what[2], ",")
		default:
			continue
		}
		for _, name := range names {
			path, known := paths[name]
			inner, below := strings.CutPrefix(path, strings.TrimSuffix(where[3], "/"))
			if known && below {
				out[name] = groupDir{filepath.Join(where[4], inner), what[0] == "cgroup2"}
			}
		}
	}
	return out
}

// groupLimits are the limits of one plugin's processes together.
type groupLimits struct {
	memory int64 // bytes
	cores  float64
	tasks  int
}

// cgroup is one plugin's groups, by controller.
type cgroup struct{ dirs map[string]groupDir }

// newGroup makes a plugin's groups with all controllers that are to be had.
func (c *cgroups) newGroup(name string, l groupLimits) (*cgroup, error) {
	g := &cgroup{dirs: map[string]groupDir{}}
	for _, controller := range controllers {
		dir, ok := c.dirs[controller]
		if !ok {
			continue
		}
		if err := g.add(dir, controller, name); err != nil {
			g.remove()
			return nil, err
		}
	}
	if err := g.limit(l); err != nil {
		g.remove()
		return nil, err
	}
	return g, nil
}

func (g *cgroup) add(dir groupDir, controller, name string) error {
	at := filepath.Join(dir.path, name)
	if err := os.Mkdir(at, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	g.dirs[controller] = groupDir{at, dir.v2}
	return nil
}

// limit writes the limits.
func (g *cgroup) limit(l groupLimits) error {
	if d, ok := g.dirs["memory"]; ok {
		if err := d.limitMemory(l.memory); err != nil {
			return err
		}
	}
	if d, ok := g.dirs["pids"]; ok {
		if err := d.write("pids.max", strconv.Itoa(l.tasks)); err != nil {
			return err
		}
	}
	d, ok := g.dirs["cpu"]
	quota := max(1000, int64(l.cores*cpuPeriodUS)) // less is refused
	switch {
	case !ok:
		return nil
	case d.v2:
		return d.write("cpu.max", fmt.Sprintf("%d %d", quota, cpuPeriodUS))
	}
	if err := d.write("cpu.cfs_period_us", strconv.Itoa(cpuPeriodUS)); err != nil {
		return err
	}
	return d.write("cpu.cfs_quota_us", strconv.FormatInt(quota, 10))
}

// limitMemory bounds memory and swap together.
func (d groupDir) limitMemory(bytes int64) error {
	n := strconv.FormatInt(bytes, 10)
	if d.v2 {
		_ = d.write("memory.swap.max", "0")  // there is no such file without swap
		_ = d.write("memory.oom.group", "1") // kernels before 4.19 kill one process
		return d.write("memory.max", n)
	}
	// With swap the sum is at least the memory: which goes first depends on what there was.
	_ = d.write("memory.memsw.limit_in_bytes", n)
	if err := d.write("memory.limit_in_bytes", n); err != nil {
		return err
	}
	_ = d.write("memory.memsw.limit_in_bytes", n)
	return nil
}

func (d groupDir) write(file, value string) error {
	return os.WriteFile(filepath.Join(d.path, file), []byte(value), 0o600)
}

// enter puts a process and its threads into the groups.
func (g *cgroup) enter(pid int) error {
	for _, c := range controllers {
		if d, ok := g.dirs[c]; ok {
			if err := d.write("cgroup.procs", strconv.Itoa(pid)); err != nil {
				return fmt.Errorf("cgroup %s: %w", c, err)
			}
		}
	}
	return nil
}

// outOfMemory reports whether a process of the group was killed for want of memory.
func (g *cgroup) outOfMemory() bool {
	d, ok := g.dirs["memory"]
	if !ok {
		return false
	}
	file := "memory.oom_control"
	if d.v2 {
		file = "memory.events"
	}
	b, _ := os.ReadFile(filepath.Join(d.path, file))
	for line := range strings.Lines(string(b)) {
		if n, found := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); found && n != "0" {
			return true
		}
	}
	return false
}

// processes returns what runs in the groups.
func (g *cgroup) processes() []int {
	var out []int
	for _, c := range controllers {
		d, ok := g.dirs[c]
		if !ok {
			continue
		}
		b, _ := os.ReadFile(filepath.Join(d.path, "cgroup.procs"))
		for _, word := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(word); err == nil {
				out = append(out, pid)
			}
		}
		return out
	}
	return nil
}

// remove removes the groups. Their processes must have ended.
func (g *cgroup) remove() {
	for _, c := range controllers {
		if d, ok := g.dirs[c]; ok {
			_ = os.Remove(d.path)
		}
	}
}
