//go:build linux && (amd64 || arm64 || riscv64)

package native

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/stavily/stavily/protocol"
)

// number is a system call by its name.
type number struct {
	name string
	nr   uint32
}

// base is what any static program needs to start, to compute, to speak on its streams and
// to use its own folder and /tmp. Nothing in it makes a process, a socket or a mount, or
// reaches another process.
var base = []number{
	{"brk", unix.SYS_BRK},
	{"capget", unix.SYS_CAPGET},
	{"chdir", unix.SYS_CHDIR},
	{"clock_getres", unix.SYS_CLOCK_GETRES},
	{"clock_gettime", unix.SYS_CLOCK_GETTIME},
	{"clock_nanosleep", unix.SYS_CLOCK_NANOSLEEP},
	{"close", unix.SYS_CLOSE},
	{"close_range", unix.SYS_CLOSE_RANGE},
	{"dup", unix.SYS_DUP},
	{"dup3", unix.SYS_DUP3},
	{"epoll_create1", unix.SYS_EPOLL_CREATE1},
	{"epoll_ctl", unix.SYS_EPOLL_CTL},
	{"epoll_pwait", unix.SYS_EPOLL_PWAIT},
	{"epoll_pwait2", unix.SYS_EPOLL_PWAIT2},
	{"eventfd2", unix.SYS_EVENTFD2},
	{"exit", unix.SYS_EXIT},
	{"exit_group", unix.SYS_EXIT_GROUP},
	{"faccessat", unix.SYS_FACCESSAT},
	{"faccessat2", unix.SYS_FACCESSAT2},
	{"fadvise64", unix.SYS_FADVISE64},
	{"fallocate", unix.SYS_FALLOCATE},
	{"fchdir", unix.SYS_FCHDIR},
	{"fchmod", unix.SYS_FCHMOD},
	{"fcntl", unix.SYS_FCNTL},
	{"fdatasync", unix.SYS_FDATASYNC},
	{"flock", unix.SYS_FLOCK},
	{"fstat", unix.SYS_FSTAT},
	{"fstatfs", unix.SYS_FSTATFS},
	{"fsync", unix.SYS_FSYNC},
	{"ftruncate", unix.SYS_FTRUNCATE},
	{"futex", unix.SYS_FUTEX},
	{"get_robust_list", unix.SYS_GET_ROBUST_LIST},
	{"getcpu", unix.SYS_GETCPU},
	{"getcwd", unix.SYS_GETCWD},
	{"getdents64", unix.SYS_GETDENTS64},
	{"getegid", unix.SYS_GETEGID},
	{"geteuid", unix.SYS_GETEUID},
	{"getgid", unix.SYS_GETGID},
	{"getgroups", unix.SYS_GETGROUPS},
	{"getpgid", unix.SYS_GETPGID},
	{"getpid", unix.SYS_GETPID},
	{"getppid", unix.SYS_GETPPID},
	{"getpriority", unix.SYS_GETPRIORITY},
	{"getrandom", unix.SYS_GETRANDOM},
	{"getresgid", unix.SYS_GETRESGID},
	{"getresuid", unix.SYS_GETRESUID},
	{"getrlimit", unix.SYS_GETRLIMIT},
	{"getrusage", unix.SYS_GETRUSAGE},
	{"getsid", unix.SYS_GETSID},
	{"gettid", unix.SYS_GETTID},
	{"gettimeofday", unix.SYS_GETTIMEOFDAY},
	{"getuid", unix.SYS_GETUID},
	{"lseek", unix.SYS_LSEEK},
	{"madvise", unix.SYS_MADVISE},
	{"membarrier", unix.SYS_MEMBARRIER},
	{"mincore", unix.SYS_MINCORE},
	{"mkdirat", unix.SYS_MKDIRAT},
	{"mmap", unix.SYS_MMAP},
	{"mprotect", unix.SYS_MPROTECT},
	{"mremap", unix.SYS_MREMAP},
	{"msync", unix.SYS_MSYNC},
	{"munmap", unix.SYS_MUNMAP},
	{"nanosleep", unix.SYS_NANOSLEEP},
	{"newfstatat", unix.SYS_NEWFSTATAT},
	{"openat", unix.SYS_OPENAT},
	{"openat2", unix.SYS_OPENAT2},
	{"pipe2", unix.SYS_PIPE2},
	{"ppoll", unix.SYS_PPOLL},
	{"pread64", unix.SYS_PREAD64},
	{"preadv", unix.SYS_PREADV},
	{"prlimit64", unix.SYS_PRLIMIT64},
	{"pselect6", unix.SYS_PSELECT6},
	{"pwrite64", unix.SYS_PWRITE64},
	{"pwritev", unix.SYS_PWRITEV},
	{"read", unix.SYS_READ},
	{"readlinkat", unix.SYS_READLINKAT},
	{"readv", unix.SYS_READV},
	{"renameat2", unix.SYS_RENAMEAT2},
	{"restart_syscall", unix.SYS_RESTART_SYSCALL},
	{"rseq", unix.SYS_RSEQ},
	{"rt_sigaction", unix.SYS_RT_SIGACTION},
	{"rt_sigpending", unix.SYS_RT_SIGPENDING},
	{"rt_sigprocmask", unix.SYS_RT_SIGPROCMASK},
	{"rt_sigreturn", unix.SYS_RT_SIGRETURN},
	{"rt_sigsuspend", unix.SYS_RT_SIGSUSPEND},
	{"rt_sigtimedwait", unix.SYS_RT_SIGTIMEDWAIT},
	{"sched_getaffinity", unix.SYS_SCHED_GETAFFINITY},
	{"sched_getparam", unix.SYS_SCHED_GETPARAM},
	{"sched_getscheduler", unix.SYS_SCHED_GETSCHEDULER},
	{"sched_yield", unix.SYS_SCHED_YIELD},
	{"set_robust_list", unix.SYS_SET_ROBUST_LIST},
	{"set_tid_address", unix.SYS_SET_TID_ADDRESS},
	{"setitimer", unix.SYS_SETITIMER},
	{"sigaltstack", unix.SYS_SIGALTSTACK},
	{"statfs", unix.SYS_STATFS},
	{"statx", unix.SYS_STATX},
	{"sysinfo", unix.SYS_SYSINFO},
	{"tgkill", unix.SYS_TGKILL},
	{"timer_create", unix.SYS_TIMER_CREATE},
	{"timer_delete", unix.SYS_TIMER_DELETE},
	{"timer_gettime", unix.SYS_TIMER_GETTIME},
	{"timer_settime", unix.SYS_TIMER_SETTIME},
	{"times", unix.SYS_TIMES},
	{"umask", unix.SYS_UMASK},
	{"uname", unix.SYS_UNAME},
	{"unlinkat", unix.SYS_UNLINKAT},
	{"utimensat", unix.SYS_UTIMENSAT},
	{"write", unix.SYS_WRITE},
	{"writev", unix.SYS_WRITEV},
}

