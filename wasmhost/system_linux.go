package wasmhost

import "syscall"

// dieWithParent ends the process when the thread that started it does, so that nothing
// outlives an agent that was killed.
func dieWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }
