//go:build linux && (amd64 || arm64 || riscv64)

package native

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stavily/stavily/protocol"
)

// What a manifest does not bound.
const (
	tmpBytes = 16 << 20 // of /tmp, and of one file
	tasksMax = 64       // threads and processes
	// dataSlack is what RLIMIT_DATA has beyond max_memory_mb: Go's runtime maps its memory
	// in pieces of 64 MB that it does not use yet.
	dataSlack = 96 << 20
	// filesMax is the most descriptors that a plugin can have: execFD is above them.
	filesMax = 1000
)

// plan is how one plugin is jailed, and what of its manifest that keeps.
type plan struct {
	order      order
	cloneFlags uintptr
	group      groupLimits
	cores      float64 // for the pacer; 0: a cgroup does it
	memory     int64   // for the pacer; 0: a cgroup does it
	rules      Confinement
}

// planned is what a plan is made of.
type planned struct {
	manifest *protocol.Manifest
	limits   protocol.Limits
	profile  profile
	dir      string // the unpacked artifact
	proc     bool   // may read the machine's figures
}

// plan decides how a plugin is jailed.
func (h *Host) plan(w planned) (*plan, error) {
	calls, err := systemCalls(w.manifest.SystemCalls)
	if err != nil {
		return nil, err
	}
	p := &plan{
		cloneFlags: h.facts.jail,
		group: groupLimits{
			memory: int64(w.limits.MemoryMB) << 20, cores: w.limits.CPUCores, tasks: tasksMax,
		},
		order: order{
			Jail: h.facts.jail != 0, Root: h.rootDir(), Program: w.dir, Binds: w.profile.binds, Proc: w.proc,
			TmpBytes: tmpBytes, ID: h.insideID(h.facts.jail), Exec: w.profile.exec, Args: w.profile.args,
			Env: environ(w.limits), Landlock: h.facts.landlock > 0, Seccomp: h.facts.seccomp, Calls: calls,
		},
	}
	if !p.order.Jail {
		p.order.Exec = strings.Replace(p.order.Exec, pluginDir, w.dir, 1)
		for i, a := range p.order.Args {
			p.order.Args[i] = strings.Replace(a, pluginDir, w.dir, 1)
		}
	}
	files := min(uint64(w.limits.Files), filesMax)
	p.order.Rlimits = []rlimit{
		{unix.RLIMIT_NOFILE, files},
		{unix.RLIMIT_FSIZE, tmpBytes},
		{unix.RLIMIT_CORE, 0},
		{unix.RLIMIT_MEMLOCK, 0},
		{unix.RLIMIT_MSGQUEUE, 0},
	}
	if h.facts.jail&unix.CLONE_NEWUSER != 0 && h.root { // else those of others would count
		p.order.Rlimits = append(p.order.Rlimits, rlimit{unix.RLIMIT_NPROC, tasksMax})
	}
	if h.groups.dirs["memory"].path == "" {
		p.memory = p.group.memory
		p.order.Data = uint64(p.memory + dataSlack)
	}
	if h.groups.dirs["cpu"].path == "" {
		p.cores = w.limits.CPUCores
	}
	h.judge(p, &w)
	return p, h.refuse(w.manifest, p.rules)
}

// environ is all the environment that a plugin has. Go's runtime takes its bounds from it.
func environ(l protocol.Limits) []string {
	return []string{
		"PATH=" + pluginDir, "HOME=" + tmpDir, "TMPDIR=" + tmpDir, "LANG=C.UTF-8",
		fmt.Sprintf("GOMEMLIMIT=%dMiB", max(1, l.MemoryMB*7/8)),
		fmt.Sprintf("GOMAXPROCS=%d", max(1, int(math.Ceil(l.CPUCores)))),
	}
}

// refuse holds what is enforced against what the device's policy needs (M-22).
func (h *Host) refuse(m *protocol.Manifest, rules Confinement) error {
	if !m.Sandbox {
		return protocol.Errorf(protocol.CodeRefused,
			"sandbox_mode false: the policy of this device runs no native plugin outside a sandbox")
	}
	for _, field := range h.cfg.Need {
		r := rules.Of(field)
		if r.Field == "" {
			return protocol.Errorf(protocol.CodeRefused, "the policy of this device needs %q: no such field", field)
		}
		if !r.Enforced {
			return protocol.Errorf(protocol.CodeRefused, "sandbox_mode: %s: not enforced: %s; "+
				"the policy of this device needs it", field, r.By)
		}
	}
	return nil
}

// Layers says which layers of a jail this machine has, before any plugin.
func (h *Host) Layers() Confinement {
	var c Confinement
	p := &plan{order: order{Jail: h.facts.jail != 0, Landlock: h.facts.landlock > 0, Seccomp: h.facts.seccomp}}
	h.judgeLayers(&c, p)
	return c
}