// grantable is what a manifest may have besides, by naming it: in the jail it reaches
// nothing but the plugin's own processes and files.
var grantable = []number{
	{"execve", unix.SYS_EXECVE},
	{"execveat", unix.SYS_EXECVEAT},
	{"fchmodat", unix.SYS_FCHMODAT},
	{"kill", unix.SYS_KILL},
	{"linkat", unix.SYS_LINKAT},
	{"memfd_create", unix.SYS_MEMFD_CREATE},
	{"mlock", unix.SYS_MLOCK},
	{"munlock", unix.SYS_MUNLOCK},
	{"sched_setaffinity", unix.SYS_SCHED_SETAFFINITY},
	{"sendfile", unix.SYS_SENDFILE},
	{"setpgid", unix.SYS_SETPGID},
	{"setpriority", unix.SYS_SETPRIORITY},
	{"setsid", unix.SYS_SETSID},
	{"signalfd4", unix.SYS_SIGNALFD4},
	{"splice", unix.SYS_SPLICE},
	{"symlinkat", unix.SYS_SYMLINKAT},
	{"timerfd_create", unix.SYS_TIMERFD_CREATE},
	{"timerfd_gettime", unix.SYS_TIMERFD_GETTIME},
	{"timerfd_settime", unix.SYS_TIMERFD_SETTIME},
	{"wait4", unix.SYS_WAIT4},
	{"waitid", unix.SYS_WAITID},
}

// aliases are names that people write for what some architectures call otherwise.
var aliases = map[string][]string{
	"access":     {"faccessat"},
	"chmod":      {"fchmodat"},
	"dup2":       {"dup3"},
	"epoll_wait": {"epoll_pwait"},
	"exec":       {"execve"},
	"fstatat":    {"newfstatat"},
	"getdents":   {"getdents64"},
	"link":       {"linkat"},
	"lstat":      {"newfstatat"},
	"mkdir":      {"mkdirat"},
	"open":       {"openat"},
	"pipe":       {"pipe2"},
	"poll":       {"ppoll"},
	"readlink":   {"readlinkat"},
	"rename":     {"renameat2"},
	"rmdir":      {"unlinkat"},
	"select":     {"pselect6"},
	"stat":       {"newfstatat"},
	"symlink":    {"symlinkat"},
	"time":       {"clock_gettime"},
	"unlink":     {"unlinkat"},
	"wait":       {"wait4", "waitid"},
	"waitpid":    {"wait4"},
}

// callSet is what a plugin's filter lets through.
type callSet struct {
	Numbers []uint32 // whatever the arguments
	Fork    bool     // processes, not threads only
	Sockets bool     // pairs of local sockets
}

// systemCalls returns what a plugin gets: its runtime's base and what its manifest names.
// A name that is not known here, or that no plugin may have, is an error: a filter that
// leaves out what the author counts on would fail later, one that lets it in is none
// (M-25, G-2).
func systemCalls(named []string) (callSet, error) {
	var s callSet
	for _, n := range slices.Concat(base, legacyBase) {
		s.Numbers = append(s.Numbers, n.nr)
	}
	known := slices.Concat(base, legacyBase, grantable, legacyGrantable)
	for _, name := range named {
		switch name {
		case "fork", "vfork", "clone", "clone3":
			s.Fork = true
			continue
		case "socketpair":
			s.Sockets = true
			continue
		case "ioctl", "prctl":
			continue // of these everyone gets what is harmless, and nobody more
		}
		found := false
		for _, n := range known {
			if n.name == name || slices.Contains(aliases[name], n.name) {
				found = true
				s.Numbers = append(s.Numbers, n.nr)
			}
		}
		if !found {
			return s, protocol.Errorf(protocol.CodeIncompatible,
				"allowed_system_calls: %q: not a system call that a native plugin may have on this architecture", name)
		}
	}
	slices.Sort(s.Numbers)
	s.Numbers = slices.Compact(s.Numbers)
	return s, nil
}
