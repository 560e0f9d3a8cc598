//go:build linux

package native

import "golang.org/x/sys/unix"

// auditArch is what the kernel calls this architecture in a filter.
const auditArch = unix.AUDIT_ARCH_X86_64

// legacyBase are the calls of base that only this architecture has.
var legacyBase = []number{
	{"access", unix.SYS_ACCESS},
	{"arch_prctl", unix.SYS_ARCH_PRCTL},
	{"dup2", unix.SYS_DUP2},
	{"epoll_create", unix.SYS_EPOLL_CREATE},
	{"epoll_wait", unix.SYS_EPOLL_WAIT},
	{"eventfd", unix.SYS_EVENTFD},
	{"getdents", unix.SYS_GETDENTS},
	{"getpgrp", unix.SYS_GETPGRP},
	{"lstat", unix.SYS_LSTAT},
	{"mkdir", unix.SYS_MKDIR},
	{"open", unix.SYS_OPEN},
	{"pipe", unix.SYS_PIPE},
	{"poll", unix.SYS_POLL},
	{"readlink", unix.SYS_READLINK},
	{"rename", unix.SYS_RENAME},
	{"rmdir", unix.SYS_RMDIR},
	{"select", unix.SYS_SELECT},
	{"stat", unix.SYS_STAT},
	{"time", unix.SYS_TIME},
	{"unlink", unix.SYS_UNLINK},
}

// legacyGrantable are the calls of grantable that only this architecture has.
var legacyGrantable = []number{
	{"chmod", unix.SYS_CHMOD},
	{"link", unix.SYS_LINK},
	{"symlink", unix.SYS_SYMLINK},
}

// forkCalls make a process without saying how.
var forkCalls = []uint32{unix.SYS_FORK, unix.SYS_VFORK}

// tripletArch is what C compilers call this architecture.
const tripletArch = "x86_64"
