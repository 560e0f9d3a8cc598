package wasmhost

import (
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

const (
	rlimitData = 2 // RLIMIT_DATA, which package syscall does not name everywhere
	niceness   = 10
	// lookEvery is how often a child looks at the time that it has had: the system counts whole
	// seconds only.
	lookEvery = 10 * time.Millisecond
	// goBase is what a Go program has mapped before it does anything, in MB: an arena
	// of 64 and the tables over all of them.
	goBase = 160
)

// limitSelf bounds this process. Address space is not what is bounded, because Go
// reserves far more than it uses; RLIMIT_DATA counts what is mapped to be written. When
// it has had its time of a processor it says so on out and exits; should that not help, the
// system kills it within two seconds more.
func limitSelf(used time.Duration, memoryMB int, out io.Writer) error {
	// Whatever else the machine does comes first.
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, niceness)
	used = time.Duration(float64(used) * slowness())
	top := uint64(used/time.Second) + 2
	go exitAt(used, out)
	for _, l := range []struct {
		name      string
		resource  int
		soft, top uint64
	}{
		{"CPU", syscall.RLIMIT_CPU, top, top},
		{"DATA", rlimitData, uint64(memoryMB+goBase) << 20, uint64(memoryMB+goBase) << 20},
		{"CORE", syscall.RLIMIT_CORE, 0, 0},
	} {
		if err := syscall.Setrlimit(l.resource, &syscall.Rlimit{Cur: l.soft, Max: l.top}); err != nil {
			return fmt.Errorf("limit %s: %w", l.name, err)
		}
	}
	return nil
}

// exitAt ends this process when it has had that much of a processor.
func exitAt(used time.Duration, out io.Writer) {
	tick := time.NewTicker(lookEvery) //nolint:forbidigo // it is this process's own time that is measured
	for processorTime() < used {
		<-tick.C
	}
	fmt.Fprintf(out, "needs more than %.1f s of a processor, the bound", used.Seconds())
	os.Exit(exitSlow) //nolint:forbidigo // nobody would hear of a returned code in time
}

// referenceWork is how long exercise takes on the machine of RATIONALE.md.
const referenceWork = 2500 * time.Microsecond

// slowness returns how many times slower than that this machine is, from 1 to 8. The
// quickest of three counts: what else happens to a machine just then makes it no slower.
func slowness() float64 {
	least := 8.0
	for range 3 {
		began := processorTime()
		if exercise() != 0 {
			least = min(least, float64(processorTime()-began)/float64(referenceWork))
		}
	}
	return max(1, least)
}

// exercise is about what a compiler does: short arithmetic over memory that fits no cache
// of the first level.
func exercise() (sum uint32) {
	table := make([]uint32, 1<<15)
	x := uint32(2463534242)
	for range 1 << 20 {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		table[x%uint32(len(table))] += x
		sum += table[(x>>7)%uint32(len(table))]
	}
	return sum | 1
}

// processorTime returns what this process has used of processors so far.
func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
