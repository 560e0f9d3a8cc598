//go:build linux

package native

import "golang.org/x/sys/unix"

// auditArch is what the kernel calls this architecture in a filter.
const auditArch = unix.AUDIT_ARCH_RISCV64

// legacyBase are the calls of base that only this architecture has.
var legacyBase = []number{
	{"riscv_flush_icache", unix.SYS_RISCV_FLUSH_ICACHE},
	{"riscv_hwprobe", unix.SYS_RISCV_HWPROBE},
}

// This architecture has no calls beyond those.
var (
	legacyGrantable []number
	forkCalls       []uint32
)

// tripletArch is what C compilers call this architecture.
const tripletArch = "riscv64"
