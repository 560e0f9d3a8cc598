//go:build darwin || freebsd

package wasmhost

import "syscall"

// dieWithParent is not offered by every system.
func dieWithParent(*syscall.SysProcAttr) {}