// judgeLayers says how each layer is kept.
func (h *Host) judgeLayers(c *Confinement, p *plan) {
	jail := p.order.Jail
	c.add(LayerNamespaces, jail, orWhy(jail, h.namespaceWords(), h.facts.jailWhy))
	c.add(LayerFiles, jail || p.order.Landlock, h.fileWords(p))
	c.add(LayerCapabilities, true, "none, bounding set empty, no_new_privs")
	c.add(LayerLandlock, p.order.Landlock, orWhy(p.order.Landlock,
		fmt.Sprintf("ABI %d", min(h.facts.landlock, 7)), h.lacking(LayerLandlock)))
	c.add(LayerSeccomp, p.order.Seccomp, orWhy(p.order.Seccomp, "a list of system calls, EPERM for all others",
		h.lacking(LayerSeccomp)))
	c.add(LayerCgroup, len(h.groups.why) == 0, h.groupWords())
}

// judge says of each promise how it is kept.
func (h *Host) judge(p *plan, w *planned) {
	c, jail := &p.rules, p.order.Jail
	h.judgeLayers(c, p)
	h.judgeLimits(c, p, w)
	sandboxed := jail && p.order.Seccomp
	c.add("sandbox_mode", sandboxed, orWhy(sandboxed, "namespaces and seccomp", "namespaces or seccomp lack"))
	c.add("allow_network_access", jail || p.order.Seccomp, orWhy(jail || p.order.Seccomp,
		"no network of its own and no sockets: host calls only", "no network namespace and no seccomp"))
	c.add("allow_filesystem_access", jail || p.order.Landlock,
		h.fileWords(p)+"; files of its own by host calls only")
	calls := fmt.Sprintf("seccomp: the base of %d and what is named", len(base)+len(legacyBase))
	c.add("allowed_system_calls", p.order.Seccomp, orWhy(p.order.Seccomp, calls, h.lacking(LayerSeccomp)))
	c.add("os_requirements.min_kernel_version", true, "kernel "+kernelRelease())
	var found []string
	for _, name := range w.manifest.OS.Libraries {
		if path, ok := findLibrary(name); ok {
			found = append(found, path)
		}
	}
	c.add("os_requirements.required_libraries", true, "found before the start: "+orWhy(len(found) > 0,
		strings.Join(found, " "), "none asked for"))
}

// judgeLimits says how each of the execution limits is kept.
func (h *Host) judgeLimits(c *Confinement, p *plan, w *planned) {
	const prefix = "execution_limits."
	l, alone := w.limits, !p.order.Calls.Fork && p.order.Seccomp
	single := "its one process"
	if !alone {
		single = "its first process only: the others are not held"
	}
	if p.memory == 0 {
		c.add(prefix+"max_memory_mb", true, fmt.Sprintf("cgroup, %d MB for all its processes and /tmp", l.MemoryMB))
	} else {
		c.add(prefix+"max_memory_mb", alone, fmt.Sprintf("looked at every %s and RLIMIT_DATA, %s (%s)",
			lookEvery, single, h.groups.why["memory"]))
	}
	if p.cores == 0 {
		c.add(prefix+"max_cpu_cores", true, fmt.Sprintf("cgroup, %.2f cores", l.CPUCores))
	} else {
		c.add(prefix+"max_cpu_cores", alone, fmt.Sprintf("stopped when ahead of its share, every %s, %s (%s)",
			lookEvery, single, h.groups.why["cpu"]))
	}
	h.judgeEnd(c, p.order.Jail, alone)
	by := "RLIMIT_NOFILE, its three streams among them"
	if l.Files > filesMax {
		by += fmt.Sprintf("; %d at most", filesMax)
	}
	c.add(prefix+"max_file_descriptors", true, by)
	c.add(prefix+"max_network_connections", p.order.Jail || p.order.Seccomp, "host calls, which count them")
}

// judgeEnd says what ends with a plugin at its deadline.
func (h *Host) judgeEnd(c *Confinement, jail, alone bool) {
	const field = "execution_limits.max_execution_time_seconds"
	switch {
	case jail:
		c.add(field, true, "killed with its process namespace")
	case len(h.groups.dirs) > 0:
		c.add(field, true, "killed with all in its cgroup")
	case alone:
		c.add(field, true, "killed, and it can start no other process")
	default:
		c.add(field, false, "killed with its process group: what has left that lives on")
	}
}

func orWhy(ok bool, by, why string) string {
	if ok {
		return by
	}
	return why
}

// lacking says why a layer is not there.
func (h *Host) lacking(layer string) string {
	if slices.Contains(h.cfg.Without, layer) {
		return notUsed
	}
	return "not in this kernel"
}

func (h *Host) namespaceWords() string {
	words := "pid, mount, net, ipc, uts, cgroup"
	if h.facts.jail&unix.CLONE_NEWUSER != 0 {
		words = "user, " + words
	}
	if h.root {
		return words + fmt.Sprintf("; user %d", outsideID)
	}
	return words + "; the agent's own user"
}

func (h *Host) fileWords(p *plan) string {
	switch {
	case p.order.Jail && p.order.Landlock:
		return "a root of its own, and Landlock"
	case p.order.Jail:
		return "a root of its own"
	case p.order.Landlock:
		return "Landlock only: names of the machine's files are seen, their content is not"
	}
	return "neither a root of its own nor Landlock"
}

func (h *Host) groupWords() string {
	var words []string
	for _, c := range controllers {
		if d, ok := h.groups.dirs[c]; ok {
			words = append(words, c+orWhy(d.v2, " (v2)", " (v1)"))
		} else {
			words = append(words, c+": "+h.groups.why[c])
		}
	}
	return strings.Join(words, ", ")
}
