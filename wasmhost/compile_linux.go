package wasmhost

import (
	"fmt"
	"syscall"
)

const (
	rlimitData = 2 // RLIMIT_DATA, which package syscall does not name everywhere
	niceness   = 10
	// goBase is what a Go program has mapped before it does anything, in MB: an arena
	// of 64 and the tables over all of them.
	goBase = 160
)

// limitSelf bounds this process. Address space is not what is bounded, because Go
// reserves far more than it uses; RLIMIT_DATA counts what is mapped to be written.
func limitSelf(seconds, memoryMB int) error {
	for _, l := range []struct {
		name     string
		resource int
		limit    uint64
	}{
		{"CPU", syscall.RLIMIT_CPU, uint64(seconds)},
		{"DATA", rlimitData, uint64(memoryMB+goBase) << 20},
		{"CORE", syscall.RLIMIT_CORE, 0},
	} {
		if err := syscall.Setrlimit(l.resource, &syscall.Rlimit{Cur: l.limit, Max: l.limit}); err != nil {
			return fmt.Errorf("limit %s: %w", l.name, err)
		}
	}
	// Whatever else the machine does comes first.
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, niceness)
	return nil
}
