package cli

import (
	"fmt"
	"slices"
	"strings"

	platform "github.com/stavily/stavily/firmware-targets"
	"github.com/stavily/stavily/protocol"
)

// enforced is one field of a manifest and what holds a plugin to it, by how it runs.
type enforced struct {
	Field       string `json:"field"`
	Value       string `json:"value"`
	Compiled    string `json:"compiled"`
	Interpreted string `json:"interpreted"`
	Native      string `json:"native"`
}

// enforcement says of each limit of a manifest how it is kept (M-17 to M-25, G-2).
// wasmhost/ABI.md and wasmhost/native/README.md are where it is promised.
func enforcement(m *protocol.Manifest) []enforced {
	l := m.Limits.WithDefaults()
	same := func(field string, value any, wasm, native string) enforced {
		return enforced{field, fmt.Sprint(value), wasm, wasm, native}
	}
	memory := same("max_memory_mb", l.MemoryMB, "memory.grow fails beyond it",
		"memory cgroup; without one looked at every 20 ms, and RLIMIT_DATA")
	memory.Interpreted += "; the code takes 15 to 30 times the module besides"
	return []enforced{
		memory,
		same("max_cpu_cores", l.CPUCores, "fuel: who is ahead of the share is made to wait",
			"cpu quota over 50 ms; without cgroups stopped when ahead"),
		same("max_execution_time_seconds", l.Seconds, "fuel: the instance is ended; the next request gets another",
			"its processes are killed"),
		same("max_file_descriptors", l.Files, "its table of descriptors is bounded", "RLIMIT_NOFILE"),
		same("max_network_connections", l.Connections, "host calls count open connections",
			"the same: it has no network of its own"),
		same("sandbox_mode", m.Sandbox, "WebAssembly: nothing but its imports",
			"namespaces, Landlock, seccomp, no rights; refused where the kernel lacks them"),
		same("allow_network_access", m.Network, "no sockets; host calls by grant and scope",
			"the same; an empty network namespace"),
		same("allow_filesystem_access", m.Filesystem, "no files; host calls in the plugin's own folder",
			"the same; a root of its own, read-only, and 16 MiB of /tmp"),
		{
			"allowed_system_calls", systemCalls(m.SystemCalls), wasiOf(m.SystemCalls), wasiOf(m.SystemCalls),
			"seccomp: what a runtime needs to start, and these; another name refuses the plugin",
		},
	}
}

func systemCalls(list []string) string {
	if len(list) == 0 {
		return "none named"
	}
	return strings.Join(list, " ")
}

// wasi says which import of WASI stands for a system call.
var wasi = map[string]string{
	"read": "fd_read", "pread64": "fd_pread", "write": "fd_write", "pwrite64": "fd_pwrite", "open": "path_open",
	"openat": "path_open", "close": "fd_close", "lseek": "fd_seek", "stat": "path_filestat_get",
	"fstat": "fd_filestat_get", "getdents64": "fd_readdir", "clock_gettime": "clock_time_get",
	"getrandom": "random_get", "poll": "poll_oneoff", "nanosleep": "poll_oneoff", "exit": "proc_exit",
	"exit_group": "proc_exit", "sched_yield": "sched_yield", "brk": "memory.grow", "mmap": "memory.grow",
}

// wasiOf maps system calls to what a module may import. It makes none of its own.
func wasiOf(list []string) string {
	const all = "a module makes no system call: it may import WASI without sockets, whatever is named"
	var as, native []string
	for _, name := range list {
		if to, ok := wasi[name]; ok {
			as = append(as, name+"="+to)
		} else {
			native = append(native, name)
		}
	}
	out := all
	if len(as) > 0 {
		out += "; " + strings.Join(as, " ")
	}
	if len(native) > 0 {
		out += "; native only: " + strings.Join(native, " ")
	}
	return out
}

// fitting is how a plugin would run on one platform.
type fitting struct {
	Platform string `json:"platform"`
	Engine   string `json:"engine"` // compiler or interpreter
	Fits     bool   `json:"fits"`
	Says     string `json:"says"`
}

// nativePlatforms are those on which a native artifact is confined.
var nativePlatforms = []string{"linux-amd64", "linux-arm64", "linux-riscv64"}

// fittings says for each platform whether the module fits its smallest device.
func fittings(moduleBytes int) []fitting {
	var out []fitting
	for _, p := range platform.All() {
		f := fitting{Platform: p.Name, Engine: p.Engine, Fits: moduleBytes <= p.ModuleKiB<<10}
		f.Says = fmt.Sprintf("%d KiB of %d on a device of %d MiB", (moduleBytes+1023)>>10, p.ModuleKiB, p.RAMMiB)
		if !f.Fits {
			f.Says += ": too large for its smallest device"
		}
		if slices.Contains(nativePlatforms, p.Name) {
			f.Says += "; native artifacts can run"
		}
		out = append(out, f)
	}
	return out
}
