//go:build linux && (amd64 || arm64 || riscv64)

package native

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Where the kernel shows a filter the call: struct seccomp_data, little-endian.
const (
	atNumber = 0
	atArch   = 4
	atArgs   = 16 // eight bytes each
)

// execFD is the descriptor of the program that a jail becomes. It is above every
// descriptor that the plugin may have, and closed by the exec: a filter that lets only
// this one be executed lets it be executed once.
const execFD = 1023

// threadFlag is the bit of clone's flags that makes a thread, and namespaceFlags are
// those that make namespaces.
const (
	threadFlag     = unix.CLONE_THREAD
	namespaceFlags = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
		unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWTIME
)

// The answers of a filter.
const (
	letThrough = unix.SECCOMP_RET_ALLOW
	notAllowed = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	notThere   = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
)

// The requests of ioctl that change a descriptor's own flags, the same everywhere.
const (
	fionbio  = 0x5421
	fionclex = 0x5450
	fioclex  = 0x5451
)

// harmlessIoctls ask about a stream and change its own flags; harmlessPrctls name a
// thread or a mapping.
var (
	harmlessIoctls = []uint32{
		unix.TCGETS, unix.TIOCGWINSZ, unix.TIOCINQ, fionbio, fioclex, fionclex,
	}
	harmlessPrctls = []uint32{unix.PR_SET_NAME, unix.PR_GET_NAME, unix.PR_SET_VMA, unix.PR_GET_DUMPABLE}
)

// program is a filter under assembly.
type program []unix.SockFilter

func (p *program) op(code uint16, k uint32, jt, jf uint8) {
	*p = append(*p, unix.SockFilter{Code: code, Jt: jt, Jf: jf, K: k})
}

func (p *program) load(at uint32)      { p.op(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, at, 0, 0) }
func (p *program) answer(with uint32)  { p.op(unix.BPF_RET|unix.BPF_K, with, 0, 0) }
func (p *program) skipUnless(k uint32) { p.op(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, k, 0, 1) }

// only puts block where the call's number is nr. The block answers on every path.
func (p *program) only(nr uint32, block program) {
	p.op(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, nr, 0, uint8(len(block)))
	*p = append(*p, block...)
}

// oneOf answers a call by whether argument n is one of values.
func oneOf(n int, values []uint32) program {
	var p program
	p.load(uint32(atArgs + 8*n))
	for _, v := range values {
		p.skipUnless(v)
		p.answer(letThrough)
	}
	p.answer(notAllowed)
	return p
}

// filter returns the filter for what s lets through.
func filter(s callSet) program {
	var p program
	p.load(atArch)
	p.op(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, auditArch, 1, 0)
	p.answer(unix.SECCOMP_RET_KILL_PROCESS)
	p.load(atNumber)
	p.only(unix.SYS_CLONE3, program{{Code: unix.BPF_RET | unix.BPF_K, K: notThere}}) // its flags lie in memory
	p.only(unix.SYS_CLONE, cloning(s.Fork))
	for _, nr := range s.Numbers {
		p.skipUnless(nr)
		p.answer(letThrough)
	}
	if s.Fork {
		for _, nr := range forkCalls {
			p.skipUnless(nr)
			p.answer(letThrough)
		}
	}
	if s.Sockets {
		p.only(unix.SYS_SOCKETPAIR, oneOf(0, []uint32{unix.AF_UNIX}))
	}
	p.only(unix.SYS_EXECVEAT, oneOf(0, []uint32{execFD})) // after Numbers, which may have it whole
	p.only(unix.SYS_IOCTL, oneOf(1, harmlessIoctls))
	p.only(unix.SYS_PRCTL, oneOf(0, harmlessPrctls))
	p.answer(notAllowed)
	return p
}

// cloning answers a clone: a thread, or any process when fork says so, but no namespace.
func cloning(fork bool) program {
	var p program
	p.load(atArgs) // flags, on each of our architectures
	p.op(unix.BPF_JMP|unix.BPF_JSET|unix.BPF_K, namespaceFlags, 2, 0)
	if fork {
		p.answer(letThrough)
		p.answer(letThrough)
	} else {
		p.op(unix.BPF_JMP|unix.BPF_JSET|unix.BPF_K, threadFlag, 0, 1)
		p.answer(letThrough)
	}
	p.answer(notAllowed)
	return p
}

// install puts the filter on this thread. It must have no_new_privs.
func (p program) install() error {
	prog := unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0,
		uintptr(unsafe.Pointer(&prog))) //nolint:gosec // the kernel's own structure
	runtime.KeepAlive(p)
	if errno != 0 {
		return errno
	}
	return nil
}

// seccompHas reports whether the kernel knows an answer of filters.
func seccompHas(answer uint32) bool {
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0,
		uintptr(unsafe.Pointer(&answer))) //nolint:gosec // the kernel's own structure
	return errno == 0
}
