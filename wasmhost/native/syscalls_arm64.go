//go:build linux

package native

import "golang.org/x/sys/unix"

// auditArch is what the kernel calls this architecture in a filter.
const auditArch = unix.AUDIT_ARCH_AARCH64

// This architecture has no calls of its own that a plugin needs.
var (
	legacyBase      []number
	legacyGrantable []number
	forkCalls       []uint32
)

// tripletArch is what C compilers call this architecture.
const tripletArch = "aarch64"
